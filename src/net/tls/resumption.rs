//! Whether the TLS session that a data connection resumes identifies its control session. It does not
//! where a client keeps one store of TLS sessions for several control sessions and resumes any of them.
//!
//! A client that logs in while its store holds a session offers to resume it. If it offers nothing, the two
//! sessions have different stores, unless the earlier one was not stored yet, or its tickets may have been
//! used up. Then both must have been resumed by own data connections after the other one was stored.

use std::time::Instant;

/// What a control session's handshakes have shown about its client's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumptionEvidence {
    /// The earliest time at which the client may have sent its ClientHello.
    pub handshake_started: Instant,
    /// From then on the client's store, if it has one, holds the session.
    pub session_stored: Instant,
    /// From then on its tickets may be used up; `None`: not so far.
    pub tickets_used: Option<Instant>,
    /// A data connection that was requested after this time has resumed it.
    pub resumed_since: Option<Instant>,
    /// The client was seen to use one store for this and other sessions.
    pub shares_store: bool,
}

impl ResumptionEvidence {
    /// Whether no data connection of one session can resume the other.
    pub fn is_distinguishable_from(&self, other: &Self) -> bool {
        // A later login that offered a third session proves nothing about this one.
        let by_login = |earlier: &Self, later: &Self| {
            let offered_nothing =
                !later.shares_store && earlier.session_stored < later.handshake_started;
            offered_nothing
                && earlier.tickets_used.is_none_or(|used| later.handshake_started < used)
        };
        let since = |one: &Self, other: &Self| {
            !one.shares_store && one.resumed_since.is_some_and(|at| other.session_stored < at)
        };
        by_login(self, other) || by_login(other, self) || (since(self, other) && since(other, self))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sessions_are_distinguishable_when_the_later_login_did_not_offer_the_earlier() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let made = |handshake_started, session_stored| ResumptionEvidence {
            handshake_started: at(handshake_started),
            session_stored: at(session_stored),
            tickets_used: None,
            resumed_since: None,
            shares_store: false,
        };
        let apart = |one: ResumptionEvidence, other: ResumptionEvidence| {
            assert_eq!(one.is_distinguishable_from(&other), other.is_distinguishable_from(&one));
            one.is_distinguishable_from(&other)
        };
        let (one, later) = (made(0, 2), made(3, 5));
        assert!(apart(one, later));
        assert!(!apart(one, made(1, 5)));
        assert!(!apart(one, made(2, 5)));
        assert!(apart(ResumptionEvidence { shares_store: true, ..one }, later));
        assert!(!apart(one, ResumptionEvidence { shares_store: true, ..later }));
        // Its only ticket may be used up when the other logs in, and not before.
        let used = |seconds| ResumptionEvidence { tickets_used: Some(at(seconds)), ..one };
        assert!(!apart(used(2), later));
        assert!(apart(used(4), later));
        let resumed = |made: ResumptionEvidence, seconds| ResumptionEvidence {
            resumed_since: Some(at(seconds)),
            ..made
        };
        assert!(!apart(resumed(used(2), 6), later));
        assert!(apart(resumed(used(2), 6), resumed(later, 7)));
        // A resumption before the other was stored proves nothing.
        assert!(!apart(resumed(used(2), 4), resumed(later, 7)));
    }
}
