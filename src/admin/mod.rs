//! What operators and Prometheus read: `/metrics`, `/live`, `/ready`. Nothing here changes anything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::net::{self, Drain};

/// Connections served at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// For a request to come and for one to be answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// The `metrics` address, bound.
pub struct BoundMetrics {
    socket: TcpListener,
    registry: Registry,
    drain: Drain,
}

impl BoundMetrics {
    pub fn bind(address: SocketAddr, registry: Registry, drain: Drain) -> std::io::Result<Self> {
        Ok(Self { socket: net::listen(address)?, registry, drain })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Serves until `stop`: while draining it still answers, `/ready` with 503.
    pub fn serve(self, stop: CancellationToken) {
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(CONNECTIONS));
            let this = Arc::new(self);
            stop.run_until_cancelled(async {
                // The semaphore is never closed.
                while let Ok(place) = places.clone().acquire_owned().await {
                    let (tcp, _) = net::accept(&this.socket).await;
                    let this = this.clone();
                    tokio::spawn(async move {
                        this.connection(tcp).await;
                        drop(place);
                    });
                }
            })
            .await;
        });
    }

    async fn connection(&self, tcp: TcpStream) {
        let service =
            service_fn(|request| async move { Ok::<_, Infallible>(self.answer(&request)) });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .keep_alive(false)
            .serve_connection(TokioIo::new(tcp), service);
        // A scraper that goes away is no matter.
        let _ = tokio::time::timeout(PATIENCE * 2, served).await;
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "read only\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" if self.drain.is_draining() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            "/ready" => text(StatusCode::OK, "ready\n"),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /live and /ready\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut page = Vec::new();
        let encoder = TextEncoder::new();
        if let Err(error) = encoder.encode(&self.registry.gather(), &mut page) {
            tracing::error!(%error, "metrics could not be written");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be written\n");
        }
        let mut response = Response::new(Full::new(page.into()));
        let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
