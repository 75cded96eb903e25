//! Metrics whose series and values are asked for at each scrape: nothing is counted in between.

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, Error, GaugeVec, IntCounterVec, Opts, Registry};

struct Live<B: MetricVecBuilder, F> {
    series: MetricVec<B>,
    /// Held by one scrape at a time.
    filling: Mutex<()>,
    fill: F,
}

/// A gauge without labels; `value` may lock, but must not wait.
pub fn live_gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    value: impl Fn() -> f64 + Send + Sync + 'static,
) -> Result<(), Error> {
    live_gauges(registry, name, help, &[], move |series| {
        series.with_label_values::<&str>(&[]).set(value());
    })
}

/// Gauges; `fill` sets all series that exist now. It may lock, but must not wait.
pub fn live_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    fill: impl Fn(&GaugeVec) + Send + Sync + 'static,
) -> Result<(), Error> {
    register(registry, GaugeVec::new(Opts::new(name, help), labels)?, fill)
}

/// A counter of what has no whole numbers, such as seconds; `value` is all of it, and never falls.
pub fn live_float_counter(
    registry: &Registry,
    name: &str,
    help: &str,
    value: impl Fn() -> f64 + Send + Sync + 'static,
) -> Result<(), Error> {
    register(registry, CounterVec::new(Opts::new(name, help), &[])?, move |series| {
        series.with_label_values::<&str>(&[]).inc_by(value().max(0.0));
    })
}

/// Counters, as [`live_gauges`]: `fill` adds to each series, which begins at 0, its whole value.
pub fn live_counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    fill: impl Fn(&IntCounterVec) + Send + Sync + 'static,
) -> Result<(), Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?, fill)
}

fn register<B: MetricVecBuilder + 'static>(
    registry: &Registry,
    series: MetricVec<B>,
    fill: impl Fn(&MetricVec<B>) + Send + Sync + 'static,
) -> Result<(), Error> {
    registry.register(Box::new(Live { series, filling: Mutex::default(), fill }))
}

impl<B: MetricVecBuilder, F: Fn(&MetricVec<B>) + Send + Sync> Collector for Live<B, F> {
    fn desc(&self) -> Vec<&Desc> {
        self.series.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _alone = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.series.reset();
        (self.fill)(&self.series);
        self.series.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn series_come_and_go() {
        let (registry, names) = (Registry::new(), Arc::new(Mutex::new(vec!["a", "b"])));
        let shown = names.clone();
        let fill = move |series: &GaugeVec| {
            shown.lock().unwrap().iter().for_each(|name| series.with_label_values(&[name]).inc());
        };
        live_gauges(&registry, "things", "Things", &["name"], fill).unwrap();
        live_gauge(&registry, "one", "One", || 1.5).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text().contains("things{name=\"a\"} 1\nthings{name=\"b\"} 1\n"), "{}", text());
        *names.lock().unwrap() = vec!["c"];
        let text = text();
        assert!(text.contains("things{name=\"c\"} 1\n") && !text.contains("\"a\""), "{text}");
        assert!(text.contains("# TYPE one gauge\none 1.5\n"), "{text}");
    }
}
