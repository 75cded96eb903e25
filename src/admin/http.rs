//! A minimal HTTP server: one request per connection, with timeouts and a limit on connections.
//! At the limit a new connection replaces an older one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::headers::secured;
use crate::task;

/// Connections served at a time.
const CONNECTIONS_MAX: usize = 64;
/// From the accept until the request's header is complete, and for a handshake before it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest header of a request, in bytes; the response to a longer one is 431.
const HEADER_MAX: usize = 16 * 1024;

pub(super) type Page = Response<Full<Bytes>>;

/// Serves requests forever; `respond` gets each request, of any method, and its client. No request has a
/// body. `accept` returns the connection, which may have to be made ready by a handshake first (`None`: it
/// failed), and the client. `limit`: from the accept until the response is sent. `tasks`
/// tracks the connections.
pub(super) async fn serve<H, S, C, A, R>(
    (limit, tasks): (Duration, &TaskTracker),
    accept: impl Fn() -> A,
    respond: impl Fn(Parts, C) -> R + Send + Sync + 'static,
) where
    R: Future<Output = Page> + Send,
    H: Future<Output = Option<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: Copy + Eq + Hash + Send + Sync + 'static,
    A: Future<Output = (H, C)>,
{
    let respond = Arc::new(respond);
    let mut connections = Vec::with_capacity(CONNECTIONS_MAX);
    loop {
        let (handshake, client) = accept().await;
        make_room(&mut connections);
        let respond = respond.clone();
        let served = async move {
            // A client that closes is not a failure of the gateway.
            if let Ok(Some(stream)) = timeout(HEADER_TIMEOUT, handshake).await {
                connection(stream, |request| respond(request, client)).await;
            }
        };
        let task = task::spawn_tracked(tasks, timeout(limit, served));
        connections.push(OpenConnection { client, task: task.abort_handle() });
    }
}

/// A connection that is served.
struct OpenConnection<C> {
    client: C,
    task: AbortHandle,
}

/// Makes room for one more: at the limit, closes the oldest connection of a client with the most
/// connections. So a flood closes only its own connections, and the newest is always served.
fn make_room<C: Copy + Eq + Hash>(oldest_first: &mut Vec<OpenConnection<C>>) {
    oldest_first.retain(|connection| !connection.task.is_finished());
    if oldest_first.len() < CONNECTIONS_MAX {
        return;
    }
    let mut counts = HashMap::new();
    for connection in &*oldest_first {
        *counts.entry(connection.client).or_insert(0_usize) += 1;
    }
    let most = counts.values().max();
    let closed = oldest_first.iter().position(|connection| counts.get(&connection.client) == most);
    if let Some(closed) = closed {
        oldest_first.remove(closed).task.abort();
    }
}

async fn connection<S, R>(stream: S, respond: impl Fn(Parts) -> R)
where
    R: Future<Output = Page>,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (request, body) = request.into_parts();
        let responded = body.is_end_stream().then(|| respond(request));
        async move {
            Ok::<_, Infallible>(match responded {
                Some(response) => response.await,
                None => no_body(),
            })
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let _ = served.await;
}

fn no_body() -> Page {
    let content = br#"{"error":"a request has no body here"}"#.to_vec();
    let mut refusal = secured(page(content, "application/json"));
    *refusal.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    refusal
}

/// The response where nothing can be changed.
pub(super) fn read_only() -> Page {
    let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "read only\n");
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    refusal
}

pub(super) fn text(status: StatusCode, text: &'static str) -> Page {
    let mut response = page(text.as_bytes().to_vec(), "text/plain; charset=utf-8");
    *response.status_mut() = status;
    response
}

