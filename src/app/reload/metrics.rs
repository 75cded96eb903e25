//! How often the configuration was read again, and since when it is in force.

use std::time::SystemTime;

use prometheus::{IntCounterVec, IntGauge, Registry};

use crate::metrics;

pub(in crate::app) struct ReloadMetrics {
    reloads: IntCounterVec,
    pub(super) failing: IntGauge,
    in_force_since: IntGauge,
}

impl ReloadMetrics {
    pub(in crate::app) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = metrics::counters(
            registry,
            "lockgate_config_reloads_total",
            "How often the configuration was read again",
            &["outcome"],
        )?;
        let failing = metrics::gauge(
            registry,
            "lockgate_config_reload_failing",
            "1 if the last reload failed, and an earlier configuration is in force",
        )?;
        let in_force_since = metrics::gauge(
            registry,
            "lockgate_config_in_force_timestamp_seconds",
            "When the configuration in force was read",
        )?;
        for outcome in ["ok", "failed"] {
            reloads.with_label_values(&[outcome]);
        }
        Ok(Self { reloads, failing, in_force_since })
    }

    pub(super) fn in_force(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.in_force_since.set(now.map_or(0, |now| now.as_secs() as i64));
    }

    pub(super) fn reloaded(&self) {
        self.reloads.with_label_values(&["ok"]).inc();
        self.in_force();
    }

    pub(super) fn failed(&self) {
        self.reloads.with_label_values(&["failed"]).inc();
    }
}
