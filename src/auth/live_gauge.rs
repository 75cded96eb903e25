//! A gauge whose value is asked for when metrics are collected.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};

struct LiveGauge<F> {
    gauge: IntGauge,
    value: F,
}

/// Registers a gauge, once per registry.
pub(super) fn register(
    registry: &Registry,
    name: &str,
    help: &str,
    value: impl Fn() -> usize + Send + Sync + 'static,
) -> Result<(), prometheus::Error> {
    registry.register(Box::new(LiveGauge { gauge: IntGauge::new(name, help)?, value }))
}

impl<F: Fn() -> usize + Send + Sync> Collector for LiveGauge<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set(i64::try_from((self.value)()).unwrap_or(i64::MAX));
        self.gauge.collect()
    }
}
