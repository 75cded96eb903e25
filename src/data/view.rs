//! The state of a pool's data ports, for the admin interface.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

/// Session numbers from here on are the gateway's own sessions at backends, for active data connections.
pub const BACKEND_SESSION_BASE: u64 = 1 << 63;
/// Owners that are listed for one port; the counts include all.
const MAX_OWNERS: usize = 20;

/// The state of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolView {
    /// The name in the configuration.
    pub pool: String,
    /// Requests that wait for a port.
    pub queued: usize,
    /// How full it is for the next client of the busiest address: from 0 to 1, where none is left.
    pub fullness: f64,
    /// Every port of the pool, in order.
    pub ports: Vec<PortView>,
}

/// The state of one port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortView {
    /// The port that listens; a different one may be advertised.
    pub port: u16,
    /// Reservations that wait for their data connection.
    pub reserved: usize,
    /// Data connections in use.
    pub active: usize,
    /// Whether some clients do not get it for a few seconds: a connection for a reservation that has ended may
    /// still arrive.
    pub quarantined: bool,
    /// Some of both, at most twenty.
    pub owners: Vec<Owner>,
    /// The last connection that matched no reservation.
    pub last_stray: Option<Stray>,
}

/// A reservation, or the connection that it has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Number of the session, as in the log; from [`BACKEND_SESSION_BASE`] on the gateway's own at a
    /// backend.
    pub session: u64,
    /// Where the connection comes from.
    pub client: IpAddr,
    /// How far its data connection is.
    pub state: OwnerState,
}

/// The stage of an [`Owner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// Waits for its data connection, and does not share the port with others of its address.
    Reserved,
    /// Waits for its data connection, which is identified by its TLS session.
    Shared,
    /// Its data connection is in use.
    Active,
}

/// A connection to a data port that was closed because it matched no reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// Its source, according to the PROXY protocol header where there is a valid one.
    pub from: SocketAddr,
    /// When it was closed.
    pub at: SystemTime,
}

/// Collects the views of a pool's ports.
pub(super) struct ViewBuilder(BTreeMap<u16, PortView>);

impl ViewBuilder {
    pub(super) fn new(ports: &[u16]) -> Self {
        Self(ports.iter().map(|&port| (port, PortView { port, ..PortView::default() })).collect())
    }

    /// The port may be one that is in force no more.
    pub(super) fn add_owner(&mut self, port: u16, owner: Owner) {
        let view = self.0.entry(port).or_insert(PortView { port, ..PortView::default() });
        match owner.state {
            OwnerState::Reserved | OwnerState::Shared => view.reserved += 1,
            OwnerState::Active => view.active += 1,
        }
        if view.owners.len() < MAX_OWNERS {
            view.owners.push(owner);
        }
    }

    pub(super) fn set_quarantined(&mut self, port: u16) {
        if let Some(view) = self.0.get_mut(&port) {
            view.quarantined = true;
        }
    }

    pub(super) fn set_stray(&mut self, port: u16, stray: Stray) {
        if let Some(view) = self.0.get_mut(&port) {
            view.last_stray = Some(stray);
        }
    }

    pub(super) fn build(self) -> Vec<PortView> {
        self.0.into_values().collect()
    }
}
