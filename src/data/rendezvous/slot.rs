//! A port for one client key, and the reservations that wait there for connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc};

use crate::net::tls::{ResumptionEvidence, SessionId};

/// Up to so many reservations of a slot, a new one is compared with each; with more, with their combined
/// evidence.
const MAX_COMPARED_SESSIONS: usize = 64;

/// The TLS session that a reservation's data connection is expected to resume.
#[derive(Debug, Clone)]
pub(super) struct ExpectedSession<L> {
    pub listener: L,
    pub id: SessionId,
    /// Sessions share a slot only if their connections cannot resume each other.
    pub evidence: ResumptionEvidence,
    /// Whether a connection that does not resume the session is refused.
    pub must_resume: bool,
}

pub(super) enum Slot<C, L> {
    Exclusive(Pending<C>),
    Shared(SharedSlot<C, L>),
}

/// TLS sessions that wait at one port. Their connections are distinguished by the session that they resume.
pub(super) struct SharedSlot<C, L> {
    pub(super) listener: L,
    pub(super) sessions: HashMap<SessionId, Pending<C>>,
    pub(super) combined: CombinedEvidence,
}

/// What is true of all sessions that waited at a slot since it was empty.
pub(super) struct CombinedEvidence {
    /// The first and the last one.
    handshakes_started: (Instant, Instant),
    session_stored: Instant,
    tickets_used: Option<Instant>,
    /// `None`: of at least one session there is no evidence.
    resumed_since: Option<Instant>,
}

/// A reservation that waits for its connection.
pub(super) struct Pending<C> {
    pub(super) id: u64,
    /// Under TLS.
    pub(super) evidence: Option<ResumptionEvidence>,
    pub(super) client: IpAddr,
    pub(super) session: u64,
    pub(super) deadline: Instant,
    pub(super) arrivals: mpsc::Sender<C>,
    pub(super) strangers: Arc<Notify>,
    /// Its connection need not resume the session.
    pub(super) resumption_optional: bool,
    /// It was given a connection that offers no session.
    pub(super) guessed: bool,
}

impl<C, L: PartialEq> SharedSlot<C, L> {
    pub(super) fn new(expected: &ExpectedSession<L>, pending: Pending<C>) -> Self
    where
        L: Clone,
    {
        Self {
            listener: expected.listener.clone(),
            sessions: HashMap::from([(expected.id, pending)]),
            combined: CombinedEvidence::of(&expected.evidence),
        }
    }

    pub(super) fn admits(&self, expected: &ExpectedSession<L>) -> bool {
        // The session's previous reservation may not be released yet.
        let is_new = !self.sessions.contains_key(&expected.id);
        self.listener == expected.listener && is_new && self.tells_apart(&expected.evidence)
    }

    /// Whether connections of another session cannot be taken for those of the sessions here.
    pub(super) fn tells_apart(&self, own: &ResumptionEvidence) -> bool {
        // Where clients share a store, the resumed session does not identify the owner.
        let needs_exclusive =
            own.shares_store || self.only().is_some_and(|(_, only)| only.shares_store());
        if needs_exclusive {
            return false;
        }
        if self.sessions.len() > MAX_COMPARED_SESSIONS {
            return self.combined.is_distinguishable_from(own);
        }
        let mut all = self.sessions.values().map(|pending| pending.evidence);
        all.all(|other| other.is_some_and(|other| other.is_distinguishable_from(own)))
    }

    pub(super) fn insert(&mut self, expected: &ExpectedSession<L>, pending: Pending<C>) {
        self.combined.add(&expected.evidence);
        self.sessions.insert(expected.id, pending);
    }
}

impl<C, L> SharedSlot<C, L> {
    /// The reservation, if there is exactly one.
    pub(super) fn only(&self) -> Option<(&SessionId, &Pending<C>)> {
        self.sessions.iter().next().filter(|_| self.sessions.len() == 1)
    }
}

impl CombinedEvidence {
    fn of(evidence: &ResumptionEvidence) -> Self {
        Self {
            handshakes_started: (evidence.handshake_started, evidence.handshake_started),
            session_stored: evidence.session_stored,
            tickets_used: evidence.tickets_used,
            resumed_since: evidence.resumed_since,
        }
    }

    fn add(&mut self, evidence: &ResumptionEvidence) {
        let (first, last) = self.handshakes_started;
        let started = evidence.handshake_started;
        self.handshakes_started = (first.min(started), last.max(started));
        self.session_stored = self.session_stored.max(evidence.session_stored);
        self.tickets_used = [self.tickets_used, evidence.tickets_used].into_iter().flatten().min();
        self.resumed_since =
            self.resumed_since.zip(evidence.resumed_since).map(|(one, other)| one.min(other));
    }

    /// As [`ResumptionEvidence::is_distinguishable_from`] for each session; it may be false although it is
    /// true for each.
    fn is_distinguishable_from(&self, other: &ResumptionEvidence) -> bool {
        let (first, last) = self.handshakes_started;
        let later = self.session_stored < other.handshake_started
            && self.tickets_used.is_none_or(|used| other.handshake_started < used);
        let earlier =
            other.session_stored < first && other.tickets_used.is_none_or(|used| last < used);
        let since = self.resumed_since.is_some_and(|at| other.session_stored < at)
            && other.resumed_since.is_some_and(|at| self.session_stored < at);
        (later || earlier || since) && !other.shares_store
    }
}

impl<C> Pending<C> {
    pub(super) fn shares_store(&self) -> bool {
        self.evidence.is_some_and(|evidence| evidence.shares_store)
    }
}
