//! How login hooks answered, and how long that took.

use std::time::Duration;

use prometheus::{Counter, CounterVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::error::HookFault;
use crate::metrics;

/// The metrics of all login hooks. Labels are names of the configuration and constants.
pub struct HookMetrics {
    requests: IntCounterVec,
    seconds: CounterVec,
    waiting: IntGaugeVec,
}

/// The metrics of one hook.
pub(super) struct OfHook {
    name: String,
    requests: IntCounterVec,
    seconds: Counter,
    waiting: IntGauge,
}

/// Counts in a gauge until dropped.
pub(super) struct Waiting(IntGauge);

impl HookMetrics {
    /// Creates the metrics and registers them, once per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = metrics::counters(
            registry,
            "lockgate_login_hook_requests_total",
            "Logins that a login hook decided about, from its cached answers (cached) too, and failures",
            &["hook", "outcome"],
        )?;
        let seconds = metrics::float_counters(
            registry,
            "lockgate_login_hook_seconds_total",
            "Time that requests to login hooks took, without the wait for a slot",
            &["hook"],
        )?;
        let waiting = metrics::gauges(
            registry,
            "lockgate_login_hook_waiting",
            "Logins that wait for a slot of a login hook's requests_at_once",
            &["hook"],
        )?;
        Ok(Self { requests, seconds, waiting })
    }

    pub(super) fn of(&self, hook: &str) -> OfHook {
        let faults = HookFault::ALL.into_iter().map(HookFault::as_str);
        // From the start, so that the first failure is visible as an increase.
        for outcome in ["allowed", "refused", "cached"].into_iter().chain(faults) {
            self.requests.with_label_values(&[hook, outcome]);
        }
        OfHook {
            name: hook.to_owned(),
            requests: self.requests.clone(),
            seconds: self.seconds.with_label_values(&[hook]),
            waiting: self.waiting.with_label_values(&[hook]),
        }
    }
}

impl OfHook {
    pub(super) fn outcome(&self, outcome: &str) -> IntCounter {
        self.requests.with_label_values(&[self.name.as_str(), outcome])
    }

    pub(super) fn took(&self, time: Duration) {
        self.seconds.inc_by(time.as_secs_f64());
    }

    pub(super) fn wait(&self) -> Waiting {
        self.waiting.inc();
        Waiting(self.waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}
