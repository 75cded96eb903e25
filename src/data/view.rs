//! What a pool of data ports looks like from outside.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

/// Numbers of sessions from here on are sessions of the gateway at a backend, for its active data
/// connections.
pub const OF_BACKENDS: u64 = 1 << 63;
/// Owners that are named for one port; the counts know all.
const OWNERS: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// The name in the configuration.
    pub pool: String,
    /// Requests that wait for a port.
    pub queued: usize,
    /// Every port of the pool, in order.
    pub ports: Vec<PortView>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortView {
    pub port: u16,
    /// Reservations that wait for their data connection.
    pub reserved: usize,
    /// Data connections in use.
    pub active: usize,
    /// Some of both.
    pub owners: Vec<Owner>,
    /// The last connection that matched no reservation.
    pub last_stray: Option<Stray>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Number of the session, as in the log; from [`OF_BACKENDS`] on the gateway's own at a backend.
    pub session: u64,
    /// Where the connection comes from.
    pub client: IpAddr,
    pub state: OwnerState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// Waits for its data connection, and shares the port with nobody of its address.
    Reserved,
    /// Waits for its data connection, which will be known by its TLS session.
    Shared,
    /// Has it.
    Active,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    pub from: SocketAddr,
    pub at: SystemTime,
}

/// A pool's ports being looked at, one owner after the other.
pub(super) struct Look(BTreeMap<u16, PortView>);

impl Look {
    pub(super) fn at(ports: &[u16]) -> Self {
        Self(ports.iter().map(|&port| (port, PortView { port, ..PortView::default() })).collect())
    }

    pub(super) fn owner(&mut self, port: u16, owner: Owner) {
        let Some(view) = self.0.get_mut(&port) else { return };
        match owner.state {
            OwnerState::Reserved | OwnerState::Shared => view.reserved += 1,
            OwnerState::Active => view.active += 1,
        }
        if view.owners.len() < OWNERS {
            view.owners.push(owner);
        }
    }

    pub(super) fn stray(&mut self, port: u16, stray: Stray) {
        if let Some(view) = self.0.get_mut(&port) {
            view.last_stray = Some(stray);
        }
    }

    pub(super) fn done(self) -> Vec<PortView> {
        self.0.into_values().collect()
    }
}
