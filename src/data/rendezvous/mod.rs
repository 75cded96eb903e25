//! Matches arriving data connections to reservations. A reservation is a lease on a port for one client,
//! and, where data connections resume the TLS session of their control connection, on that session's
//! share of it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics::{Handles, WaitEnd};
use super::view::{Owner, OwnerState, PoolView, Stray, ViewBuilder};
use crate::net::reset_on_drop;
use crate::net::task;
use crate::net::tls::{ControlTls, FirstFlight, ServerTls};
use reservation::ActiveTransfer;
use slot::ExpectedSession;
use table::{Arrival, Candidates, Lease, NotReserved, Request, Routed, Table};

mod client_key;
#[cfg(test)]
mod property;
mod quarantine;
mod reservation;
mod slot;
mod table;
#[cfg(test)]
mod tests;

pub use client_key::ClientMatch;
use client_key::{ClientKey, Key};
pub use reservation::{ActiveGuard, Arrived, Reservation};
pub(super) use table::Rules;

/// Between checks whether a candidate still waits for a silent connection.
const SILENT_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Between checks whether a quarantine has ended, while requests are queued.
const QUEUE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Between checks for expired reservations.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Between checks whether a port that is in force no more can be closed.
const RETIRED_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// All live reservations of a pool.
pub(super) struct Rendezvous {
    table: Mutex<Table<Arrived, ServerTls>>,
    active: Mutex<HashMap<u64, ActiveTransfer>>,
    strays: Mutex<HashMap<u16, Stray>>,
    pool: String,
    /// How many configurations have put their ports in force.
    epoch: AtomicU64,
    /// Where the last of them accepts.
    accepting: Mutex<HashSet<SocketAddr>>,
    /// A request waits for a port, or a reservation has ended.
    changes: watch::Sender<()>,
    metrics: Arc<Handles>,
}

/// A request for a port.
pub struct PortRequest<'a> {
    /// Where the data connection will come from: the client, or the server in active mode.
    pub client: IpAddr,
    /// Number of the session.
    pub session: u64,
    /// The control connection's TLS, if its data connections are known to resume it: such sessions share
    /// ports.
    pub tls: Option<&'a ControlTls>,
    /// Whether a connection that does not resume it is refused.
    pub must_resume: bool,
    /// For the data connection to be made.
    pub connect_within: Duration,
    /// For a port to become free.
    pub wait: Duration,
}

/// Why no port was reserved, with the limit that was reached.
#[derive(Debug, thiserror::Error)]
pub enum Exhausted {
    /// The request waited as long as the pool's `wait` allows.
    #[error(
        "no data port became free within {}: all {ports} ports of pool \"{pool}\" wait for \
         connections from your address", humantime::format_duration(*.waited)
    )]
    NotInTime {
        /// The pool's name in the configuration.
        pool: String,
        /// The number of ports in the pool.
        ports: usize,
        /// How long the request waited.
        waited: Duration,
    },
    /// 4096 requests wait for a port of the pool, or an eighth of them for this client alone.
    #[error(
        "no data port is free, and too many requests wait for one: all {ports} ports of pool \
         \"{pool}\" wait for connections from your address"
    )]
    QueueFull {
        /// The pool's name in the configuration.
        pool: String,
        /// The number of ports in the pool.
        ports: usize,
    },
    /// The client's address has as many reservations as `reservations_per_address` allows.
    #[error(
        "your address has the maximum of {limit} data ports reserved (`reservations_per_address` of \
         pool \"{pool}\"): connect to them first"
    )]
    AddressLimit {
        /// The pool's name in the configuration.
        pool: String,
        /// The value of `reservations_per_address`.
        limit: usize,
    },
}

impl Rendezvous {
    /// Starts without ports.
    pub(super) fn new(
        pool: &str,
        rules: Rules,
        changes: watch::Sender<()>,
        metrics: Arc<Handles>,
    ) -> Self {
        Self {
            table: Mutex::new(Table::new(rules)),
            active: Mutex::default(),
            strays: Mutex::default(),
            pool: pool.to_owned(),
            epoch: AtomicU64::new(0),
            accepting: Mutex::default(),
            changes,
            metrics,
        }
    }

