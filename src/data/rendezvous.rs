//! Who owns an arriving data connection: a reservation is a lease on (port, client address).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::metrics::Handles;

/// For so long a port is left alone for a client whose reservation there ended without a connection:
/// that connection may still be on its way, and must not be taken for the next transfer's.
const REST: Duration = Duration::from_secs(5);
/// Keys at rest that are remembered before those are cleared away that have rested enough.
const RESTING: usize = 1024;

/// All live reservations of a pool.
pub(super) struct Rendezvous {
    table: Mutex<Table>,
    metrics: Arc<Handles>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    port: u16,
    client: IpAddr,
}

#[derive(Default)]
struct Table {
    waiting: HashMap<Key, Waiting>,
    resting: HashMap<Key, Instant>,
}

struct Waiting {
    id: u64,
    owner: oneshot::Sender<TcpStream>,
}

/// A port kept for one data connection of one client; given back when dropped.
pub struct Reservation {
    rendezvous: Arc<Rendezvous>,
    key: Key,
    id: u64,
    arrival: oneshot::Receiver<TcpStream>,
}

/// Counts a data connection as active until dropped.
pub struct Active(Arc<Handles>);

/// No port of the pool is free for this client's address.
#[derive(Debug, thiserror::Error)]
#[error(
    "no data port is free: all {ports} ports of pool \"{pool}\" wait for connections from your address"
)]
pub struct Exhausted {
    pub pool: String,
    pub ports: usize,
}

impl Rendezvous {
    pub(super) fn new(metrics: Arc<Handles>) -> Self {
        Self { table: Mutex::default(), metrics }
    }

    /// `None` when the port already waits for a connection of this client, or, unless it is the last
    /// resort, rests for it.
    pub(super) fn reserve(
        this: &Arc<Self>,
        port: u16,
        client: IpAddr,
        last_resort: bool,
    ) -> Option<Reservation> {
        let key = Key { port, client: client.to_canonical() };
        let (owner, arrival) = oneshot::channel();
        let id = rand::random();
        let mut table = this.lock();
        let rests = table.resting.get(&key).is_some_and(|since| since.elapsed() < REST);
        if rests && !last_resort {
            return None;
        }
        match table.waiting.entry(key) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(slot) => slot.insert(Waiting { id, owner }),
        };
        table.resting.remove(&key);
        drop(table);
        this.metrics.reserved.inc();
        Some(Reservation { rendezvous: this.clone(), key, id, arrival })
    }

    /// Hands a connection to its owner. One that matches no reservation is closed and counted, and
    /// uses up nothing.
    pub(super) fn arrived(&self, port: u16, peer: SocketAddr, tcp: TcpStream) {
        let key = Key { port, client: peer.ip().to_canonical() };
        let waiting = self.lock().waiting.remove(&key);
        match waiting {
            Some(waiting) => {
                self.metrics.reserved.dec();
                // An owner that is gone meanwhile closes the connection by dropping it.
                let _ = waiting.owner.send(tcp);
            }
            None => {
                self.metrics.stray.inc();
                tracing::debug!(port, %peer, "stray data connection closed");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    pub fn port(&self) -> u16 {
        self.key.port
    }

    /// The client's data connection, as soon as it is there. Cancel safe; deadlines are the
    /// caller's. `None` only when the pool is gone.
    pub async fn connected(&mut self) -> Option<(TcpStream, Active)> {
        let tcp = (&mut self.arrival).await.ok()?;
        self.rendezvous.metrics.active.inc();
        Some((tcp, Active(self.rendezvous.metrics.clone())))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut table = self.rendezvous.lock();
        if table.waiting.get(&self.key).is_none_or(|waiting| waiting.id != self.id) {
            return;
        }
        table.waiting.remove(&self.key);
        if table.resting.len() >= RESTING {
            table.resting.retain(|_, since| since.elapsed() < REST);
        }
        // Past the cap nothing is remembered: memory comes before this comfort.
        if table.resting.len() < RESTING {
            table.resting.insert(self.key, Instant::now());
        }
        self.rendezvous.metrics.reserved.dec();
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Pool, PoolMetrics, PoolSettings, Ports};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::sync::CancellationToken;

    fn pool(ports: u16) -> Pool {
        let metrics = PoolMetrics::register(&prometheus::Registry::new()).unwrap();
        let settings = PoolSettings {
            name: "test".into(),
            ports: Ports::Ephemeral(ports),
            listen: vec!["127.0.0.1".parse().unwrap()],
            advertise: vec![],
        };
        let pool = Pool::bind(settings, &metrics).unwrap();
        pool.serve(&CancellationToken::new());
        pool
    }

    async fn connect(from: &str, port: u16) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(SocketAddr::new("127.0.0.1".parse().unwrap(), port)).await.unwrap()
    }

    #[tokio::test]
    async fn one_port_serves_many_addresses_and_strays_use_up_nothing() {
        let pool = pool(1);
        let mut first = pool.reserve("127.0.0.2".parse().unwrap()).unwrap();
        let mut second = pool.reserve("127.0.0.3".parse().unwrap()).unwrap();
        assert_eq!(first.port(), second.port());
        assert!(pool.reserve("127.0.0.2".parse().unwrap()).is_err());

        let mut stray = connect("127.0.0.9", first.port()).await;
        assert_eq!(stray.read(&mut [0]).await.unwrap(), 0);
        let mut of_second = connect("127.0.0.3", first.port()).await;
        let mut of_first = connect("127.0.0.2", first.port()).await;
        of_first.write_all(b"1").await.unwrap();
        of_second.write_all(b"2").await.unwrap();
        for (reservation, expected) in [(&mut first, b"1"), (&mut second, b"2")] {
            let (mut tcp, _active) = reservation.connected().await.unwrap();
            let mut byte = [0];
            tcp.read_exact(&mut byte).await.unwrap();
            assert_eq!(&byte, expected);
        }
        assert_eq!(pool.rendezvous.metrics.stray.get(), 1);
    }

    #[tokio::test]
    async fn a_dropped_reservation_is_free_again() {
        let pool = pool(1);
        let client = "127.0.0.1".parse().unwrap();
        drop(pool.reserve(client).unwrap());
        // The only port does not rest.
        let again = pool.reserve(client).unwrap();
        assert_eq!(pool.rendezvous.metrics.reserved.get(), 1);
        drop(again);
        assert_eq!(pool.rendezvous.metrics.reserved.get(), 0);
    }

    #[tokio::test]
    async fn a_port_rests_while_its_connection_may_be_on_the_way() {
        let pool = pool(2);
        let client = "127.0.0.1".parse().unwrap();
        let spent = pool.reserve(client).unwrap();
        let port = spent.port();
        drop(spent);
        let mut next = pool.reserve(client).unwrap();
        assert_ne!(next.port(), port);
        let mut late = connect("127.0.0.1", port).await;
        assert_eq!(late.read(&mut [0]).await.unwrap(), 0);
        let _own = connect("127.0.0.1", next.port()).await;
        assert!(next.connected().await.is_some());
    }

    #[tokio::test]
    async fn every_port_is_used_the_last_one_included() {
        let pool = pool(5);
        let client = "127.0.0.1".parse().unwrap();
        let all: Vec<_> = (0..5).map(|_| pool.reserve(client).unwrap()).collect();
        let mut ports: Vec<_> = all.iter().map(Reservation::port).collect();
        ports.sort();
        assert_eq!(ports, pool.ports);
        assert!(pool.reserve(client).is_err());
        assert_eq!(pool.rendezvous.metrics.exhausted.get(), 1);
    }
}
