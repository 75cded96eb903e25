//! Metrics of servers; the only label is the server's name in the configuration.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::metrics;

/// Of all servers.
pub struct GroupMetrics {
    up: IntGaugeVec,
    drained: IntGaugeVec,
    sessions: IntGaugeVec,
    ejections: IntCounterVec,
}

/// Of one server.
pub(super) struct ServerMetrics {
    pub(super) up: IntGauge,
    pub(super) drained: IntGauge,
    pub(super) sessions: IntGauge,
    pub(super) ejections: IntCounter,
}

impl GroupMetrics {
    /// Once per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| metrics::gauges(registry, name, help, &["server"]);
        Ok(Self {
            up: gauge(
                "lockgate_server_up",
                "1 if a backend's server is up: if its checks pass, or, without health, its last login or a check since then worked",
            )?,
            drained: gauge("lockgate_server_drained", "1 if a backend's server is drained")?,
            sessions: gauge("lockgate_server_sessions", "Sessions at a backend's server")?,
            ejections: metrics::counters(
                registry,
                "lockgate_server_ejections_total",
                "Times that a checked server stopped getting sessions since it failed",
                &["server"],
            )?,
        })
    }

    pub(super) fn server(&self, name: &str) -> ServerMetrics {
        ServerMetrics {
            up: self.up.with_label_values(&[name]),
            drained: self.drained.with_label_values(&[name]),
            sessions: self.sessions.with_label_values(&[name]),
            ejections: self.ejections.with_label_values(&[name]),
        }
    }

    /// Ends the series of a server.
    pub(super) fn remove(&self, name: &str) {
        for gauge in [&self.up, &self.drained, &self.sessions] {
            let _ = gauge.remove_label_values(&[name]);
        }
        let _ = self.ejections.remove_label_values(&[name]);
    }
}
