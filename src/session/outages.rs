//! Backends that cannot be used: each failure is counted, and told of once a minute for each backend
//! and reason.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry};
use tokio::time::Instant;

use crate::op::{Failure, Outage};

/// Between two lines about the same backend and reason.
const INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Outages {
    failures: IntCounterVec,
    /// Bounded by the configuration's backends.
    told: Mutex<HashMap<(String, Outage), Told>>,
}

struct Told {
    at: Instant,
    suppressed: u64,
}

impl Outages {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let failures = IntCounterVec::new(
            Opts::new(
                "lockgate_backend_failures_total",
                "Logins that failed since the backend could not be used",
            ),
            &["backend", "reason"],
        )?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self { failures, told: Mutex::default() })
    }

    /// Notes a login that failed, where it was not for who logged in. `addresses`: the backend's.
    pub(super) fn note(&self, backend: &str, addresses: &[String], failure: &Failure) {
        let Some(outage) = failure.outage else { return };
        self.failures.with_label_values(&[backend, outage.as_str()]).inc();
        if let Some(suppressed) = self.turn(backend, outage) {
            tracing::warn!(
                event = "backend",
                backend,
                address = addresses.join(", "),
                outcome = outage.as_str(),
                reason = failure.message,
                detail = failure.detail.as_deref(),
                suppressed,
                "backend cannot be used"
            );
        }
    }

    /// Whether it is to be told of now, and how many were not since it was.
    fn turn(&self, backend: &str, outage: Outage) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let last = told.get_mut(&(backend.to_owned(), outage));
        let suppressed = match last {
            Some(last) if now.duration_since(last.at) < INTERVAL => {
                last.suppressed += 1;
                return None;
            }
            Some(last) => last.suppressed,
            None => 0,
        };
        told.insert((backend.to_owned(), outage), Told { at: now, suppressed: 0 });
        Some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_minute_for_each_backend_and_reason() {
        let outages = Outages::register(&Registry::new()).unwrap();
        assert_eq!(outages.turn("a", Outage::Tls), Some(0));
        assert_eq!(outages.turn("a", Outage::Tls), None);
        assert_eq!(outages.turn("b", Outage::Tls), Some(0));
        assert_eq!(outages.turn("a", Outage::Timeout), Some(0));
        tokio::time::advance(INTERVAL - Duration::from_millis(1)).await;
        assert_eq!(outages.turn("a", Outage::Tls), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(outages.turn("a", Outage::Tls), Some(2));
        assert_eq!(outages.turn("a", Outage::Tls), None);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(outages.turn("a", Outage::Tls), Some(1));
        assert_eq!(outages.turn("b", Outage::Tls), Some(0));
    }
}
