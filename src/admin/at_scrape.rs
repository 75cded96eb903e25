//! Gauges whose series and values are found out when metrics are collected.

use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

/// A metric: name, help, labels.
pub(super) type Family<'a> = (&'a str, &'a str, &'a [&'a str]);

struct AtScrape<const N: usize, F> {
    gauges: [GaugeVec; N],
    read: F,
    /// Between two collections at once.
    turn: Mutex<()>,
}

/// Registers gauges, once per registry. `read` sets all series that there are; others end.
pub(super) fn register<const N: usize>(
    registry: &Registry,
    families: [Family<'_>; N],
    read: impl Fn(&[GaugeVec; N]) + Send + Sync + 'static,
) -> Result<(), prometheus::Error> {
    let mut gauges = Vec::with_capacity(N);
    for (name, help, labels) in families {
        gauges.push(GaugeVec::new(Opts::new(name, help), labels)?);
    }
    // As many as there are families.
    let Ok(gauges) = gauges.try_into() else { return Ok(()) };
    registry.register(Box::new(AtScrape { gauges, read, turn: Mutex::new(()) }))
}

impl<const N: usize, F: Fn(&[GaugeVec; N]) + Send + Sync> Collector for AtScrape<N, F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauges.iter().for_each(GaugeVec::reset);
        (self.read)(&self.gauges);
        self.gauges.iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn series_that_are_no_longer_set_end() {
        let registry = Registry::new();
        let names = Arc::new(Mutex::new(vec!["a", "b"]));
        let read = names.clone();
        let families = [("things", "Things", &["name"][..]), ("empty", "Nothing", &[][..])];
        register(&registry, families, move |[things, _]| {
            for name in read.lock().unwrap().iter() {
                things.with_label_values(&[name]).set(1.0);
            }
        })
        .unwrap();
        let series = || {
            let families = registry.gather();
            assert!(families.iter().all(|family| family.name() == "things"));
            families.iter().map(|family| family.get_metric().len()).sum::<usize>()
        };
        assert_eq!(series(), 2);
        names.lock().unwrap().pop();
        assert_eq!(series(), 1);
        names.lock().unwrap().clear();
        assert_eq!(series(), 0);
    }
}
