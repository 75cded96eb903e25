//! The metrics of expected files, asked for at each scrape.

use std::sync::Arc;

use jiff::Timestamp;
use prometheus::{Error, Registry};

use super::files::ExpectedFiles;
use super::tally::State;
use super::view::ExpectedView;
use crate::metrics::live_gauges;

type Value = fn(&ExpectedView) -> Option<f64>;

const METRICS: [(&str, &str, Value); 6] = [
    ("lockgate_expected_files", "Files that an entry of `expect` waits for", |view| {
        Some(view.at_least as f64)
    }),
    ("lockgate_expected_arrived", "Files of the present window that arrived here", |view| {
        Some(view.arrived as f64)
    }),
    (
        "lockgate_expected_due_timestamp_seconds",
        "When the files of the present window are due",
        |view| Some(seconds(view.due)),
    ),
    ("lockgate_expected_window_start_timestamp_seconds", "When the present window began", |view| {
        Some(seconds(view.start))
    }),
    ("lockgate_expected_overdue", "1 if files were due and have not all arrived here", |view| {
        Some(f64::from(u8::from(view.state == State::Overdue)))
    }),
    (
        "lockgate_expected_last_arrival_timestamp_seconds",
        "When the last file arrived here",
        |view| view.last.as_ref().map(|last| seconds(last.at)),
    ),
];

/// Registers the metrics, once per registry.
pub fn register_metrics(files: &Arc<ExpectedFiles>, registry: &Registry) -> Result<(), Error> {
    for (name, help, value) in METRICS {
        let files = files.clone();
        live_gauges(registry, name, help, &["name"], move |series| {
            for view in files.views(Timestamp::now()) {
                if let Some(value) = value(&view) {
                    series.with_label_values(&[&view.name]).set(value);
                }
            }
        })?;
    }
    Ok(())
}

fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}
