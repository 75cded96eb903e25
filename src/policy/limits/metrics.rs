//! What the limits refused, and how long they made transfers and operations wait.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{CounterVec, IntCounterVec, Registry};

use super::refusal::Refused;
use super::setting::Limit;
use crate::metrics;
use crate::net::WeakMap;

/// What transfers and operations wait for.
const WAITED_FOR: [&str; 2] = ["bandwidth", "operations"];

/// The metrics of all limits, by name and kind.
#[derive(Clone)]
pub struct LimitMetrics {
    refused: IntCounterVec,
    waited: CounterVec,
    /// Of the configurations that a process has had, and that sessions still use.
    live: Arc<WeakMap<String, OfLimit>>,
}

/// The metrics of one limit.
pub(super) struct OfLimit {
    name: String,
    all: Option<(IntCounterVec, CounterVec)>,
}

impl LimitMetrics {
    /// Creates the metrics and registers them, once per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            refused: metrics::counters(
                registry,
                "lockgate_limit_refused_total",
                "Sessions, transfers and operations refused, and transfers ended, by policy.limits",
                &["limit", "kind"],
            )?,
            waited: metrics::float_counters(
                registry,
                "lockgate_limit_waited_seconds_total",
                "Time that transfers and operations waited because of policy.limits",
                &["limit", "kind"],
            )?,
            live: Arc::default(),
        })
    }

    pub(super) fn of(&self, limit: &Limit) -> Arc<OfLimit> {
        let name = &limit.name;
        // From the start, so that the first refusal is visible as an increase.
        for kind in Refused::ALL.into_iter().filter(|kind| kind.is_possible(limit)) {
            self.refused.with_label_values(&[name.as_str(), kind.key()]);
        }
        let waits = [limit.has_bandwidth(), limit.operations.is_some()];
        for (kind, _) in WAITED_FOR.into_iter().zip(waits).filter(|(_, waits)| *waits) {
            self.waited.with_label_values(&[name.as_str(), kind]);
        }
        let all = Some((self.refused.clone(), self.waited.clone()));
        let new = || OfLimit { name: name.clone(), all };
        if limit.is_answered {
            // Its name is the login hook's, which stays while its answers come and go.
            return Arc::new(new());
        }
        self.live.get_or_insert_with(name, new)
    }

    /// Ends the series of limits that no configuration and no session has any more.
    pub fn forget_ended(&self) {
        self.live.forget_ended(|name| {
            for kind in Refused::ALL {
                let _ = self.refused.remove_label_values(&[name.as_str(), kind.key()]);
            }
            for kind in WAITED_FOR {
                let _ = self.waited.remove_label_values(&[name.as_str(), kind]);
            }
        });
    }
}

impl OfLimit {
    /// Of a limit that is not counted.
    pub(super) fn uncounted(limit: &Limit) -> Arc<Self> {
        Arc::new(Self { name: limit.name.clone(), all: None })
    }

    pub(super) fn refused(&self, kind: Refused) {
        let Some((refused, _)) = &self.all else { return };
        refused.with_label_values(&[self.name.as_str(), kind.key()]).inc();
    }

    /// `kind`: `bandwidth` or `operations`.
    pub(super) fn waited(&self, kind: &str, time: Duration) {
        let Some((_, waited)) = &self.all else { return };
        waited.with_label_values(&[self.name.as_str(), kind]).inc_by(time.as_secs_f64());
    }
}