pub(super) fn page(content: Vec<u8>, kind: &'static str) -> Page {
    let mut response = Response::new(Full::new(content.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    use tokio::time::Instant;

    use super::*;

    const REQUEST: &[u8] = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n";
    /// More than a connection of [`Server`] buffers.
    const LONG_PAGE_SIZE: usize = 100_000;
    const LIMIT: Duration = Duration::from_secs(20);

    /// Serves connections in memory: on a paused clock, only timeouts take time.
    struct Server {
        arrivals: UnboundedSender<(DuplexStream, u8)>,
        responses: Arc<AtomicUsize>,
    }

    impl Server {
        fn start() -> Self {
            let (arrivals, accepted) = unbounded_channel();
            let accepted = Arc::new(tokio::sync::Mutex::new(accepted));
            let responses = Arc::new(AtomicUsize::new(0));
            let accept = move || {
                let accepted = accepted.clone();
                async move {
                    match accepted.lock().await.recv().await {
                        Some((stream, client)) => (std::future::ready(Some(stream)), client),
                        None => std::future::pending().await,
                    }
                }
            };
            let count = responses.clone();
            let respond = move |request: Parts, _| {
                count.fetch_add(1, Ordering::Relaxed);
                async move {
                    match request.uri.path() {
                        "/long" => page(vec![b'x'; LONG_PAGE_SIZE], "text/plain"),
                        "/slow" => {
                            tokio::time::sleep(LIMIT - Duration::from_secs(1)).await;
                            text(StatusCode::OK, "slow\n")
                        }
                        "/endless" => std::future::pending().await,
                        _ => text(StatusCode::OK, "live\n"),
                    }
                }
            };
            tokio::spawn(async move {
                serve((LIMIT, &TaskTracker::new()), accept, respond).await;
            });
            Self { arrivals, responses }
        }

        fn connect(&self, client: u8) -> DuplexStream {
            let (ours, theirs) = duplex(1024);
            self.arrivals.send((theirs, client)).unwrap();
            ours
        }

        async fn half_sent(&self, client: u8) -> DuplexStream {
            let mut stream = self.connect(client);
            stream.write_all(&REQUEST[..20]).await.unwrap();
            stream
        }
    }

    async fn end(stream: &mut DuplexStream) -> String {
        let mut response = vec![];
        stream.read_to_end(&mut response).await.unwrap();
        String::from_utf8(response).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_closes_only_its_own_oldest_connections() {
        let server = Server::start();
        let start = Instant::now();
        let mut other = server.half_sent(1).await;
        let mut flood = vec![];
        for _ in 0..200 {
            flood.push(server.half_sent(2).await);
        }
        for client in [1, 2, 3] {
            let mut probe = server.connect(client);
            probe.write_all(REQUEST).await.unwrap();
            assert!(end(&mut probe).await.ends_with("live\n"), "{client}");
        }
        other.write_all(&REQUEST[20..]).await.unwrap();
        assert!(end(&mut other).await.ends_with("live\n"));
        assert_eq!(end(&mut flood[0]).await, "");
        assert_eq!(start.elapsed(), Duration::ZERO);
        let mut newest = flood.pop().unwrap();
        newest.write_all(&REQUEST[20..]).await.unwrap();
        assert!(end(&mut newest).await.ends_with("live\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_different_clients_are_limited() {
        let server = Server::start();
        let mut streams = vec![];
        for client in 0..=u8::try_from(CONNECTIONS_MAX).unwrap() {
            streams.push(server.half_sent(client).await);
        }
        let start = Instant::now();
        assert_eq!(end(&mut streams[0]).await, "");
        assert_eq!(start.elapsed(), Duration::ZERO);
        streams[1].write_all(&REQUEST[20..]).await.unwrap();
        assert!(end(&mut streams[1]).await.ends_with("live\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_incomplete_header_is_closed_after_the_header_timeout() {
        let server = Server::start();
        let start = Instant::now();
        let mut silent = server.connect(1);
        let mut half = server.half_sent(1).await;
        let slow = server.connect(1);
        let (mut slow_end, mut slow) = tokio::io::split(slow);
        let trickle = tokio::spawn(async move {
            for byte in REQUEST {
                if slow.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(end(&mut silent).await, "");
        assert_eq!(end(&mut half).await, "");
        let mut response = vec![];
        slow_end.read_to_end(&mut response).await.unwrap();
        let waited = start.elapsed();
        assert!((HEADER_TIMEOUT..HEADER_TIMEOUT * 2).contains(&waited), "{waited:?}");
        trickle.abort();
        assert_eq!(server.responses.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_closed_after_the_timeout() {
        let server = Server::start();
        let start = Instant::now();
        let mut stream = server.connect(1);
        stream.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(LIMIT * 2).await;
        let response = end(&mut stream).await;
        assert!(
            response.starts_with("HTTP/1.1 200 OK") && response.len() <= 1024,
            "{}",
            response.len()
        );
        assert_eq!(start.elapsed(), LIMIT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_may_take_until_the_limit() {
        let server = Server::start();
        for (path, expected) in [("slow", "slow\n"), ("endless", "")] {
            let start = Instant::now();
            let mut stream = server.connect(1);
            let request = format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = end(&mut stream).await;
            assert!(response.ends_with(expected) && response.is_empty() == expected.is_empty());
            assert!(start.elapsed() <= LIMIT, "{:?}", start.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_is_too_long_gets_431() {
        let server = Server::start();
        let (mut respond, mut request) = tokio::io::split(server.connect(1));
        let endless = tokio::spawn(async move {
            let mut sent = request.write(b"GET /live HTTP/1.1\r\nX: ").await.unwrap();
            while let Ok(length) = request.write(&[b'x'; 1024]).await {
                sent += length;
            }
            sent
        });
        let mut response = vec![];
        respond.read_to_end(&mut response).await.unwrap();
        assert!(response.starts_with(b"HTTP/1.1 431 "), "{}", response.escape_ascii());
        drop(respond);
        let sent = endless.await.unwrap();
        assert!((HEADER_MAX..2 * HEADER_MAX).contains(&sent), "{sent}");
        assert_eq!(server.responses.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_with_a_body_is_refused_unread() {
        let server = Server::start();
        for body in ["Content-Length: 900000000000", "Transfer-Encoding: chunked"] {
            let mut stream = server.connect(1);
            let request = format!("POST /live HTTP/1.1\r\nHost: x\r\n{body}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let response = end(&mut stream).await;
            assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
            assert!(response.contains("x-content-type-options: nosniff"), "{response}");
            assert!(response.ends_with("{\"error\":\"a request has no body here\"}"), "{response}");
        }
        assert_eq!(server.responses.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn pipelined_requests_get_one_response() {
        let server = Server::start();
        let mut stream = server.connect(1);
        stream.write_all(&REQUEST.repeat(10)).await.unwrap();
        assert_eq!(end(&mut stream).await.matches("HTTP/1.1 200 OK").count(), 1);
        assert_eq!(server.responses.load(Ordering::Relaxed), 1);
    }
}
