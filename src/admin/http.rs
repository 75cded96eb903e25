//! One request a connection, read only, with deadlines and a cap. Nobody waits for a place: where all
//! are taken, the newest connection takes the one of an older.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

/// Connections served at a time.
const CONNECTIONS: usize = 64;
/// From the accept until the request's header is there.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest header of a request, in bytes; a longer one is answered 431.
const HEADER_MAX: usize = 16 * 1024;
/// From the accept until the answer is written.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Page = Response<Full<Bytes>>;

/// Answers each connection's request by its path, for ever. `accept` tells the client, too.
pub(super) async fn serve<S, C, A>(
    accept: impl Fn() -> A,
    answer: impl Fn(&str) -> Page + Send + Sync + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: Copy + Eq + Hash,
    A: Future<Output = (S, C)>,
{
    let answer = Arc::new(answer);
    let mut open = Vec::with_capacity(CONNECTIONS);
    loop {
        let (stream, client) = accept().await;
        make_room(&mut open);
        let answer = answer.clone();
        let task = tokio::spawn(async move { connection(stream, &*answer).await });
        open.push(Open { client, task: task.abort_handle() });
    }
}

/// A connection that is served.
struct Open<C> {
    client: C,
    task: AbortHandle,
}

/// Makes room for one more: where all places are taken, the oldest connection of a client that has
/// most is closed. So a flood closes its own connections only, and the newest is always served.
fn make_room<C: Copy + Eq + Hash>(oldest_first: &mut Vec<Open<C>>) {
    oldest_first.retain(|open| !open.task.is_finished());
    if oldest_first.len() < CONNECTIONS {
        return;
    }
    let mut counts = HashMap::new();
    for open in &*oldest_first {
        *counts.entry(open.client).or_insert(0_usize) += 1;
    }
    let most = counts.values().max();
    let closed = oldest_first.iter().position(|open| counts.get(&open.client) == most);
    if let Some(closed) = closed {
        oldest_first.remove(closed).task.abort();
    }
}

async fn connection<S>(stream: S, answer: &(impl Fn(&str) -> Page + Sync))
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(match *request.method() {
            Method::GET | Method::HEAD => answer(request.uri().path()),
            _ => read_only(),
        })
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away is no failure of the gateway.
    let _ = tokio::time::timeout(TIMEOUT, served).await;
}

fn read_only() -> Page {
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
    /// More than a connection of [`Server`] holds.
    const LONG: usize = 100_000;

    /// Serves connections in memory: on a paused clock, only deadlines take time.
    struct Server {
        arrivals: UnboundedSender<(DuplexStream, u8)>,
        answered: Arc<AtomicUsize>,
    }

    impl Server {
        fn start() -> Self {
            let (arrivals, accepted) = unbounded_channel();
            let accepted = Arc::new(tokio::sync::Mutex::new(accepted));
            let answered = Arc::new(AtomicUsize::new(0));
            let accept = move || {
                let accepted = accepted.clone();
                async move {
                    match accepted.lock().await.recv().await {
                        Some(accepted) => accepted,
                        None => std::future::pending().await,
                    }
                }
            };
            let count = answered.clone();
            tokio::spawn(serve(accept, move |path| {
                count.fetch_add(1, Ordering::Relaxed);
                match path {
                    "/long" => page(vec![b'x'; LONG], "text/plain"),
                    _ => text(StatusCode::OK, "live\n"),
                }
            }));
            Self { arrivals, answered }
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
        let mut told = vec![];
        stream.read_to_end(&mut told).await.unwrap();
        String::from_utf8(told).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_closes_its_own_oldest_connections_only() {
        let server = Server::start();
        let begun = Instant::now();
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
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let mut newest = flood.pop().unwrap();
        newest.write_all(&REQUEST[20..]).await.unwrap();
        assert!(end(&mut newest).await.ends_with("live\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_bounded_where_each_connection_has_its_own_client() {
        let server = Server::start();
        let mut streams = vec![];
        for client in 0..=u8::try_from(CONNECTIONS).unwrap() {
            streams.push(server.half_sent(client).await);
        }
        let begun = Instant::now();
        assert_eq!(end(&mut streams[0]).await, "");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        streams[1].write_all(&REQUEST[20..]).await.unwrap();
        assert!(end(&mut streams[1]).await.ends_with("live\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_or_no_whole_header_is_closed_after_the_header_timeout() {
        let server = Server::start();
        let begun = Instant::now();
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
        let mut told = vec![];
        slow_end.read_to_end(&mut told).await.unwrap();
        let waited = begun.elapsed();
        assert!((HEADER_TIMEOUT..HEADER_TIMEOUT * 2).contains(&waited), "{waited:?}");
        trickle.abort();
        assert_eq!(server.answered.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_closed_after_the_timeout() {
        let server = Server::start();
        let begun = Instant::now();
        let mut stream = server.connect(1);
        stream.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(TIMEOUT * 2).await;
        let told = end(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 200 OK") && told.len() <= 1024, "{}", told.len());
        assert_eq!(begun.elapsed(), TIMEOUT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_is_too_long_is_answered_431() {
        let server = Server::start();
        let (mut answer, mut request) = tokio::io::split(server.connect(1));
        let endless = tokio::spawn(async move {
            let mut sent = request.write(b"GET /live HTTP/1.1\r\nX: ").await.unwrap();
            while let Ok(length) = request.write(&[b'x'; 1024]).await {
                sent += length;
            }
            sent
        });
        let mut told = vec![];
        answer.read_to_end(&mut told).await.unwrap();
        assert!(told.starts_with(b"HTTP/1.1 431 "), "{}", told.escape_ascii());
        drop(answer);
        let sent = endless.await.unwrap();
        assert!((HEADER_MAX..2 * HEADER_MAX).contains(&sent), "{sent}");
        assert_eq!(server.answered.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn pipelined_requests_get_one_answer() {
        let server = Server::start();
        let mut stream = server.connect(1);
        stream.write_all(&REQUEST.repeat(10)).await.unwrap();
        assert_eq!(end(&mut stream).await.matches("HTTP/1.1 200 OK").count(), 1);
        assert_eq!(server.answered.load(Ordering::Relaxed), 1);
    }
}
