//! Backends that cannot be used: each failure is counted, and logged once a minute for each backend
//! and reason.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounterVec, Registry};
use tokio::time::Instant;

use crate::metrics;
use crate::op::{Failure, Outage};

/// Between two lines about the same backend and reason.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Outages {
    failures: IntCounterVec,
    /// The last lines, bounded by the configured backends.
    logged: Mutex<HashMap<(String, Outage), LastLine>>,
}

struct LastLine {
    at: Instant,
    suppressed: u64,
}

impl Outages {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let failures = metrics::counters(
            registry,
            "lockgate_backend_failures_total",
            "Logins that failed since the backend could not be used",
            &["backend", "reason"],
        )?;
        Ok(Self { failures, logged: Mutex::default() })
    }

    pub(super) fn counters(&self) -> &IntCounterVec {
        &self.failures
    }

    /// From the start, so that the first failure is visible as an increase.
    pub(super) fn know(&self, backend: &str) {
        for outage in Outage::ALL {
            self.failures.with_label_values(&[backend, outage.as_str()]);
        }
    }

    /// Counts a login that failed for all users. `addresses`: the backend's.
    pub(super) fn note(&self, backend: &str, addresses: &[String], failure: &Failure) {
        let Some(outage) = failure.outage else { return };
        self.failures.with_label_values(&[backend, outage.as_str()]).inc();
        if let Some(suppressed) = self.next_line(backend, outage) {
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

    /// The number of suppressed lines since the last one, where another is due.
    fn next_line(&self, backend: &str, outage: Outage) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let last = logged.get_mut(&(backend.to_owned(), outage));
        let suppressed = match last {
            Some(last) if now.duration_since(last.at) < LOG_INTERVAL => {
                last.suppressed += 1;
                return None;
            }
            Some(last) => last.suppressed,
            None => 0,
        };
        logged.insert((backend.to_owned(), outage), LastLine { at: now, suppressed: 0 });
        Some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_backend_and_reason_is_logged_once_a_minute() {
        let outages = Outages::register(&Registry::new()).unwrap();
        assert_eq!(outages.next_line("a", Outage::Tls), Some(0));
        assert_eq!(outages.next_line("a", Outage::Tls), None);
        assert_eq!(outages.next_line("b", Outage::Tls), Some(0));
        assert_eq!(outages.next_line("a", Outage::Timeout), Some(0));
        tokio::time::advance(LOG_INTERVAL - Duration::from_millis(1)).await;
        assert_eq!(outages.next_line("a", Outage::Tls), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(outages.next_line("a", Outage::Tls), Some(2));
        assert_eq!(outages.next_line("a", Outage::Tls), None);
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!(outages.next_line("a", Outage::Tls), Some(1));
        assert_eq!(outages.next_line("b", Outage::Tls), Some(0));
    }
}
