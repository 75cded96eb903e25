//! Reservations that ended without a connection, which may still be on its way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use super::client_key::Key;
use crate::net::tls::ResumptionEvidence;

/// For so long a port is left alone for all but its last session, where a reservation ended without a
/// connection: that may still be on its way, and must not be taken for another transfer's.
pub(super) const REST: Duration = Duration::from_secs(5);
/// Keys at rest that are remembered, and reservations of each.
const RESTING: usize = 16 * 1024;
const RESTS: usize = 64;

/// A session's number and, under TLS, from whom it can be told.
pub(super) type Who = (u64, Option<ResumptionEvidence>);

/// A reservation that ended without a connection, which may still be on its way.
pub(super) struct Rest {
    pub(super) until: Instant,
    pub(super) session: u64,
    /// Of the session; `None` in clear.
    pub(super) standing: Option<ResumptionEvidence>,
}

impl Rest {
    /// Whether its connection could be taken for the claim's. In clear it resumes nothing.
    pub(super) fn is_like(&self, session: u64, claim: &ResumptionEvidence) -> bool {
        let own = self.standing.filter(|_| self.session != session);
        own.is_some_and(|own| !own.is_distinguishable_from(claim))
    }
}

/// A connection may still be on its way there. Past the cap nothing is remembered: memory comes before
/// this comfort.
pub(super) fn rest(
    resting: &mut HashMap<Key, Vec<Rest>>,
    key: Key,
    now: Instant,
    (session, standing): Who,
) {
    let known = resting.len();
    let rests = match resting.entry(key) {
        Entry::Occupied(rests) => rests.into_mut(),
        Entry::Vacant(rests) if known < RESTING => rests.insert(Vec::new()),
        Entry::Vacant(_) => return,
    };
    let same = |rest: &Rest| rest.session == session && rest.standing == standing;
    rests.retain(|rest| rest.until > now && !same(rest));
    if rests.len() < RESTS {
        rests.push(Rest { until: now + REST, session, standing });
    }
}
