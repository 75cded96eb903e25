//! A port reserved for one data connection, and that connection while it is in use.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Rendezvous;
use super::table::Lease;
use crate::task;

/// While the backend handles the command, within its own timeouts: longer than any of them.
const TRANSFER_START_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// For a connection that a client has made already, or is making.
const GIVE_UP_TIMEOUT: Duration = Duration::from_millis(250);

/// A port reserved for one data connection of one client; released when dropped.
pub struct Reservation {
    pub(super) rendezvous: Arc<Rendezvous>,
    pub(super) lease: Lease<Arrived>,
    pub(super) client: IpAddr,
    pub(super) session: u64,
    pub(super) since: Instant,
    /// No connection can arrive for it any more.
    pub(super) connected: bool,
    /// A connection has arrived that may be the client's.
    pub(super) has_arrived: bool,
    /// Whoever waited for the connection does no longer.
    pub(super) timed_out: bool,
}

/// A data connection, and what was read from it to find its owner.
#[derive(Debug)]
pub struct Arrived {
    /// The connection, without the bytes in `read`.
    pub tcp: TcpStream,
    /// The client's first bytes, which the TLS handshake still needs; empty if the port is not shared.
    pub read: Vec<u8>,
    /// The address of its other end; of the client if there is a proxy.
    pub peer: SocketAddr,
}

/// Counts a data connection as active until dropped.
pub struct ActiveGuard {
    rendezvous: Arc<Rendezvous>,
    id: u64,
}

/// A data connection in use.
pub(super) struct ActiveTransfer {
    pub(super) port: u16,
    pub(super) client: IpAddr,
    pub(super) session: u64,
}

impl Reservation {
    /// The port that listens.
    pub fn port(&self) -> u16 {
        self.lease.key.port
    }

    /// When it was made. The client learned the port after that.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The next connection that may be the client's: on a shared port, all that resume its session. Cancel
    /// safe. `None` when the reservation has expired, or was used up.
    pub async fn arrived(&mut self) -> Option<Arrived> {
        let arrived = self.lease.arrivals.recv().await;
        self.has_arrived |= arrived.is_some();
        arrived
    }

    /// Notified when a connection of another session, or of none, came while no other reservation waited
    /// at the port.
    pub fn strangers(&self) -> Arc<Notify> {
        self.lease.strangers.clone()
    }

    /// The transfer command was received: the reservation does not expire while the backend handles it.
    pub fn hold(&self) {
        self.renew(TRANSFER_START_TIMEOUT);
    }

    /// Restarts the time for the connection.
    pub fn renew(&self, connect_within: Duration) {
        self.rendezvous.table().renew(&self.lease, Instant::now() + connect_within);
    }

    /// Counts a connection that turned out not to be the client's.
    pub fn count_stray(&self, from: SocketAddr) {
        self.rendezvous.count_stray(self.port(), from);
    }

    /// Gives the reservation up, in the background. Many clients connect before they read the reply to their
    /// command: if it is a refusal, that connection must not be taken for the one of their next command,
    /// which may get the same port. It is awaited for a moment and closed.
    pub fn give_up(mut self) {
        task::spawn(async move {
            if let Ok(Some(Arrived { tcp, .. })) = timeout(GIVE_UP_TIMEOUT, self.arrived()).await {
                drop(tcp);
                self.release();
            }
        });
    }

    /// The time for the connection is over. Counted as expired if none has arrived.
    pub fn time_out(mut self) {
        self.timed_out = true;
    }

    /// Makes the port free at once, without a quarantine: no connection is on its way.
    pub fn release(mut self) {
        self.connected = true;
    }

    /// The connection was made.
    pub fn activate(mut self) -> ActiveGuard {
        self.connected = true;
        let Self { lease, client, session, .. } = &self;
        let (id, port) = (lease.id, lease.key.port);
        let transfer = ActiveTransfer { port, client: *client, session: *session };
        self.rendezvous.active().insert(id, transfer);
        self.rendezvous.metrics.active.inc();
        ActiveGuard { rendezvous: self.rendezvous.clone(), id }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.lease.arrivals.close();
        // Other connections that resume the session, too.
        while self.lease.tls.is_some()
            && let Ok(Arrived { tcp, peer, .. }) = self.lease.arrivals.try_recv()
        {
            self.rendezvous.close_stray(self.lease.key.port, tcp, peer);
        }
        let mut table = self.rendezvous.table();
        let was_reserved = table.release(Instant::now(), &self.lease, self.connected);
        self.rendezvous.metrics.reserved.set(table.reserved() as i64);
        drop(table);
        if was_reserved && self.timed_out && !self.has_arrived {
            self.rendezvous.metrics.expired.inc();
        }
        self.rendezvous.changes.send_replace(());
    }
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.rendezvous.active().remove(&self.id);
        self.rendezvous.metrics.active.dec();
    }
}
