//! What is counted of the connections to each backend.

use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec, Registry};

use super::time::{ConnectEnd, ConnectTimes};
use crate::metrics::{self, Times};
use crate::net::WeakMap;

/// Of all backends of all configurations that a process has had, and that sessions still use.
pub(super) struct Metrics {
    waiting: IntGaugeVec,
    in_progress: IntGaugeVec,
    times: ConnectTimes,
    live: WeakMap<String, OfBackend>,
}

/// The metrics of one backend.
pub(super) struct OfBackend {
    pub(super) waiting: IntGauge,
    pub(super) in_progress: IntGauge,
    pub(super) times: Times<ConnectEnd>,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| metrics::gauges(registry, name, help, &["backend"]);
        Ok(Self {
            waiting: gauge(
                "lockgate_backend_connects_waiting",
                "Connection attempts to a backend that wait for a slot of connects_at_once",
            )?,
            in_progress: gauge(
                "lockgate_backend_connects_in_progress",
                "Connection attempts to a backend in progress",
            )?,
            times: ConnectTimes::register(registry)?,
            live: WeakMap::default(),
        })
    }

    pub(super) fn of(&self, backend: &str) -> Arc<OfBackend> {
        self.live.get_or_insert_with(&backend.to_owned(), || OfBackend {
            waiting: self.waiting.with_label_values(&[backend]),
            in_progress: self.in_progress.with_label_values(&[backend]),
            times: self.times.of(backend),
        })
    }

    /// Ends the series of backends that nobody has any more.
    pub(super) fn forget_ended(&self) {
        self.live.forget_ended(|backend| self.remove(backend));
    }

    fn remove(&self, backend: &str) {
        for gauge in [&self.waiting, &self.in_progress] {
            let _ = gauge.remove_label_values(&[backend]);
        }
        self.times.remove(backend);
    }
}
