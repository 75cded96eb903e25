//! Registering metrics of Prometheus, in one line each. What a metric counts is beside what counts it;
//! docs/metrics.md has the table of all.

mod live;
mod times;

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    CounterVec, Error, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

pub use live::{live_counters, live_float_counter, live_gauge, live_gauge_sets, live_gauges};
pub use times::{Times, Timing};

/// A counter without labels.
pub fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, Error> {
    register(registry, IntCounter::new(name, help)?)
}

/// Counters, one for each set of labels.
pub fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

/// Counters of what has no whole numbers, such as seconds.
pub fn float_counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<CounterVec, Error> {
    register(registry, CounterVec::new(Opts::new(name, help), labels)?)
}

/// A gauge without labels.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, Error> {
    register(registry, IntGauge::new(name, help)?)
}

/// Gauges, one for each set of labels.
pub fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

/// Histograms, one for each set of labels: each has as many series as `buckets`, and three more.
pub fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, Error> {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(options, labels)?)
}

/// The labels of one series.
pub type Labels<'a> = HashMap<&'a str, &'a str>;

/// Ends the series that `is_gone` says so of.
pub fn remove<B: MetricVecBuilder>(series: &MetricVec<B>, is_gone: impl Fn(&Labels<'_>) -> bool) {
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels = metric.get_label().iter().map(|label| (label.name(), label.value()));
            let labels: Labels<'_> = labels.collect();
            if is_gone(&labels) {
                // Fails where it has ended already.
                let _ = series.remove(&labels);
            }
        }
    }
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
