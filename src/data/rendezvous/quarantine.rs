//! Ports whose last reservation ended without a connection, which may still arrive.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use super::client_key::Key;
use crate::net::tls::ResumptionEvidence;

/// How long a port is reserved for its last session only, after a reservation ended without a connection: a
/// late connection must not be taken for another transfer's.
pub(super) const QUARANTINE_TTL: Duration = Duration::from_secs(5);
/// Keys in quarantine that are remembered, and reservations of each.
const MAX_QUARANTINE_KEYS: usize = 16 * 1024;
const MAX_QUARANTINES_PER_KEY: usize = 64;

/// The number of the session that held a reservation and, under TLS, its evidence.
pub(super) type Holder = (u64, Option<ResumptionEvidence>);

/// A reservation that ended without a connection.
pub(super) struct Quarantine {
    pub(super) until: Instant,
    pub(super) session: u64,
    /// `None`: in clear.
    evidence: Option<ResumptionEvidence>,
}

impl Quarantine {
    /// Whether its connection resumes nothing.
    pub(super) fn is_in_clear(&self) -> bool {
        self.evidence.is_none()
    }

    /// Whether its late connection could be taken for one of `session`. In clear it resumes nothing.
    pub(super) fn is_ambiguous(&self, session: u64, evidence: &ResumptionEvidence) -> bool {
        let own = self.evidence.filter(|_| self.session != session);
        own.is_some_and(|own| !own.is_distinguishable_from(evidence))
    }
}

/// Remembers that a connection may still arrive. Past the limits it does not: memory is bounded first.
pub(super) fn add(
    quarantines: &mut HashMap<Key, Vec<Quarantine>>,
    key: Key,
    now: Instant,
    (session, evidence): Holder,
) {
    let keys = quarantines.len();
    let of_key = match quarantines.entry(key) {
        Entry::Occupied(of_key) => of_key.into_mut(),
        Entry::Vacant(of_key) if keys < MAX_QUARANTINE_KEYS => of_key.insert(Vec::new()),
        Entry::Vacant(_) => return,
    };
    let is_same = |one: &Quarantine| one.session == session && one.evidence == evidence;
    of_key.retain(|one| one.until > now && !is_same(one));
    if of_key.len() < MAX_QUARANTINES_PER_KEY {
        of_key.push(Quarantine { until: now + QUARANTINE_TTL, session, evidence });
    }
}