    /// Reserves these ports from now on; reservations of others go on. The first time, ends reservations that
    /// are not connected in time, until `stop`. Returns the number of this change.
    pub(super) fn put_in_force(
        self: &Arc<Self>,
        (ports, accepting): (Vec<u16>, HashSet<SocketAddr>),
        per_address: usize,
        stop: &CancellationToken,
    ) -> u64 {
        *self.accepting() = accepting;
        self.metrics.size.set(ports.len() as i64);
        self.table().put_in_force(Instant::now(), ports, per_address);
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        if epoch == 1 {
            let expire = expire_reservations(Arc::downgrade(self));
            task::spawn(stop.clone().run_until_cancelled_owned(expire));
        }
        epoch
    }

    /// Returns once a change after the one of number `epoch` accepts at this address, or nobody waits at its
    /// port and nobody can: it is in force no more, or all sessions that are told of the address have ended
    /// (`in_use`).
    pub(super) async fn served_by_next(&self, at: SocketAddr, epoch: u64, in_use: &Weak<()>) {
        while self.is_served_until_next(at, epoch, in_use) {
            sleep(RETIRED_CHECK_INTERVAL).await;
        }
    }

    fn is_served_until_next(&self, at: SocketAddr, epoch: u64, in_use: &Weak<()>) -> bool {
        let has_next = self.epoch.load(Ordering::Relaxed) != epoch;
        if has_next && self.accepting().contains(&at) {
            return false;
        }
        let table = self.table();
        // With another address of the pool, sessions of this one still get the port.
        let is_reserved = !has_next || table.has_port(at.port());
        table.is_awaited(at.port()) || is_reserved && in_use.strong_count() > 0
    }

    pub(super) fn client_match(&self) -> ClientMatch {
        self.table().client_match()
    }

    pub(super) fn metrics(&self) -> &Handles {
        &self.metrics
    }

