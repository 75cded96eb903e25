//! A data connection arrives: it is delivered to its reservation, or closed.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Rendezvous;
use super::client_key::Key;
use super::reservation::Arrived;
use super::table::{Arrival, Candidates, Routed};
use crate::data::view::Stray;
use crate::net::reset_on_drop;
use crate::net::tls::{FirstFlight, ServerTls};
use crate::task;

/// Between checks whether a candidate still waits for a silent connection.
const SILENT_CHECK_INTERVAL: Duration = Duration::from_secs(30);

impl Rendezvous {
    /// Delivers a connection to its owner. A connection that matches no reservation is closed and counted,
    /// and uses up nothing.
    pub(in crate::data) fn arrived(self: &Arc<Self>, port: u16, peer: SocketAddr, tcp: TcpStream) {
        let arrived = Arrived { tcp, read: Vec::new(), peer };
        let mut table = self.table();
        let key = table.key(port, peer.ip());
        let arrival = table.arrive(Instant::now(), (key, peer.ip()), arrived);
        self.metrics.reserved.set(table.reserved() as i64);
        drop(table);
        match arrival {
            Arrival::Delivered => {}
            Arrival::Stray(stray) => self.close_stray(port, stray.tcp, peer),
            Arrival::Shared(arrived, listener, candidates) => {
                task::spawn(self.clone().find_owner(key, arrived, listener, candidates));
            }
        }
    }

    /// Whether any reservation waits for a connection from there.
    pub(in crate::data) fn awaits(&self, port: u16, from: IpAddr) -> bool {
        let table = self.table();
        table.awaits(table.key(port, from))
    }

    /// Finds the owner of a connection to a shared port by the session that it offers to resume.
    async fn find_owner(
        self: Arc<Self>,
        key: Key,
        arrived: Arrived,
        listener: ServerTls,
        candidates: Candidates,
    ) {
        let Arrived { mut tcp, peer, .. } = arrived;
        let flight = {
            let mut reading = pin!(FirstFlight::read(&mut tcp));
            loop {
                // Clients start TLS after the reply to their command, which may depend on a slow backend.
                match timeout(SILENT_CHECK_INTERVAL, reading.as_mut()).await {
                    Ok(flight) => break flight,
                    Err(_) if self.table().still_awaits(key, candidates) => {}
                    Err(_) => break None,
                }
            }
        };
        let Some(FirstFlight { bytes: read, offered: Some(offered) }) = flight else {
            self.table().closed_unidentified((key, peer.ip()));
            return self.close_stray(key.port, tcp, peer);
        };
        let owners = listener.owners(&offered);
        let source = (key, peer.ip());
        let arrived = Arrived { tcp, read, peer };
        let routed = self.table().route(Instant::now(), source, &owners, candidates, arrived);
        if let Routed::Stray(Arrived { tcp, .. }, instead) = routed {
            if let Some(id) = instead {
                listener.note_shared_store(&id, &owners);
            }
            self.close_stray(key.port, tcp, peer);
        }
    }

    /// By a reset, so that frequent strays leave no state in the kernel.
    pub(in crate::data) fn close_stray(&self, port: u16, stray: TcpStream, from: SocketAddr) {
        reset_on_drop(&stray);
        self.count_stray(port, from);
    }

    pub(super) fn count_stray(&self, port: u16, from: SocketAddr) {
        self.metrics.stray.inc();
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.insert(port, Stray { from, at: SystemTime::now() });
        tracing::debug!(port, %from, pool = self.pool, "stray data connection closed");
    }
}
