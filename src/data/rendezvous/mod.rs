//! Who owns an arriving data connection: a reservation is a lease on (port, client), and one TLS
//! session's share of it where its data connections resume that session.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::metrics::Handles;
use super::view::{Look, Owner, OwnerState, PoolView, Stray};
use crate::net::reset_on_drop;
use crate::net::tls::{ControlTls, FirstFlight, ServerTls};
use place::Claim;
use table::{Arrival, Candidates, Lease, NoPlace, Request, Routed, Table};

mod client_key;
mod place;
#[cfg(test)]
mod property;
mod rest;
mod table;
#[cfg(test)]
mod tests;

pub use client_key::ClientMatch;
use client_key::{ClientKey, Key};
pub(super) use table::Rules;

/// Longer than any backend may take to agree to a transfer.
const HELD: Duration = Duration::from_secs(24 * 60 * 60);
/// Between looks whether somebody still waits for a connection that says nothing.
const FIRST_FLIGHT: Duration = Duration::from_secs(30);
/// Between looks for what rests no more while requests wait.
const RESTED: Duration = Duration::from_secs(1);
/// Between looks for what has expired.
const SWEEP: Duration = Duration::from_secs(1);

/// All live reservations of a pool.
pub(super) struct Rendezvous {
    table: Mutex<Table<Arrived, ServerTls>>,
    active: Mutex<HashMap<u64, Transfer>>,
    strays: Mutex<HashMap<u16, Stray>>,
    pool: String,
    ports: usize,
    metrics: Arc<Handles>,
}

/// Who wants a port.
pub struct Wanted<'a> {
    pub client: IpAddr,
    /// Number of the session.
    pub session: u64,
    /// The control connection's TLS, where its data connections are known to resume it: such sessions
    /// share ports.
    pub tls: Option<&'a ControlTls>,
    /// Whether a connection that does not resume it is refused.
    pub must_resume: bool,
    /// For the data connection to be made.
    pub connect_within: Duration,
    /// For a port to become free.
    pub wait: Duration,
}

/// A port kept for one data connection of one client; given back when dropped.
pub struct Reservation {
    rendezvous: Arc<Rendezvous>,
    lease: Lease<Arrived>,
    client: IpAddr,
    session: u64,
    since: Instant,
    connected: bool,
}

/// A data connection, and what was read from it to find its owner.
#[derive(Debug)]
pub struct Arrived {
    pub tcp: TcpStream,
    pub read: Vec<u8>,
    /// Where it comes from.
    pub peer: SocketAddr,
}

/// Counts a data connection as active until dropped.
pub struct Active {
    rendezvous: Arc<Rendezvous>,
    id: u64,
}

/// A data connection in use.
struct Transfer {
    port: u16,
    client: IpAddr,
    session: u64,
}

/// Why no port was reserved; says whose limit it is.
#[derive(Debug, thiserror::Error)]
pub enum Exhausted {
    #[error(
        "no data port became free within {}: all {ports} ports of pool \"{pool}\" wait for \
         connections from your address", humantime::format_duration(*.waited)
    )]
    NotInTime { pool: String, ports: usize, waited: Duration },
    #[error(
        "no data port is free, and too many wait for one: all {ports} ports of pool \"{pool}\" wait \
         for connections from your address"
    )]
    QueueFull { pool: String, ports: usize },
    #[error(
        "your address has its most data ports reserved ({most}, `reservations_per_address` of pool \
         \"{pool}\"): connect to them first"
    )]
    TooMany { pool: String, most: usize },
}

impl Rendezvous {
    pub(super) fn new(pool: &str, ports: Vec<u16>, rules: Rules, metrics: Arc<Handles>) -> Self {
        Self {
            ports: ports.len(),
            table: Mutex::new(Table::new(ports, rules)),
            active: Mutex::default(),
            strays: Mutex::default(),
            pool: pool.to_owned(),
            metrics,
        }
    }