    /// Waits for a port if none is free for this client now.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        request: PortRequest<'_>,
        per_address: usize,
    ) -> Result<Reservation, Exhausted> {
        let PortRequest { session, must_resume, connect_within, wait, .. } = request;
        let (now, client) = (Instant::now(), request.client.to_canonical());
        let tls = request.tls.map(|tls| ExpectedSession {
            listener: tls.listener().clone(),
            id: tls.id(),
            evidence: tls.resumption_evidence(),
            must_resume,
        });
        let deadline = now + connect_within + wait;
        let request = Request { client, session, tls, deadline };
        let waiting = self.metrics.waits.start(WaitEnd::Left);
        let leased = self.table().reserve(now, &request);
        let lease = match leased {
            Ok(lease) => lease,
            Err(NotReserved::AddressLimit) => {
                waiting.ended(WaitEnd::Refused);
                self.metrics.exhausted.inc();
                return Err(Exhausted::AddressLimit {
                    pool: self.pool.clone(),
                    limit: per_address,
                });
            }
            Err(NotReserved::NoneFree) => match self.wait_in_queue(request, wait).await {
                Ok(lease) => lease,
                Err(exhausted) => {
                    waiting.ended(match exhausted {
                        Exhausted::NotInTime { .. } => WaitEnd::Timeout,
                        Exhausted::QueueFull { .. } | Exhausted::AddressLimit { .. } => {
                            WaitEnd::Refused
                        }
                    });
                    return Err(exhausted);
                }
            },
        };
        waiting.ended(WaitEnd::Ok);
        let (rendezvous, since) = (self.clone(), Instant::now());
        let (connected, has_arrived, timed_out) = (false, false, false);
        let reservation = Reservation {
            rendezvous,
            lease,
            client,
            session,
            since,
            connected,
            has_arrived,
            timed_out,
        };
        reservation.renew(connect_within);
        self.metrics.reserved.set(self.table().reserved() as i64);
        Ok(reservation)
    }

    async fn wait_in_queue(
        self: &Arc<Self>,
        request: Request<ServerTls>,
        limit: Duration,
    ) -> Result<Lease<Arrived>, Exhausted> {
        let (pool, ports) = (self.pool.clone(), self.table().ports().len());
        let client = self.table().key(0, request.client).client;
        let queued = self.table().queue(Instant::now(), request);
        let Some(lease) = queued else {
            self.metrics.exhausted.inc();
            return Err(Exhausted::QueueFull { pool, ports });
        };
        let mut queued = Queued { rendezvous: self.clone(), client, lease };
        self.changes.send_replace(());
        self.metrics.queued.set(self.table().queued() as i64);
        let leased = timeout(limit, async {
            loop {
                tokio::select! {
                    lease = &mut queued.lease => return lease.ok(),
                    () = sleep(QUEUE_CHECK_INTERVAL) => {
                        self.table().offer(Instant::now(), client);
                    }
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

    /// Delivers a connection to its owner. A connection that matches no reservation is closed and counted,
    /// and uses up nothing.
    pub(super) fn arrived(self: &Arc<Self>, port: u16, peer: SocketAddr, tcp: TcpStream) {
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
    pub(super) fn awaits(&self, port: u16, from: IpAddr) -> bool {
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
    pub(super) fn close_stray(&self, port: u16, stray: TcpStream, from: SocketAddr) {
        reset_on_drop(&stray);
        self.count_stray(port, from);
    }

    fn count_stray(&self, port: u16, from: SocketAddr) {
        self.metrics.stray.inc();
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.insert(port, Stray { from, at: SystemTime::now() });
        tracing::debug!(port, %from, pool = self.pool, "stray data connection closed");
    }

    pub(super) fn pool(&self) -> &str {
        &self.pool
    }

    fn expire(&self) {
        let mut table = self.table();
        let expired = table.expire(Instant::now());
        self.metrics.reserved.set(table.reserved() as i64);
        self.metrics.expired.inc_by(expired as u64);
    }

    pub(super) fn fullness(&self) -> f64 {
        self.table().fullness(Instant::now())
    }

    /// See [`Table::withhold`].
    pub(super) fn withhold(&self, ports: &[u16]) {
        self.table().withhold(ports);
    }

    /// See [`Table::restore`].
    pub(super) fn restore(&self, ports: &[u16]) {
        self.table().restore(Instant::now(), ports);
    }

    /// See [`Table::is_idle`].
    pub(super) fn is_idle(&self, port: u16) -> bool {
        self.table().is_idle(Instant::now(), port)
    }

    /// Requests that wait for a port.
    pub(super) fn queued(&self) -> usize {
        self.table().queued()
    }

    pub(super) fn view(&self, ports: &[u16]) -> PoolView {
        let mut view = ViewBuilder::new(ports);
        let table = self.table();
        table.add_owners(Instant::now(), &mut view);
        let (queued, fullness) = (table.queued(), table.fullness(Instant::now()));
        drop(table);
        for ActiveTransfer { port, client, session } in self.active().values() {
            let (session, client) = (*session, *client);
            view.add_owner(*port, Owner { session, client, state: OwnerState::Active });
        }
        for (port, stray) in self.strays.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            view.set_stray(*port, *stray);
        }
        PoolView { pool: self.pool.clone(), queued, fullness, ports: view.build() }
    }

    fn table(&self) -> MutexGuard<'_, Table<Arrived, ServerTls>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accepting(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> MutexGuard<'_, HashMap<u64, ActiveTransfer>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends reservations that were not connected in time, as long as there is the pool.
async fn expire_reservations(pool: Weak<Rendezvous>) {
    loop {
        sleep(EXPIRY_CHECK_INTERVAL).await;
        let Some(rendezvous) = pool.upgrade() else { return };
        rendezvous.expire();
    }
}

/// A queued request. Dropped, it releases a lease that it did not receive.
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
            // The client does not know the port, so no connection is on its way: no quarantine is needed.
            table.release(Instant::now(), &lease, true);
        }
        table.offer(Instant::now(), self.client);
        self.rendezvous.metrics.queued.set(table.queued() as i64);
        self.rendezvous.metrics.reserved.set(table.reserved() as i64);
    }
}
