//! What is remembered of a backend's servers, by their addresses, so that no connection of any session
//! finds out again what another one has found out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::data_commands::DataCommands;
use super::quirk::{QUIRK_TTL, Quirk};
use super::refusals::Refusals;
use super::time_commands::TimeCommands;

/// A name may lead to ever other addresses.
const MAX_SERVERS: usize = 1024;

/// The servers of one backend.
pub(super) struct Servers {
    backend: Arc<str>,
    known: Mutex<HashMap<SocketAddr, Known>>,
}

struct Known {
    server: Arc<Server>,
    /// When a connection to it was last made.
    since: Instant,
}

/// What its connections share. Each part has its own lock, held for a moment only.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Commands that are sent in one flight are not answered each in its turn: old servers drop what
    /// arrives while they answer the first.
    pub(super) no_flights: Quirk,
    /// It does not bear MDTM for all files of a folder, or takes too long for it.
    pub(super) no_flights_of_mdtm: Quirk,
    /// An upload's end was seen to be followed by nothing.
    pub(super) uploads_checked: Quirk,
    /// It says more than it was asked.
    pub(super) surplus_replies: Quirk,
    /// Accounts may rename and not look at what they rename onto.
    pub(super) unchecked_renames: Quirk,
    /// Accounts may write and not look at what they write to.
    pub(super) unchecked_writes: Quirk,
    pub(super) data_commands: DataCommands,
    pub(super) refusals: Refusals,
    pub(super) time_commands: TimeCommands,
}

impl Servers {
    pub(super) fn new(backend: &str) -> Self {
        Self { backend: backend.into(), known: Mutex::default() }
    }

    /// The server at an address, for a connection that was just made to it. Where too many are known,
    /// what the connection finds out is its own.
    pub(super) fn at(&self, address: SocketAddr) -> Arc<Server> {
        let mut known = self.lock();
        let since = Instant::now();
        if let Some(known) = known.get_mut(&address) {
            known.since = since;
            return known.server.clone();
        }
        let server = Arc::new(Server::new(&self.backend, address));
        if known.len() >= MAX_SERVERS {
            known.retain(|_, known| known.since.elapsed() < QUIRK_TTL || known.is_connected());
        }
        if known.len() < MAX_SERVERS {
            known.insert(address, Known { server: server.clone(), since });
        }
        server
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_connected(&self) -> bool {
        Arc::strong_count(&self.server) > 1
    }
}

impl Server {
    pub(super) fn new(backend: &Arc<str>, address: SocketAddr) -> Self {
        Self {
            address,
            no_flights: Quirk::default(),
            no_flights_of_mdtm: Quirk::default(),
            uploads_checked: Quirk::default(),
            surplus_replies: Quirk::default(),
            unchecked_renames: Quirk::default(),
            unchecked_writes: Quirk::default(),
            data_commands: DataCommands::new(backend, address),
            refusals: Refusals::new(backend, address),
            time_commands: TimeCommands::new(backend, address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn connections_to_one_address_share_what_is_known() {
        let servers = Servers::new("b");
        let first = servers.at(address(1));
        assert!(Arc::ptr_eq(&first, &servers.at(address(1))));
        assert!(!Arc::ptr_eq(&first, &servers.at(address(2))));
    }

    #[test]
    fn no_more_servers_are_remembered_than_there_is_room_for() {
        let servers = Servers::new("b");
        let most = u16::try_from(MAX_SERVERS).unwrap();
        let connected = servers.at(address(0));
        for port in 1..most + 10 {
            servers.at(address(port));
        }
        assert_eq!(servers.lock().len(), MAX_SERVERS);
        // A machine that has just started knows no time so long ago.
        let Some(old) = Instant::now().checked_sub(QUIRK_TTL) else { return };
        servers.lock().values_mut().for_each(|known| known.since = old);
        servers.at(address(most + 10));
        assert_eq!(servers.lock().len(), 2, "the connected one and the new one");
        assert!(Arc::ptr_eq(&connected, &servers.at(address(0))));
    }
}
