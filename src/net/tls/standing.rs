//! Which control sessions may be one client's with one store of TLS sessions for all of them. A data
//! connection of such a client may resume any of them, so that it does not tell whose it is.
//!
//! A client that logs in while it has a session in its store offers that. That it offers nothing tells
//! two sessions apart, unless the earlier one was still being made, or its tickets may have been used up.
//! Then each is told from the other only when it has resumed itself since the other was made.

use std::time::Instant;

/// From whom a control session's data connections can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Before that its client cannot have said what it has to offer.
    pub begun: Instant,
    /// Since then its client has it in its store, if it keeps one.
    pub settled: Instant,
    /// Since then its tickets may be used up; `None`: never, or not yet.
    pub used: Option<Instant>,
    /// A data connection that was not asked for before then has resumed it.
    pub proven: Option<Instant>,
    /// Its client has been seen to keep one store for it and others.
    pub shares_store: bool,
}

impl Standing {
    /// Whether no data connection of one can resume the other.
    pub fn is_told_from(&self, other: &Self) -> bool {
        // Who offered another's says nothing of this one.
        let by_login = |earlier: &Self, later: &Self| {
            let offered_nothing = !later.shares_store && earlier.settled < later.begun;
            offered_nothing && earlier.used.is_none_or(|used| later.begun < used)
        };
        let since = |one: &Self, other: &Self| {
            !one.shares_store && one.proven.is_some_and(|at| other.settled < at)
        };
        by_login(self, other) || by_login(other, self) || (since(self, other) && since(other, self))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_could_have_offered_it_and_did_not_has_another_store() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let made = |begun, settled| Standing {
            begun: at(begun),
            settled: at(settled),
            used: None,
            proven: None,
            shares_store: false,
        };
        let apart = |one: Standing, other: Standing| {
            assert_eq!(one.is_told_from(&other), other.is_told_from(&one));
            one.is_told_from(&other)
        };
        let (one, later) = (made(0, 2), made(3, 5));
        assert!(apart(one, later));
        assert!(!apart(one, made(1, 5)));
        assert!(!apart(one, made(2, 5)));
        assert!(apart(Standing { shares_store: true, ..one }, later));
        assert!(!apart(one, Standing { shares_store: true, ..later }));
        // Its only ticket may be gone when the other logs in, and not before.
        let used = |seconds| Standing { used: Some(at(seconds)), ..one };
        assert!(!apart(used(2), later));
        assert!(apart(used(4), later));
        let proven = |made: Standing, seconds| Standing { proven: Some(at(seconds)), ..made };
        assert!(!apart(proven(used(2), 6), later));
        assert!(apart(proven(used(2), 6), proven(later, 7)));
        // Before the other was made it proves nothing.
        assert!(!apart(proven(used(2), 4), proven(later, 7)));
    }
}