    /// Waits for a port where none is free for this client now.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        per_address: usize,
    ) -> Result<Reservation, Exhausted> {
        let now = Instant::now();
        let (client, session) = (wanted.client.to_canonical(), wanted.session);
        let tls = wanted.tls.map(|tls| Claim {
            listener: tls.listener().clone(),
            id: tls.id(),
            standing: tls.resumption_evidence(),
            must_resume: wanted.must_resume,
        });
        let deadline = now + wanted.connect_within + wanted.wait;
        let request = Request { client, session, tls, deadline };
        let leased = self.table().reserve(now, &request);
        let lease = match leased {
            Ok(lease) => lease,
            Err(NoPlace::TooMany) => {
                self.metrics.exhausted.inc();
                return Err(Exhausted::TooMany { pool: self.pool.clone(), most: per_address });
            }
            Err(NoPlace::NotNow) => self.wait_for_place(request, wanted.wait).await?,
        };
        let rendezvous = self.clone();
        let since = Instant::now();
        let reservation =
            Reservation { rendezvous, lease, client, session, since, connected: false };
        reservation.renew(wanted.connect_within);
        self.metrics.reserved.set(self.table().reserved() as i64);
        Ok(reservation)
    }

    async fn wait_for_place(
        self: &Arc<Self>,
        request: Request<ServerTls>,
        limit: Duration,
    ) -> Result<Lease<Arrived>, Exhausted> {
        let (pool, ports) = (self.pool.clone(), self.ports);
        let client = self.table().key(0, request.client).client;
        let queued = self.table().queue(Instant::now(), request);
        let Some(lease) = queued else {
            self.metrics.exhausted.inc();
            return Err(Exhausted::QueueFull { pool, ports });
        };
        let mut queued = Queued { rendezvous: self.clone(), client, lease };
        self.metrics.queued.set(self.table().queued() as i64);
        let leased = timeout(limit, async {
            loop {
                tokio::select! {
                    lease = &mut queued.lease => return lease.ok(),
                    () = sleep(RESTED) => self.table().offer(Instant::now(), client),
                }
            }
        });
        let leased = leased.await.ok().flatten();
        drop(queued);
        leased.ok_or_else(|| {
            self.metrics.exhausted.inc();
            Exhausted::NotInTime { pool, ports, waited: limit }
        })
    }

    /// Hands a connection to its owner. One that matches no reservation is closed and counted, and
    /// uses up nothing.
    pub(super) fn arrived(self: &Arc<Self>, port: u16, peer: SocketAddr, tcp: TcpStream) {
        let arrived = Arrived { tcp, read: Vec::new(), peer };
        let mut table = self.table();
        let key = table.key(port, peer.ip());
        let arrival = table.arrive(Instant::now(), (key, peer.ip()), arrived);
        self.metrics.reserved.set(table.reserved() as i64);
        drop(table);
        match arrival {
            Arrival::Given => {}
            Arrival::Stray(stray) => self.close_stray(port, stray.tcp, peer),
            Arrival::Shared(arrived, listener, candidates) => {
                tokio::spawn(self.clone().find_owner(key, arrived, listener, candidates));
            }
        }
    }

    /// Whether a connection to the port from there can belong to anybody.
    pub(super) fn awaits(&self, port: u16, from: IpAddr) -> bool {
        let table = self.table();
        table.awaits(table.key(port, from))
    }

    /// Finds out whose a connection to a shared port is by what it offers to resume.
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
                // Clients speak when they are told to, and a backend may take its time before that.
                match timeout(FIRST_FLIGHT, reading.as_mut()).await {
                    Ok(flight) => break flight,
                    Err(_) if self.table().still_awaits(key, candidates) => {}
                    Err(_) => break None,
                }
            }
        };
        let Some(FirstFlight { bytes: read, offered: Some(offered) }) = flight else {
            self.table().went_away((key, peer.ip()));
            return self.close_stray(key.port, tcp, peer);
        };
        let claimed = listener.owners(&offered);
        let source = (key, peer.ip());
        let arrived = Arrived { tcp, read, peer };
        let routed = self.table().route(Instant::now(), source, &claimed, candidates, arrived);
        if let Routed::Stray(Arrived { tcp, .. }, instead) = routed {
            if let Some(id) = instead {
                listener.note_shared_store(&id, &claimed);
            }
            self.close_stray(key.port, tcp, peer);
        }
    }

    /// By a reset: whoever knocks often leaves nothing behind in the kernel.
    pub(super) fn close_stray(&self, port: u16, stray: TcpStream, from: SocketAddr) {
        reset_on_drop(&stray);
        self.stray(port, from);
    }

    fn stray(&self, port: u16, from: SocketAddr) {
        self.metrics.stray.inc();
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.insert(port, Stray { from, at: SystemTime::now() });
        tracing::debug!(port, %from, pool = self.pool, "stray data connection closed");
    }

    pub(super) fn pool(&self) -> &str {
        &self.pool
    }

    /// Ends reservations that were not connected in time, for ever.
    pub(super) async fn sweep(&self) {
        loop {
            sleep(SWEEP).await;
            let mut table = self.table();
            let expired = table.expire(Instant::now());
            self.metrics.reserved.set(table.reserved() as i64);
            self.metrics.expired.inc_by(expired as u64);
        }
    }

    /// What is to be seen of these ports.
    pub(super) fn look(&self, ports: &[u16]) -> PoolView {
        let mut look = Look::at(ports);
        let table = self.table();
        table.look(&mut look);
        let queued = table.queued();
        drop(table);
        for Transfer { port, client, session } in self.active().values() {
            let (session, client) = (*session, *client);
            look.owner(*port, Owner { session, client, state: OwnerState::Active });
        }
        for (port, stray) in self.strays.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            look.stray(*port, *stray);
        }
        PoolView { pool: self.pool.clone(), queued, ports: look.done() }
    }

    fn table(&self) -> MutexGuard<'_, Table<Arrived, ServerTls>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> MutexGuard<'_, HashMap<u64, Transfer>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// The port that listens.
    pub fn port(&self) -> u16 {
        self.lease.key.port
    }

    /// When it was made: the client was told the port after that.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// A connection that may be the client's: on a port that is shared, those that claim to be, one
    /// after the other. Cancel safe. `None` when the reservation has expired, or was used up.
    pub async fn arrived(&mut self) -> Option<Arrived> {
        self.lease.arrivals.recv().await
    }

    /// Told when somebody came who resumes another session, or none, while nobody else waited at the
    /// port.
    pub fn strangers(&self) -> Arc<Notify> {
        self.lease.strangers.clone()
    }

    /// Its command has come: it does not expire while the backend is asked, which has its own
    /// deadlines.
    pub fn hold(&self) {
        self.renew(HELD);
    }

    /// From now on there is so long for the connection.
    pub fn renew(&self, connect_within: Duration) {
        self.rendezvous.table().renew(&self.lease, Instant::now() + connect_within);
    }

    /// A connection turned out not to be the client's.
    pub fn refused(&self, from: SocketAddr) {
        self.rendezvous.stray(self.port(), from);
    }

    /// Gives the port back at once: no connection is on its way to it.
    pub fn give_back(mut self) {
        self.connected = true;
    }

    /// The connection is there.
    pub fn activate(mut self) -> Active {
        self.connected = true;
        let Self { lease, client, session, .. } = &self;
        let (id, port) = (lease.id, lease.key.port);
        let transfer = Transfer { port, client: *client, session: *session };
        self.rendezvous.active().insert(id, transfer);
        self.rendezvous.metrics.active.inc();
        Active { rendezvous: self.rendezvous.clone(), id }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.lease.arrivals.close();
        // What claimed to be it, too.
        while self.lease.tls.is_some()
            && let Ok(Arrived { tcp, peer, .. }) = self.lease.arrivals.try_recv()
        {
            self.rendezvous.close_stray(self.lease.key.port, tcp, peer);
        }
        let mut table = self.rendezvous.table();
        table.release(Instant::now(), &self.lease, self.connected);
        self.rendezvous.metrics.reserved.set(table.reserved() as i64);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.rendezvous.active().remove(&self.id);
        self.rendezvous.metrics.active.dec();
    }
}

/// A request that waits. What it was given and did not take goes back.
struct Queued {
    rendezvous: Arc<Rendezvous>,
    client: ClientKey,
    lease: oneshot::Receiver<Lease<Arrived>>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.lease.close();
        let mut table = self.rendezvous.table();
        if let Ok(lease) = self.lease.try_recv() {
            // Nobody was told the port, so that no connection is on its way: it need not rest.
            table.release(Instant::now(), &lease, true);
        }
        table.offer(Instant::now(), self.client);
        self.rendezvous.metrics.queued.set(table.queued() as i64);
        self.rendezvous.metrics.reserved.set(table.reserved() as i64);
    }
}
