//! What the limits refused, and how long they made transfers and operations wait.

use std::time::Duration;

use prometheus::{CounterVec, IntCounterVec, Opts, Registry};

use super::refusal::Refused;
use super::setting::Limit;

/// The metrics of all limits, by name and kind.
#[derive(Clone)]
pub struct LimitMetrics {
    refused: IntCounterVec,
    waited: CounterVec,
}

/// The metrics of one limit.
pub(super) struct OfLimit {
    name: String,
    all: Option<LimitMetrics>,
}

impl LimitMetrics {
    /// Creates the metrics and registers them, once per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let refused = IntCounterVec::new(
            Opts::new(
                "lockgate_limit_refused_total",
                "Sessions, transfers and operations refused, and transfers ended, by policy.limits",
            ),
            &["limit", "kind"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        let waited = CounterVec::new(
            Opts::new(
                "lockgate_limit_waited_seconds_total",
                "Time that transfers and operations waited because of policy.limits",
            ),
            &["limit", "kind"],
        )?;
        registry.register(Box::new(waited.clone()))?;
        Ok(Self { refused, waited })
    }
}

impl OfLimit {
    pub(super) fn new(limit: &Limit, all: Option<&LimitMetrics>) -> Self {
        let name = limit.name.as_str();
        // From the start, so that the first refusal is visible as an increase.
        for kind in Refused::ALL.into_iter().filter(|kind| kind.is_possible(limit)) {
            all.inspect(|all| drop(all.refused.with_label_values(&[name, kind.key()])));
        }
        Self { name: name.to_owned(), all: all.cloned() }
    }

    pub(super) fn refused(&self, kind: Refused) {
        let Some(all) = &self.all else { return };
        all.refused.with_label_values(&[self.name.as_str(), kind.key()]).inc();
    }

    /// `kind`: `bandwidth` or `operations`.
    pub(super) fn waited(&self, kind: &str, time: Duration) {
        let Some(all) = &self.all else { return };
        all.waited.with_label_values(&[self.name.as_str(), kind]).inc_by(time.as_secs_f64());
    }
}
