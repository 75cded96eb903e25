//! The metrics of the data ports.

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::metrics::{self, Times};

/// Upper bounds of waits for a port, in seconds. The default of `wait` is 10 seconds.
const WAIT_BUCKETS: [f64; 9] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The state of the passive pools, with one set of series for each pool.
#[derive(Clone)]
pub struct PoolMetrics {
    size: IntGaugeVec,
    reserved: IntGaugeVec,
    active: IntGaugeVec,
    queued: IntGaugeVec,
    wait: HistogramVec,
    exhausted: IntCounterVec,
    expired: IntCounterVec,
    stray: IntCounterVec,
    proxy_refused: IntCounterVec,
}

/// How a request for a port ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitEnd {
    /// With a port.
    Ok,
    /// None became free in time.
    Timeout,
    /// At once: too many wait, or the client has the maximum.
    Refused,
    /// The client left, or its session ended.
    Left,
}

impl WaitEnd {
    const ALL: [Self; 4] = [Self::Ok, Self::Timeout, Self::Refused, Self::Left];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Left => "left",
        }
    }
}

/// One pool's handles.
pub(super) struct Handles {
    pub size: IntGauge,
    pub reserved: IntGauge,
    pub active: IntGauge,
    pub queued: IntGauge,
    pub waits: Times<WaitEnd>,
    pub exhausted: IntCounter,
    pub expired: IntCounter,
    pub stray: IntCounter,
    pub proxy_refused: IntCounter,
}

impl PoolMetrics {
    /// Creates the metrics and registers them, once per registry; `pool` is their only label.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| metrics::gauges(registry, name, help, &["pool"]);
        let counter = |name, help| metrics::counters(registry, name, help, &["pool"]);
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
            wait: metrics::histograms(
                registry,
                "lockgate_data_ports_wait_seconds",
                "How long requests for a data port waited for one",
                &["pool", "outcome"],
                &WAIT_BUCKETS,
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
            waits: Times::new(&self.wait, pool, &WaitEnd::ALL, WaitEnd::as_str),
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
        for end in WaitEnd::ALL {
            let _ = self.wait.remove_label_values(&[pool, end.as_str()]);
        }
        for counter in [&self.exhausted, &self.expired, &self.stray, &self.proxy_refused] {
            let _ = counter.remove_label_values(labels);
        }
    }
}
