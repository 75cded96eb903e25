//! Limits of the configuration (`policy.limits`): bandwidth, sessions, transfers, operations and daily
//! quotas. All that cover a session apply to it.

mod applied;
mod bucket;
mod carried;
mod counters;
mod metrics;
mod quota;
mod quota_file;
mod refusal;
mod session;
mod setting;
#[cfg(test)]
mod tests;
mod throttle;
mod usage;

use std::sync::Arc;

pub use carried::{CarriedUse, KnownUse, UseNow};
pub use counters::Counters;
pub use metrics::LimitMetrics;
pub use session::{SessionLimits, TransferPermit};
pub use setting::{Limit, OperationPeriod, OperationRate, Per};
pub use usage::LimitUse;

use super::SessionFacts;
use crate::op::Failure;
use applied::{Applied, Configured};
use counters::{Key, SharedBy};
use quota::Day;
use refusal::Refused;
use setting::Size;

/// The limits of the configuration, with what they count.
#[derive(Default)]
pub struct Limits {
    configured: Vec<Arc<Configured>>,
    counters: Arc<Counters>,
    /// `None`: limits of answers are not counted in metrics.
    metrics: Option<LimitMetrics>,
}

impl Limits {
    /// Limits that go on with these counters: those of an earlier configuration, or new ones.
    pub fn new(limits: Vec<Limit>, counters: Arc<Counters>, metrics: &LimitMetrics) -> Self {
        let metrics = Some(metrics.clone());
        let configured = limits.into_iter().map(|limit| Configured::new(limit, metrics.as_ref()));
        Self { configured: configured.collect(), counters, metrics }
    }

    /// What they count, for the limits of another configuration, or to be saved.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Counts a session of an authenticated user. `session`: its number. `further`: a limit of this user.
    ///
    /// # Errors
    /// As many sessions are open as a limit allows: the failure ends the connection.
    pub fn open_session(
        &self,
        facts: &SessionFacts,
        session: u64,
        further: Option<&Limit>,
    ) -> Result<SessionLimits, Failure> {
        let further = further.map(|it| Configured::new(it.clone(), self.metrics.as_ref()));
        let mut applied = Vec::new();
        for configured in self.covering(facts).chain(&further) {
            let (key, max) = (key(&configured.limit, facts, session), configured.limit.sessions);
            let counted = self.counters.add_session(key, max);
            let session = counted.ok_or_else(|| configured.refuse(Refused::Session))?;
            applied.push(Applied { configured: configured.clone(), session });
        }
        Ok(SessionLimits::new(applied))
    }

    /// The limits that apply to such a session, one a line, with what is counted at present if something
    /// is.
    pub fn explain(&self, facts: &SessionFacts) -> Vec<String> {
        let lines = self.covering(facts).map(|configured| {
            let limit = &configured.limit;
            let line = format!("{}: {}, per {}", limit.name, limit.values(), limit.per.as_str());
            // Sessions have a number from 1.
            let Some((sessions, counter)) = self.counters.find(&key(limit, facts, 0)) else {
                return line;
            };
            let (transfers, used) = (counter.transfers(), counter.today.used(Day::today()));
            let now = format!("{line}; now sessions {sessions}, transfers {transfers}");
            if !limit.has_quota() {
                return now;
            }
            format!("{now}; today {}, files {}", Size(used.bytes), used.files)
        });
        lines.collect()
    }

    fn covering(&self, facts: &SessionFacts) -> impl Iterator<Item = &Arc<Configured>> {
        self.configured.iter().filter(|configured| configured.limit.matches.covers(facts))
    }
}

fn key(limit: &Limit, facts: &SessionFacts, session: u64) -> Key {
    let shared_by = match limit.per {
        Per::User => SharedBy::user(&facts.user),
        Per::Session => SharedBy::Session(session),
        Per::Listener => SharedBy::Listener(facts.listener.clone()),
        Per::Backend => SharedBy::Backend(facts.backend.clone()),
        Per::All => SharedBy::All,
    };
    Key { limit: limit.name.as_str().into(), shared_by }
}
