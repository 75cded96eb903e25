//! Matches arriving data connections to reservations. A reservation is a lease on a port for one client,
//! and, where data connections resume the TLS session of their control connection, on that session's
//! share of it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::metrics::Handles;
use super::view::{Owner, OwnerState, PoolView, Stray, ViewBuilder};
use crate::net::tls::ServerTls;
use crate::task;
use reservation::ActiveTransfer;
use table::Table;

mod arrival;
mod client_key;
#[cfg(test)]
mod property;
mod quarantine;
mod request;
mod reservation;
mod slot;
mod table;
#[cfg(test)]
mod tests;

pub use client_key::ClientMatch;
pub use request::{Exhausted, PortRequest};
pub use reservation::{ActiveGuard, Arrived, Reservation};
pub(super) use table::Rules;

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

    /// See [`Table::busy_ports`].
    pub(super) fn busy_ports(&self) -> HashSet<u16> {
        self.table().busy_ports(Instant::now())
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
