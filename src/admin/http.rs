//! One request a connection, read only, with deadlines and a cap.

use std::convert::Infallible;
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
use tokio::sync::Semaphore;

/// Connections served at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// For a request to come and for one to be answered.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) type Page = Response<Full<Bytes>>;

/// Answers each connection's request by its path, for ever.
pub(super) async fn serve<S, A>(
    accept: impl Fn() -> A,
    answer: impl Fn(&str) -> Page + Send + Sync + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Future<Output = S>,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let answer = Arc::new(answer);
    // The semaphore is never closed.
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = accept().await;
        let answer = answer.clone();
        tokio::spawn(async move {
            connection(stream, &*answer).await;
            drop(place);
        });
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
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever goes away is no matter.
    let _ = tokio::time::timeout(PATIENCE * 2, served).await;
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
