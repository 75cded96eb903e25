//! The last failures and denials of all sessions.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The oldest one makes room.
const KEPT: usize = 200;
/// Of a name or path, in bytes: as long as operators see.
const NAME_MAX: usize = 2048;

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

/// The last two hundred.
#[derive(Default)]
pub(super) struct RecentFailures(Mutex<VecDeque<RecentFailure>>);

impl RecentFailures {
    pub(super) fn add(&self, mut failure: RecentFailure) {
        for name in [Some(&mut failure.user), failure.path.as_mut(), failure.to.as_mut()] {
            name.into_iter().for_each(|name| name.truncate(NAME_MAX));
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(failure);
    }

    /// The newest first.
    pub(super) fn all(&self) -> Vec<RecentFailure> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_with_names_that_are_cut() {
        let failures = RecentFailures::default();
        for session in 0..1000 {
            failures.add(RecentFailure {
                at: SystemTime::UNIX_EPOCH,
                session,
                listener: "l".into(),
                protocol: "ftp",
                client: "192.0.2.1:1".parse().unwrap(),
                user: vec![b'u'; 100_000],
                backend: String::new(),
                operation: "login",
                path: Some(vec![b'p'; 100_000]),
                to: None,
                outcome: "refused",
                fault: "client",
                rule: None,
                reason: "no".into(),
            });
        }
        let all = failures.all();
        assert_eq!((all.len(), all[0].session, all[199].session), (200, 999, 800));
        assert_eq!(all[0].user.len(), NAME_MAX);
        assert_eq!(all[0].path.as_ref().unwrap().len(), NAME_MAX);
    }
}
