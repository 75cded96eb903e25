//! HTTP for Prometheus and orchestrators: `/metrics`, `/live`, `/ready`.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::control::Control;
use super::http::{self, Page, page, read_only, text};
use super::readiness::Readiness;
use crate::net::{self, Acceptor, SocketOwner, Sockets};
use crate::task;

/// For a request and its response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The `metrics` address, bound.
pub struct BoundMetrics {
    socket: Arc<Acceptor>,
    registry: Registry,
}

/// Answers requests.
struct Service {
    socket: Arc<Acceptor>,
    registry: Registry,
    control: Arc<dyn Control>,
}

impl BoundMetrics {
    /// Opens `metrics.address`. Connections wait in the kernel's queue until [`Self::serve`].
    pub fn bind(
        address: SocketAddr,
        sockets: &Sockets,
        registry: Registry,
    ) -> std::io::Result<Self> {
        let socket = sockets.open(address, &SocketOwner::Metrics, ("metrics", 0))?;
        Ok(Self { socket, registry })
    }

    /// The bound address, with the actual port where 0 was configured.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Serves until `stop`.
    pub fn serve(self, control: Arc<dyn Control>, stop: CancellationToken) {
        let Self { socket, registry } = self;
        let this = Arc::new(Service { socket, registry, control });
        let socket = this.clone();
        let accept = move || {
            let this = socket.clone();
            async move {
                let (tcp, client) = net::accept(&this.socket).await;
                (ready(Some(tcp)), client.ip())
            }
        };
        let respond = move |request: Parts, _| {
            let is_read = matches!(request.method, Method::GET | Method::HEAD);
            ready(if is_read { this.respond(request.uri.path()) } else { read_only() })
        };
        task::spawn(stop.run_until_cancelled_owned(async move {
            http::serve((TIMEOUT, &TaskTracker::new()), accept, respond).await;
        }));
    }
}

impl Service {
    fn respond(&self, path: &str) -> Page {
        match path {
            "/metrics" => metrics(&self.registry),
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" => {
                let readiness = Readiness::of(&*self.control);
                let status = match readiness {
                    Readiness::Ready => StatusCode::OK,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                text(status, readiness.text())
            }
            _ => {
                text(StatusCode::NOT_FOUND, "not found; available are /metrics, /live and /ready\n")
            }
        }
    }
}

fn metrics(registry: &Registry) -> Page {
    let mut text_format = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&registry.gather(), &mut text_format) {
        tracing::error!(%error, "metrics could not be encoded");
        return text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be encoded\n");
    }
    page(text_format, prometheus::TEXT_FORMAT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http_body_util::BodyExt;
    use prometheus::{IntCounterVec, Opts};
    use proptest::prelude::*;

    use super::*;

    /// Parses a line of the exposition format into labels and value.
    fn sample(line: &str) -> (BTreeMap<String, String>, u64) {
        let mut rest = line.strip_prefix("things_total{").expect(line);
        let mut labels = BTreeMap::new();
        while !rest.starts_with('}') {
            let (name, value) = rest.split_once("=\"").expect(line);
            let mut characters = value.chars();
            let mut text = String::new();
            loop {
                match characters.next().expect(line) {
                    '"' => break,
                    '\\' => match characters.next().expect(line) {
                        'n' => text.push('\n'),
                        c @ ('"' | '\\') => text.push(c),
                        c => panic!("\\{c} in {line}"),
                    },
                    c => text.push(c),
                }
            }
            labels.insert(name.to_owned(), text);
            rest = characters.as_str().trim_start_matches(',');
        }
        (labels, rest[1..].trim_start().parse().expect(line))
    }

    proptest! {
        #[test]
        fn a_sample_is_one_line_with_any_label(
            labels in proptest::collection::btree_map("(\\PC|\\p{C}|[\"\\\\\n={},]){0,6}", any::<u8>(), 0..9),
        ) {
            let registry = Registry::new();
            let things = IntCounterVec::new(Opts::new("things_total", "Things"), &["listener", "outcome"]);
            let things = things.unwrap();
            registry.register(Box::new(things.clone())).unwrap();
            for (label, count) in &labels {
                things.with_label_values(&[label, "ok"]).inc_by((*count).into());
            }
            let page = metrics(&registry).into_body().collect();
            let page = futures_util::FutureExt::now_or_never(page).unwrap().unwrap().to_bytes();
            let page = std::str::from_utf8(&page).unwrap();
            let parsed: BTreeMap<_, _> = page
                .split('\n')
                .filter(|line| !line.is_empty() && !line.starts_with("# "))
                .map(|line| {
                    let (mut labels, count) = sample(line);
                    assert_eq!(labels.remove("outcome").as_deref(), Some("ok"));
                    assert_eq!(labels.len(), 1);
                    (labels.remove("listener").unwrap(), count)
                })
                .collect();
            let given: BTreeMap<_, _> =
                labels.into_iter().map(|(label, count)| (label, count.into())).collect();
            prop_assert_eq!(parsed, given);
        }
    }
}
