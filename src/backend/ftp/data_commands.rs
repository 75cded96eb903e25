//! Which command sets up data connections at which server: what worked is kept to for a while.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::op::Failure;

/// After so long the usual order counts again.
const KEPT: Duration = Duration::from_secs(600);
/// The most servers that are remembered: a name may lead to ever other addresses.
const MOST: usize = 1024;

/// A command that sets up a data connection (RFC 959, RFC 2428).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataCommand {
    Epsv,
    Pasv,
    Eprt,
    Port,
}

/// What worked, by server address.
pub(super) struct DataCommands {
    /// For the log.
    backend: String,
    servers: Mutex<HashMap<SocketAddr, Server>>,
}

#[derive(Default)]
struct Server {
    worked: Option<(DataCommand, Instant)>,
    /// Whether the log has the reason why it is not the first in the usual order.
    told: bool,
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
    pub(super) fn new(backend: &str) -> Self {
        Self { backend: backend.to_owned(), servers: Mutex::default() }
    }

    /// What has worked a while ago and has not failed since.
    pub(super) fn kept(&self, server: SocketAddr) -> Option<DataCommand> {
        let servers = self.lock();
        let (command, since) = servers.get(&server)?.worked?;
        (since.elapsed() < KEPT).then_some(command)
    }

    /// It works there; `instead`: of the other one, which was tried before and failed.
    pub(super) fn keep(&self, server: SocketAddr, command: DataCommand, instead: Option<&Failure>) {
        let mut servers = self.lock();
        if servers.len() >= MOST && !servers.contains_key(&server) {
            let fresh = |(_, since): (_, Instant)| since.elapsed() < KEPT;
            servers.retain(|_, server| server.worked.is_some_and(fresh));
            if servers.len() >= MOST {
                return;
            }
        }
        let known = servers.entry(server).or_default();
        known.worked = Some((command, Instant::now()));
        let Some(failure) = instead else { return };
        if !std::mem::replace(&mut known.told, true) {
            tracing::info!(
                backend = self.backend,
                %server,
                reason = failure.message,
                detail = failure.detail.as_deref(),
                "{} sets up no data connection to the backend; {} is used",
                command.other().verb(),
                command.verb(),
            );
        }
    }

    /// It failed.
    pub(super) fn forget(&self, server: SocketAddr, command: DataCommand) {
        if let Some(known) = self.lock().get_mut(&server)
            && known.worked.is_some_and(|(worked, _)| worked == command)
        {
            known.worked = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another command may do where one was refused with these words, or not answered as it
/// should be: 421 is the session's end, 425 that there is no port now.
pub(super) fn may_other(code: u16) -> bool {
    !matches!(code, 100..=199 | 421 | 425)
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataCommand::{Epsv, Pasv};

    fn server(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn what_worked_is_kept_until_it_fails_or_is_old() {
        let commands = DataCommands::new("b");
        assert_eq!(commands.kept(server(1)), None);
        commands.keep(server(1), Pasv, None);
        assert_eq!((commands.kept(server(1)), commands.kept(server(2))), (Some(Pasv), None));
        commands.forget(server(1), Epsv);
        assert_eq!(commands.kept(server(1)), Some(Pasv));
        commands.forget(server(1), Pasv);
        assert_eq!(commands.kept(server(1)), None);
        commands.keep(server(1), Pasv, None);
        // A machine that has just started knows no time so long ago.
        if let Some(old) = Instant::now().checked_sub(KEPT) {
            commands.lock().get_mut(&server(1)).unwrap().worked = Some((Pasv, old));
            assert_eq!(commands.kept(server(1)), None);
        }
    }

    #[test]
    fn no_more_servers_are_remembered_than_there_is_room_for() {
        let commands = DataCommands::new("b");
        for port in 0..u16::try_from(MOST).unwrap() + 10 {
            commands.keep(server(port), Epsv, None);
        }
        assert_eq!(commands.lock().len(), MOST);
        commands.forget(server(0), Epsv);
        commands.keep(server(9999), Pasv, None);
        assert_eq!(commands.kept(server(9999)), Some(Pasv));
    }
}
