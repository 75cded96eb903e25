//! Metrics whose series and values are asked for at each scrape: nothing is counted in between.

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, Error, GaugeVec, IntCounterVec, Opts, Registry};

struct Live<B: MetricVecBuilder, F, const N: usize> {
    series: [MetricVec<B>; N],
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
    live_gauge_sets(registry, [(name, help, labels)], move |[series]| fill(series))
}

/// Several gauges, each with a name, a help and labels, of what is looked at once for all of them.
pub fn live_gauge_sets<const N: usize>(
    registry: &Registry,
    gauges: [(&str, &str, &[&str]); N],
    fill: impl Fn(&[GaugeVec; N]) + Send + Sync + 'static,
) -> Result<(), Error> {
    let mut series = Vec::with_capacity(N);
    for (name, help, labels) in gauges {
        series.push(GaugeVec::new(Opts::new(name, help), labels)?);
    }
    let series = series.try_into().map_err(|_| Error::Msg("as many as there are".to_owned()))?;
    register(registry, series, fill)
}

/// A counter of what has no whole numbers, such as seconds; `value` is all of it, and never falls.
pub fn live_float_counter(
    registry: &Registry,
    name: &str,
    help: &str,
    value: impl Fn() -> f64 + Send + Sync + 'static,
) -> Result<(), Error> {
    register(registry, [CounterVec::new(Opts::new(name, help), &[])?], move |[series]| {
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
    let series = [IntCounterVec::new(Opts::new(name, help), labels)?];
    register(registry, series, move |[series]| fill(series))
}

fn register<B: MetricVecBuilder + 'static, const N: usize>(
    registry: &Registry,
    series: [MetricVec<B>; N],
    fill: impl Fn(&[MetricVec<B>; N]) + Send + Sync + 'static,
) -> Result<(), Error> {
    registry.register(Box::new(Live { series, filling: Mutex::default(), fill }))
}

impl<B: MetricVecBuilder, F: Fn(&[MetricVec<B>; N]) + Send + Sync, const N: usize> Collector
    for Live<B, F, N>
{
    fn desc(&self) -> Vec<&Desc> {
        self.series.iter().flat_map(|series| series.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _alone = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.series.iter().for_each(MetricVec::reset);
        (self.fill)(&self.series);
        self.series.iter().flat_map(|series| series.collect()).collect()
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
