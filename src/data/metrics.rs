//! The metrics of the data ports.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The state of the passive pools, with one set of series for each pool.
#[derive(Clone)]
pub struct PoolMetrics {
    size: IntGaugeVec,
    reserved: IntGaugeVec,
    active: IntGaugeVec,
    queued: IntGaugeVec,
    exhausted: IntCounterVec,
    expired: IntCounterVec,
    stray: IntCounterVec,
    proxy_refused: IntCounterVec,
}

/// One pool's handles.
pub(super) struct Handles {
    pub size: IntGauge,
    pub reserved: IntGauge,
    pub active: IntGauge,
    pub queued: IntGauge,
    pub exhausted: IntCounter,
    pub expired: IntCounter,
    pub stray: IntCounter,
    pub proxy_refused: IntCounter,
}

impl PoolMetrics {
    /// Creates the metrics and registers them, once per registry; `pool` is their only label.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["pool"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["pool"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self {
            size: gauge("lockgate_data_ports", "Passive data ports that listen")?,
            reserved: gauge(
                "lockgate_data_ports_reserved",
                "Reservations that wait for their data connection",
            )?,
            active: gauge("lockgate_data_ports_active", "Passive data connections in use")?,
            queued: gauge(
                "lockgate_data_ports_queued",
                "Requests for a data port that wait for one to become free",
            )?,
            exhausted: counter(
                "lockgate_data_ports_exhausted_total",
                "Requests for a data port refused because none was free, or became so in time",
            )?,
            expired: counter(
                "lockgate_data_ports_expired_total",
                "Reservations whose data connection was not made in time",
            )?,
            stray: counter(
                "lockgate_data_ports_stray_total",
                "Connections to a data port that matched no reservation and were closed",
            )?,
            proxy_refused: counter(
                "lockgate_data_ports_proxy_protocol_refused_total",
                "Strays that came from no trusted proxy, or with no good header",
            )?,
        })
    }

    pub(super) fn handles(&self, pool: &str) -> Handles {
        let labels = &[pool];
        Handles {
            size: self.size.with_label_values(labels),
            reserved: self.reserved.with_label_values(labels),
            active: self.active.with_label_values(labels),
            queued: self.queued.with_label_values(labels),
            expired: self.expired.with_label_values(labels),
            exhausted: self.exhausted.with_label_values(labels),
            stray: self.stray.with_label_values(labels),
            proxy_refused: self.proxy_refused.with_label_values(labels),
        }
    }

    /// Ends the series of a pool.
    pub(super) fn remove(&self, pool: &str) {
        let labels = &[pool];
        for gauge in [&self.size, &self.reserved, &self.active, &self.queued] {
            let _ = gauge.remove_label_values(labels);
        }
        for counter in [&self.exhausted, &self.expired, &self.stray, &self.proxy_refused] {
            let _ = counter.remove_label_values(labels);
        }
    }
}
