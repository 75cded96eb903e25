//! The last failures and denials of all sessions.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Of logins, and of the rest. The oldest one makes room.
const KEPT: usize = 200;
/// Of a name or path, in bytes: as long as operators see.
const NAME_MAX: usize = 2048;
/// Of a reason, in bytes: it may quote a peer.
const REASON_MAX: usize = 2048;

/// The operation of failures that are logins.
pub(in crate::session) const LOGIN: &str = "login";

/// A login, an operation or a transfer that failed or was denied. Names and paths are the client's: not
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentFailure {
    /// When it ended.
    pub at: SystemTime,
    /// The session's number in the log.
    pub session: u64,
    /// The listener's name in the configuration.
    pub listener: String,
    /// `ftp`, `ftps`, `sftp`.
    pub protocol: &'static str,
    /// Its address and port.
    pub client: SocketAddr,
    /// Who did it, or tried to be.
    pub user: Vec<u8>,
    /// Empty without a route.
    pub backend: String,
    /// As in the log; `login`.
    pub operation: &'static str,
    /// As the client sees it.
    pub path: Option<Vec<u8>>,
    /// The second path.
    pub to: Option<Vec<u8>>,
    /// As in the log.
    pub outcome: &'static str,
    /// As in the log: client, policy, backend, gateway.
    pub fault: &'static str,
    /// The rule that denied it.
    pub rule: Option<Arc<str>>,
    /// A sentence.
    pub reason: String,
}

/// The last ones, once they are kept.
#[derive(Default)]
pub(super) struct RecentFailures {
    kept: AtomicBool,
    last: Mutex<Last>,
}

/// Apart, so that who guesses passwords pushes out no denial.
#[derive(Default)]
struct Last {
    logins: VecDeque<RecentFailure>,
    others: VecDeque<RecentFailure>,
}

impl RecentFailures {
    pub(super) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, mut failure: RecentFailure) {
        let names = [Some(&mut failure.user), failure.path.as_mut(), failure.to.as_mut()];
        for name in names.into_iter().flatten() {
            name.truncate(NAME_MAX);
            name.shrink_to_fit();
        }
        let reason = &mut failure.reason;
        let end = (0..=REASON_MAX.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or_default());
        failure.reason.shrink_to_fit();
        let mut last = self.last();
        let last = if failure.operation == LOGIN { &mut last.logins } else { &mut last.others };
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(failure);
    }

    /// The newest first.
    pub(super) fn all(&self) -> Vec<RecentFailure> {
        let last = self.last();
        let mut all: Vec<_> = last.logins.iter().chain(&last.others).cloned().collect();
        drop(last);
        // Of the same time, the one that was added last is the first.
        all.reverse();
        all.sort_by_key(|failure| Reverse(failure.at));
        all
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(session: u64, operation: &'static str) -> RecentFailure {
        RecentFailure {
            at: SystemTime::UNIX_EPOCH,
            session,
            listener: "l".into(),
            protocol: "ftp",
            client: "192.0.2.1:1".parse().unwrap(),
            user: vec![b'u'; 100_000],
            backend: String::new(),
            operation,
            path: Some(vec![b'p'; 100_000]),
            to: None,
            outcome: "refused",
            fault: "client",
            rule: None,
            reason: "ä".repeat(100_000),
        }
    }

    #[test]
    fn the_newest_are_kept_with_texts_that_are_cut() {
        let failures = RecentFailures::default();
        (0..1000).for_each(|session| failures.add(failure(session, LOGIN)));
        let all = failures.all();
        assert_eq!((all.len(), all[0].session, all[199].session), (200, 999, 800));
        assert_eq!(all[0].reason.len(), REASON_MAX);
        let last = failures.last();
        let kept = &last.logins[0];
        assert!(kept.user.len() == NAME_MAX && kept.user.capacity() < 2 * NAME_MAX);
        assert_eq!(kept.path.as_ref().unwrap().len(), NAME_MAX);
    }

    #[test]
    fn who_guesses_passwords_pushes_out_no_denial() {
        let failures = RecentFailures::default();
        failures.add(failure(1, "delete"));
        (2..1000).for_each(|session| failures.add(failure(session, LOGIN)));
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        failures.add(RecentFailure { at: later, ..failure(1000, "rename") });
        let operations: Vec<_> = failures.all().iter().map(|it| it.operation).collect();
        assert_eq!(operations.len(), 202);
        assert_eq!(operations[0], "rename");
        assert!(operations.contains(&"delete"));
    }
}
