//! The metrics of `users_file`.

use prometheus::{IntCounterVec, IntGauge, Registry};

use crate::metrics;

/// How often the files were read again.
#[derive(Clone)]
pub(super) struct UsersReloadMetrics {
    pub(super) reloads: IntCounterVec,
    pub(super) broken: IntGauge,
}

impl UsersReloadMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = metrics::counters(
            registry,
            "lockgate_users_file_reloads_total",
            "How often users_file was read again",
            &["outcome"],
        )?;
        let broken = metrics::gauge(
            registry,
            "lockgate_users_file_broken",
            "1 while users_file has an error, and the users before are in force",
        )?;
        for outcome in ["ok", "failed"] {
            reloads.with_label_values(&[outcome]);
        }
        Ok(Self { reloads, broken })
    }
}
