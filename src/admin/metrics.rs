//! What Prometheus and orchestrators read: `/metrics`, `/live`, `/ready`.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::http::{self, Page, page, text};
use crate::net::{self, Drain};

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
        let this = Arc::new(self);
        let socket = this.clone();
        let accept = move || {
            let this = socket.clone();
            async move {
                let (tcp, client) = net::accept(&this.socket).await;
                (tcp, client.ip())
            }
        };
        tokio::spawn(
            stop.run_until_cancelled_owned(http::serve(accept, move |path| this.answer(path))),
        );
    }

    fn answer(&self, path: &str) -> Page {
        match path {
            "/metrics" => self.metrics(),
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" if self.drain.is_draining() => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            "/ready" => text(StatusCode::OK, "ready\n"),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /live and /ready\n"),
        }
    }

    fn metrics(&self) -> Page {
        let mut text_format = Vec::new();
        let encoder = TextEncoder::new();
        if let Err(error) = encoder.encode(&self.registry.gather(), &mut text_format) {
            tracing::error!(%error, "metrics could not be written");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be written\n");
        }
        page(text_format, prometheus::TEXT_FORMAT)
    }
}
