//! A port, and who waits there for connections of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc};

use crate::net::tls::{ResumptionEvidence, SessionId};

/// With so many who wait at a place each newcomer is compared; with more, with all of them together.
const COMPARED: usize = 64;

/// A TLS session that waits for connections which resume it.
#[derive(Debug, Clone)]
pub(super) struct Claim<L> {
    pub listener: L,
    pub id: SessionId,
    /// Whose connections may resume each other's sessions share no place.
    pub standing: ResumptionEvidence,
    /// Whether a connection that does not resume it is none of its own.
    pub must_resume: bool,
}

pub(super) enum Place<C, L> {
    Alone(Waiting<C>),
    Shared(Shared<C, L>),
}

/// Sessions that wait at one port, told apart by what is resumed.
pub(super) struct Shared<C, L> {
    pub(super) listener: L,
    pub(super) sessions: HashMap<SessionId, Waiting<C>>,
    pub(super) all: Summary,
}

/// What is true of all who have waited at a place since it was empty.
pub(super) struct Summary {
    pub(super) begun: (Instant, Instant),
    pub(super) settled: Instant,
    pub(super) used: Option<Instant>,
    /// `None`: of somebody nothing is proven.
    pub(super) proven: Option<Instant>,
}

pub(super) struct Waiting<C> {
    pub(super) id: u64,
    /// Under TLS.
    pub(super) standing: Option<ResumptionEvidence>,
    pub(super) client: IpAddr,
    pub(super) session: u64,
    pub(super) deadline: Instant,
    pub(super) arrivals: mpsc::Sender<C>,
    pub(super) strangers: Arc<Notify>,
    /// Its connection need not resume it.
    pub(super) may_resume_none: bool,
    /// It was given a connection that claims nothing.
    pub(super) guessed: bool,
}

impl<C, L: PartialEq> Shared<C, L> {
    pub(super) fn admits(&self, claim: &Claim<L>) -> bool {
        let own = &claim.standing;
        // A session whose reservation is given back only later has its place still.
        let new = !self.sessions.contains_key(&claim.id);
        // What a connection for such a one resumes does not tell whose it is: it waits alone.
        let alone = own.shares_store || self.only().is_some_and(|(_, only)| only.shares_store());
        let told_apart = || match self.sessions.len() <= COMPARED {
            true => self
                .sessions
                .values()
                .all(|w| w.standing.is_some_and(|s| s.is_distinguishable_from(own))),
            false => self.all.is_distinguishable_from(own),
        };
        self.listener == claim.listener && new && !alone && told_apart()
    }

    pub(super) fn insert(&mut self, claim: &Claim<L>, waiting: Waiting<C>) {
        self.all.add(&claim.standing);
        self.sessions.insert(claim.id, waiting);
    }
}

impl<C, L> Shared<C, L> {
    /// The only one that waits.
    pub(super) fn only(&self) -> Option<(&SessionId, &Waiting<C>)> {
        self.sessions.iter().next().filter(|_| self.sessions.len() == 1)
    }
}

impl Summary {
    pub(super) fn of(standing: &ResumptionEvidence) -> Self {
        let ResumptionEvidence {
            handshake_started: begun,
            session_stored: settled,
            tickets_used: used,
            resumed_since: proven,
            ..
        } = *standing;
        Self { begun: (begun, begun), settled, used, proven }
    }

    pub(super) fn add(&mut self, standing: &ResumptionEvidence) {
        let (first, last) = self.begun;
        self.begun = (first.min(standing.handshake_started), last.max(standing.handshake_started));
        self.settled = self.settled.max(standing.session_stored);
        self.used = [self.used, standing.tickets_used].into_iter().flatten().min();
        self.proven = self.proven.zip(standing.resumed_since).map(|(one, other)| one.min(other));
    }

    /// As [`ResumptionEvidence::is_distinguishable_from`] each of them; now and then not, though it is so.
    pub(super) fn is_distinguishable_from(&self, other: &ResumptionEvidence) -> bool {
        let (first, last) = self.begun;
        let later = self.settled < other.handshake_started
            && self.used.is_none_or(|used| other.handshake_started < used);
        let earlier =
            other.session_stored < first && other.tickets_used.is_none_or(|used| last < used);
        let since = self.proven.is_some_and(|proven| other.session_stored < proven)
            && other.resumed_since.is_some_and(|proven| self.settled < proven);
        (later || earlier || since) && !other.shares_store
    }
}

impl<C> Waiting<C> {
    pub(super) fn shares_store(&self) -> bool {
        self.standing.is_some_and(|standing| standing.shares_store)
    }

    /// Only the client's own address counts: anybody can knock.
    pub(super) fn tell_of_stranger(&self, counts: bool) {
        if counts {
            self.strangers.notify_one();
        }
    }
}
