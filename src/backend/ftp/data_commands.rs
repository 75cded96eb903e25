//! The commands that set up data connections (RFC 959, RFC 2428) and which of them works at a
//! server. It is preferred for a while.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// The command that works at one server.
pub(super) struct DataCommands {
    /// For the log.
    server: SocketAddr,
    observed: Mutex<Observed>,
}

#[derive(Default)]
struct Observed {
    working: Option<(DataCommand, Instant)>,
    /// Whether the reason for not using the default was logged.
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

    /// The alternative for an IPv4 server.
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
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, observed: Mutex::default() }
    }

    /// The command that worked recently and has not failed since.
    pub(super) fn preferred(&self) -> Option<DataCommand> {
        let (command, since) = self.lock().working?;
        (since.elapsed() < QUIRK_TTL).then_some(command)
    }

    /// Records that the command works. `instead`: the failure of the other one, tried before.
    pub(super) fn prefer(&self, command: DataCommand, instead: Option<&Failure>) {
        let mut observed = self.lock();
        observed.working = Some((command, Instant::now()));
        let Some(failure) = instead else { return };
        if !std::mem::replace(&mut observed.logged, true) {
            tracing::info!(
                server = %self.server,
                reason = failure.message,
                detail = failure.detail.as_deref(),
                "{} does not work for data connections to the backend; {} is used",
                command.other().verb(),
                command.verb(),
            );
        }
    }

    /// Records that the command failed.
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

/// Whether the other command may succeed after a reply of this code: not after 421 (the session
/// ends) and 425 (no port available).
pub(super) fn allows_other(code: u16) -> bool {
    !matches!(code, 100..=199 | 421 | 425)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataCommand::{Epsv, Pasv};

    #[test]
    fn a_working_command_is_preferred_until_it_fails_or_expires() {
        let commands = DataCommands::new(([127, 0, 0, 1], 21).into());
        assert_eq!(commands.preferred(), None);
        commands.prefer(Pasv, None);
        assert_eq!(commands.preferred(), Some(Pasv));
        commands.forget(Epsv);
        assert_eq!(commands.preferred(), Some(Pasv));
        commands.forget(Pasv);
        assert_eq!(commands.preferred(), None);
        commands.prefer(Pasv, None);
        // Soon after a boot, `Instant` does not reach back that far.
        if let Some(old) = Instant::now().checked_sub(QUIRK_TTL) {
            commands.lock().working = Some((Pasv, old));
            assert_eq!(commands.preferred(), None);
        }
    }
}
