//! The known properties of a backend's servers, by address, shared by all connections of all sessions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::data_commands::DataCommands;
use super::quirk::{QUIRK_TTL, Quirk};
use super::refusals::Refusals;
use super::settings::Settings;
use super::time_commands::TimeCommands;
use crate::wire::ftp::listing::is_dos_line;

/// The addresses of a name may change without bound.
const SERVERS_MAX: usize = 1024;

/// The servers of one backend.
#[derive(Default)]
pub(super) struct Servers {
    servers: Mutex<HashMap<SocketAddr, KnownServer>>,
}

struct KnownServer {
    server: Arc<Server>,
    /// When a connection to it was last established.
    last_connected: Instant,
}

/// Shared by its connections. Each part has its own lock, held briefly.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// It does not reply to each of several pipelined commands: old servers drop what arrives while
    /// they process the first.
    pub(super) no_pipelining: Quirk,
    /// It cannot reply to pipelined MDTM, or is too slow at it.
    pub(super) no_mdtm_pipelining: Quirk,
    /// After the end of an upload it was checked that no further reply follows.
    pub(super) upload_ends_verified: Quirk,
    /// It sends surplus replies.
    pub(super) surplus_replies: Quirk,
    /// Accounts may rename files without permission to see whether the target exists.
    pub(super) unchecked_renames: Quirk,
    /// Accounts may write files without permission to see whether they exist.
    pub(super) unchecked_writes: Quirk,
    /// It reads names as Windows does.
    windows_names: Quirk,
    pub(super) data_commands: DataCommands,
    pub(super) refusals: Refusals,
    pub(super) time_commands: TimeCommands,
}

impl Servers {
    /// The server at an address to which a connection was just made. If too many are known, the
    /// returned one is not shared.
    pub(super) fn at(&self, address: SocketAddr) -> Arc<Server> {
        let mut servers = self.lock();
        let last_connected = Instant::now();
        if let Some(servers) = servers.get_mut(&address) {
            servers.last_connected = last_connected;
            return servers.server.clone();
        }
        let server = Arc::new(Server::new(address));
        if servers.len() >= SERVERS_MAX {
            servers.retain(|_, servers| {
                servers.last_connected.elapsed() < QUIRK_TTL || servers.is_connected()
            });
        }
        if servers.len() < SERVERS_MAX {
            servers.insert(address, KnownServer { server: server.clone(), last_connected });
        }
        server
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, KnownServer>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownServer {
    fn is_connected(&self) -> bool {
        Arc::strong_count(&self.server) > 1
    }
}

impl Server {
    /// Notes the format of a listing's line.
    pub(super) fn note_listing(&self, settings: &Settings, line: &[u8]) {
        if settings.minds_names_of_windows() && is_dos_line(line) {
            self.note_windows_names(settings, "a listing in the format of DOS");
        }
    }

    /// Notes that the server seems to run on Windows; warns once. `seen`: what it sent.
    pub(super) fn note_windows_names(&self, settings: &Settings, seen: &str) {
        if settings.minds_names_of_windows() && self.windows_names.note() {
            tracing::warn!(
                backend = settings.name,
                server = %self.address,
                seen,
                "the server seems to run on Windows, where \"/SECRET\" and \"/secret.\" are one file: such names \
                 evade policy rules with paths. Set `names: windows` on the backend"
            );
        }
    }

    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            no_pipelining: Quirk::default(),
            no_mdtm_pipelining: Quirk::default(),
            upload_ends_verified: Quirk::default(),
            surplus_replies: Quirk::default(),
            unchecked_renames: Quirk::default(),
            unchecked_writes: Quirk::default(),
            windows_names: Quirk::default(),
            data_commands: DataCommands::new(address),
            refusals: Refusals::new(address),
            time_commands: TimeCommands::new(address),
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
    fn connections_to_one_address_share_a_server() {
        let servers = Servers::default();
        let first = servers.at(address(1));
        assert!(Arc::ptr_eq(&first, &servers.at(address(1))));
        assert!(!Arc::ptr_eq(&first, &servers.at(address(2))));
    }

    #[test]
    fn the_number_of_servers_is_bounded() {
        let servers = Servers::default();
        let max = u16::try_from(SERVERS_MAX).unwrap();
        let connected = servers.at(address(0));
        for port in 1..max + 10 {
            servers.at(address(port));
        }
        assert_eq!(servers.lock().len(), SERVERS_MAX);
        // Soon after a boot, `Instant` does not reach back that far.
        let Some(old) = Instant::now().checked_sub(QUIRK_TTL) else { return };
        servers.lock().values_mut().for_each(|servers| servers.last_connected = old);
        servers.at(address(max + 10));
        assert_eq!(servers.lock().len(), 2, "the connected one and the new one");
        assert!(Arc::ptr_eq(&connected, &servers.at(address(0))));
    }
}
