//! How long something took, by how it ended.

use std::sync::Arc;
use std::time::Instant;

use prometheus::{Histogram, HistogramVec};

/// The histograms of one label, such as a backend or a pool, by how what they measure ended.
pub struct Times<E>(Arc<[(E, Histogram)]>);

/// Something that is measured until it ends, or is dropped.
pub struct Timing<E: Copy + PartialEq> {
    times: Times<E>,
    since: Instant,
    end: E,
}

impl<E: Copy + PartialEq> Times<E> {
    /// `all`: every end, with the second label.
    pub fn new(
        histograms: &HistogramVec,
        label: &str,
        all: &[E],
        name: fn(E) -> &'static str,
    ) -> Self {
        let of = |end| (end, histograms.with_label_values(&[label, name(end)]));
        Self(all.iter().map(|&end| of(end)).collect())
    }

    /// Dropped without [`Timing::ended`], it has ended so.
    pub fn start(&self, dropped: E) -> Timing<E> {
        Timing { times: Self(self.0.clone()), since: Instant::now(), end: dropped }
    }

    /// How many have ended so.
    #[cfg(test)]
    pub fn count(&self, end: E) -> u64 {
        self.of(end).map_or(0, Histogram::get_sample_count)
    }

    fn of(&self, end: E) -> Option<&Histogram> {
        self.0.iter().find(|(it, _)| *it == end).map(|(_, histogram)| histogram)
    }
}

impl<E: Copy + PartialEq> Timing<E> {
    /// Counts it.
    pub fn ended(mut self, end: E) {
        self.end = end;
    }
}

impl<E: Copy + PartialEq> Drop for Timing<E> {
    fn drop(&mut self) {
        if let Some(histogram) = self.times.of(self.end) {
            histogram.observe(self.since.elapsed().as_secs_f64());
        }
    }
}
