//! Which command sets up data connections at a server: what worked is kept to for a while; then the
//! usual order counts again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::quirk::QUIRK_TTL;
use crate::op::Failure;

/// A command that sets up a data connection (RFC 959, RFC 2428).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataCommand {
    Epsv,
    Pasv,
    Eprt,
    Port,
}

/// What worked at one server.
pub(super) struct DataCommands {
    /// For the log.
    backend: Arc<str>,
    server: SocketAddr,
    observed: Mutex<Observed>,
}

#[derive(Default)]
struct Observed {
    working: Option<(DataCommand, Instant)>,
    /// Whether the log has the reason why it is not the first in the usual order.
    logged: bool,
}

impl DataCommand {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Epsv => "EPSV",
            Self::Pasv => "PASV",
            Self::Eprt => "EPRT",
            Self::Port => "PORT",
        }
    }

    /// What is tried where this one fails, of an IPv4 server.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Epsv => Self::Pasv,
            Self::Pasv => Self::Epsv,
            Self::Eprt => Self::Port,
            Self::Port => Self::Eprt,
        }
    }
}

impl DataCommands {
    pub(super) fn new(backend: &Arc<str>, server: SocketAddr) -> Self {
        Self { backend: backend.clone(), server, observed: Mutex::default() }
    }

    /// What has worked a while ago and has not failed since.
    pub(super) fn preferred(&self) -> Option<DataCommand> {
        let (command, since) = self.lock().working?;
        (since.elapsed() < QUIRK_TTL).then_some(command)
    }

    /// It works; `instead`: of the other one, which was tried before and failed.
    pub(super) fn prefer(&self, command: DataCommand, instead: Option<&Failure>) {
        let mut observed = self.lock();
        observed.working = Some((command, Instant::now()));
        let Some(failure) = instead else { return };
        if !std::mem::replace(&mut observed.logged, true) {
            tracing::info!(
                backend = &*self.backend,
                server = %self.server,
                reason = failure.message,
                detail = failure.detail.as_deref(),
                "{} sets up no data connection to the backend; {} is used",
                command.other().verb(),
                command.verb(),
            );
        }
    }

    /// It failed.
    pub(super) fn forget(&self, command: DataCommand) {
        let mut observed = self.lock();
        if observed.working.is_some_and(|(working, _)| working == command) {
            observed.working = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another command may do where one was refused with these words, or not answered as it
/// should be: 421 is the session's end, 425 that there is no port now.
pub(super) fn allows_other(code: u16) -> bool {
    !matches!(code, 100..=199 | 421 | 425)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataCommand::{Epsv, Pasv};

    #[test]
    fn what_worked_is_kept_until_it_fails_or_is_old() {
        let commands = DataCommands::new(&"b".into(), ([127, 0, 0, 1], 21).into());
        assert_eq!(commands.preferred(), None);
        commands.prefer(Pasv, None);
        assert_eq!(commands.preferred(), Some(Pasv));
        commands.forget(Epsv);
        assert_eq!(commands.preferred(), Some(Pasv));
        commands.forget(Pasv);
        assert_eq!(commands.preferred(), None);
        commands.prefer(Pasv, None);
        // A machine that has just started knows no time so long ago.
        if let Some(old) = Instant::now().checked_sub(QUIRK_TTL) {
            commands.lock().working = Some((Pasv, old));
            assert_eq!(commands.preferred(), None);
        }
    }
}
