//! Connecting to servers, with a limit per address (`connects_at_once`): a server drops connections that
//! overflow its backlog. Further attempts wait in FIFO order.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{IntGauge, IntGaugeVec, Registry};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::connect_time::{ConnectEnd, ConnectTimes, Connecting};
use super::{WeakMap, task};
use crate::metrics::{self, Times};

/// An established connection may still be in the server's backlog. It holds its slot until the server's
/// first byte, at most for so long.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);

/// The queues of all addresses, which the backends of a configuration share.
pub struct Connectors {
    /// By `host:port`; bounded by the configuration.
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    /// Of the configuration before.
    previous: HashMap<String, Arc<Queue>>,
    /// The queues of each backend, by address.
    by_backend: Mutex<BTreeMap<String, BTreeMap<String, Arc<Queue>>>>,
    metrics: Arc<Metrics>,
}

/// Of all backends of all configurations that a process has had, and that sessions still use.
struct Metrics {
    waiting: IntGaugeVec,
    in_progress: IntGaugeVec,
    times: ConnectTimes,
    live: WeakMap<String, OfBackend>,
}

/// The metrics of one backend.
struct OfBackend {
    waiting: IntGauge,
    in_progress: IntGauge,
    times: Times<ConnectEnd>,
}

/// Connects to the server of one backend.
pub struct Connector {
    addresses: Vec<(String, Arc<Queue>)>,
    /// The address of this machine that connections come from.
    source: Option<IpAddr>,
    metrics: Arc<OfBackend>,
}

struct Queue {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    slots: usize,
    /// When the last connection was established.
    last_connect: Option<Instant>,
}

/// Permission to connect.
struct Slot {
    _permit: OwnedSemaphorePermit,
    _in_progress: GaugeGuard,
}

/// Counts in a gauge until dropped.
struct GaugeGuard(IntGauge);

impl Connectors {
    /// Starts without queues. Registers their metrics, once per registry; `backend` is the only label.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| metrics::gauges(registry, name, help, &["backend"]);
        let metrics = Metrics {
            waiting: gauge(
                "lockgate_backend_connects_waiting",
                "Connection attempts to a backend that wait for a slot of connects_at_once",
            )?,
            in_progress: gauge(
                "lockgate_backend_connects_in_progress",
                "Connection attempts to a backend in progress",
            )?,
            times: ConnectTimes::register(registry)?,
            live: WeakMap::default(),
        };
        Ok(Self {
            queues: Mutex::default(),
            previous: HashMap::new(),
            by_backend: Mutex::default(),
            metrics: Arc::new(metrics),
        })
    }

    /// For another configuration, which goes on with the queues whose limit is the same.
    pub fn next(&self) -> Self {
        Self {
            queues: Mutex::default(),
            previous: self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            by_backend: Mutex::default(),
            metrics: self.metrics.clone(),
        }
    }

    /// Connection attempts at once to the servers of each backend, by its name: `connects_at_once` for each
    /// address, or less where another backend has the address, too.
    pub fn limits(&self) -> Vec<(String, usize)> {
        let all = self.by_backend.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of_backend: &BTreeMap<String, Arc<Queue>>| {
            of_backend.values().map(|queue| queue.lock().slots).sum()
        };
        all.iter().map(|(name, of_backend)| (name.clone(), sum(of_backend))).collect()
    }

    /// Ends the series of backends that no configuration and no session has any more.
    pub fn forget_ended(&self) {
        self.metrics.live.forget_ended(|backend| self.metrics.remove(backend));
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::register(&Registry::new()).expect("a registry of its own")
    }

    /// For the backend of this name, whose server is at `addresses` (`host:port`, tried in order).
    /// `at_once`: the limit per address; where several backends share an address, the lowest applies.
    pub fn connector(&self, backend: &str, addresses: &[String], at_once: usize) -> Connector {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_backend = self.by_backend.lock().unwrap_or_else(PoisonError::into_inner);
        let own = by_backend.entry(backend.to_owned()).or_default();
        let mut queue = |address: &String| {
            let queue = queues.entry(address.clone()).or_insert_with(|| {
                let previous = self.previous.get(address).filter(|it| it.lock().slots == at_once);
                previous.cloned().unwrap_or_else(|| Queue::new(at_once))
            });
            queue.limit_to(at_once);
            own.insert(address.clone(), queue.clone());
            (address.clone(), queue.clone())
        };
        Connector {
            addresses: addresses.iter().map(&mut queue).collect(),
            source: None,
            metrics: self.metrics.of(backend),
        }
    }
}

impl Metrics {
    fn of(&self, backend: &str) -> Arc<OfBackend> {
        self.live.get_or_insert_with(&backend.to_owned(), || OfBackend {
            waiting: self.waiting.with_label_values(&[backend]),
            in_progress: self.in_progress.with_label_values(&[backend]),
            times: self.times.of(backend),
        })
    }

    fn remove(&self, backend: &str) {
        for gauge in [&self.waiting, &self.in_progress] {
            let _ = gauge.remove_label_values(&[backend]);
        }
        self.times.remove(backend);
    }
}

impl Queue {
    fn new(slots: usize) -> Arc<Self> {
        let state = Mutex::new(State { slots, last_connect: None });
        Arc::new(Self { slots: Arc::new(Semaphore::new(slots)), state })
    }

    /// To be called before the first connection.
    fn limit_to(&self, slots: usize) {
        let mut state = self.lock();
        if slots < state.slots {
            self.slots.forget_permits(state.slots - slots);
            state.slots = slots;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector {
    /// The default of `connects_at_once`.
    pub const DEFAULT_CONNECTS_AT_ONCE_MAX: usize = 8;

    /// Connections come from this address of the machine (`source_address`).
    pub fn from_address(self, source: Option<IpAddr>) -> Self {
        Self { source, ..self }
    }

    /// Measures how long it takes until a server is ready for a login. Dropped, nobody waits for it any more.
    pub fn connecting(&self) -> Connecting {
        self.metrics.times.start(ConnectEnd::GivenUp)
    }

    /// Tries all addresses in order, a name's addresses too; returns the connection and the configured
    /// address it is for. `limit` applies to each lookup and each attempt. The wait for a slot is not
    /// limited while other attempts succeed; otherwise it fails after `limit`. The error lists every
    /// attempt.
    pub async fn connect(&self, limit: Duration) -> Result<(TcpStream, &str), String> {
        let mut errors = Vec::new();
        for (address, queue) in &self.addresses {
            let candidates: Vec<SocketAddr> = match timeout(limit, lookup_host(address)).await {
                Ok(Ok(candidates)) => candidates.collect(),
                Ok(Err(e)) => {
                    errors.push(format!("{address}: {e}"));
                    continue;
                }
                Err(_) => {
                    errors.push(format!("{address}: the name lookup timed out"));
                    continue;
                }
            };
            for candidate in candidates {
                match self.attempt(queue, candidate, limit).await {
                    Ok(tcp) => return Ok((tcp, address)),
                    Err(e) => errors.push(format!("{candidate}: {e}")),
                }
            }
        }
        Err(errors.join("; "))
    }

    /// Connects again to `server`, to which `address`, one of the connector's own, resolved before.
    pub async fn reconnect(
        &self,
        address: &str,
        server: SocketAddr,
        limit: Duration,
    ) -> Result<TcpStream, String> {
        let queue = self.addresses.iter().find(|(own, _)| own == address);
        let (_, queue) =
            queue.ok_or_else(|| format!("{address} is not an address of the backend"))?;
        let attempt = self.attempt(queue, server, limit).await;
        attempt.map_err(|e| format!("{server}: {e}"))
    }

    async fn attempt(
        &self,
        queue: &Queue,
        server: SocketAddr,
        limit: Duration,
    ) -> Result<TcpStream, String> {
        let slot = self.slot(queue, limit).await?;
        match timeout(limit, connect_from(self.source, server)).await {
            Ok(Ok(tcp)) => {
                super::prepare(&tcp);
                queue.lock().last_connect = Some(Instant::now());
                hold_until_answered(slot, &tcp);
                Ok(tcp)
            }
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("the connection timed out".to_owned()),
        }
    }

    async fn slot(&self, queue: &Queue, limit: Duration) -> Result<Slot, String> {
        let waiting = GaugeGuard::new(&self.metrics.waiting);
        let permit = queue.slots.clone().acquire_owned();
        tokio::pin!(permit);
        let mut deadline = Instant::now() + limit;
        let permit = loop {
            if let Ok(permit) = timeout_at(deadline, &mut permit).await {
                break permit.map_err(|e| e.to_string())?;
            }
            // A slow server accepts one connection after the other. A dead one accepts none: give up
            // and try the next address.
            match queue.lock().last_connect {
                Some(last) if last + limit > Instant::now() => deadline = last + limit,
                _ => {
                    let limit = humantime::format_duration(limit);
                    return Err(format!(
                        "no slot of `connects_at_once` became free, and no connection attempt \
                         succeeded, within {limit}"
                    ));
                }
            }
        };
        drop(waiting);
        Ok(Slot { _permit: permit, _in_progress: GaugeGuard::new(&self.metrics.in_progress) })
    }
}

/// Connects from an address of this machine; `None`: the system chooses it.
pub async fn connect_from(source: Option<IpAddr>, server: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(server).await };
    if source.is_ipv4() != server.is_ipv4() {
        let reason = format!("`source_address` {source} and {server} are of different families");
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0)).map_err(|error| {
        io::Error::new(error.kind(), format!("`source_address` {source} cannot be used: {error}"))
    })?;
    socket.connect(server).await
}

/// Watches a duplicate of the socket, so that the first byte stays unread.
fn hold_until_answered(slot: Slot, tcp: &TcpStream) {
    let watched = SockRef::from(tcp).try_clone();
    let watched = watched.and_then(|socket| TcpStream::from_std(socket.into()));
    task::spawn(async move {
        let answered = async {
            match &watched {
                // The end of the connection counts, too.
                Ok(tcp) => drop(tcp.readable().await),
                Err(_) => std::future::pending().await,
            }
        };
        let _ = timeout(FIRST_BYTE_TIMEOUT, answered).await;
        drop(slot);
    });
}

impl GaugeGuard {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::future::join_all;
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn connector(addresses: &[String], at_once: usize) -> Connector {
        Connectors::for_test().connector("b", addresses, at_once)
    }

    /// As small as pure-ftpd's and embedded servers' backlogs.
    fn small_backlog() -> TcpListener {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(5).unwrap()
    }

    /// The server's kernel would drop more connections at once than `at_once`.
    #[tokio::test]
    async fn a_burst_reaches_a_server_that_accepts_slowly() {
        let listener = small_backlog();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let (tcp, _) = listener.accept().await.unwrap();
                let mut tcp = tcp.into_std().unwrap();
                tcp.write_all(b"220 ready\r\n").unwrap();
            }
        });
        let connector = connector(&[address], 5);
        // A dropped packet is sent again after a second.
        let limit = Duration::from_millis(500);
        let greeted = async || -> Result<(), String> {
            let (tcp, _) = connector.connect(limit).await?;
            let greeted = timeout(limit, tcp.readable()).await;
            greeted.map_err(|_| "not greeted")?.map_err(|e| e.to_string())
        };
        let results = join_all((0..200).map(|_| greeted())).await;
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
        let counts = || (connector.metrics.waiting.get(), connector.metrics.in_progress.get());
        let at_rest = async {
            while counts() != (0, 0) {
                tokio::task::yield_now().await;
            }
        };
        timeout(5 * SECOND, at_rest).await.unwrap();
    }

    #[tokio::test]
    async fn a_slot_is_held_until_the_first_byte_or_for_one_second() {
        for sends in [true, false] {
            let listener = small_backlog();
            let connector = connector(&[listener.local_addr().unwrap().to_string()], 1);
            let (first, _) = connector.connect(SECOND).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let start = Instant::now();
            let second = connector.connect(5 * SECOND);
            tokio::pin!(second);
            assert!(timeout(Duration::from_millis(100), &mut second).await.is_err());
            let OfBackend { waiting, in_progress, .. } = &*connector.metrics;
            assert_eq!((waiting.get(), in_progress.get()), (1, 1));
            if sends {
                accepted.try_write(b"2").unwrap();
            }
            second.await.unwrap();
            let took = start.elapsed();
            assert_eq!(took < Duration::from_millis(600), sends, "{took:?}");
            // The byte is still there.
            let mut bytes = [0; 2];
            assert_eq!(first.try_read(&mut bytes).ok(), sends.then_some(1));
        }
    }

    #[tokio::test]
    async fn a_cancelled_wait_leaves_the_queue() {
        let listener = small_backlog();
        let connector = connector(&[listener.local_addr().unwrap().to_string()], 1);
        let _first = connector.connect(SECOND).await.unwrap();
        let left = timeout(Duration::from_millis(100), connector.connect(5 * SECOND)).await;
        assert!(left.is_err());
        assert_eq!(connector.metrics.waiting.get(), 0);
    }

    /// The first server's backlog is full, and it accepts nothing.
    #[tokio::test]
    async fn a_burst_falls_back_to_the_next_address_when_the_first_is_dead() {
        let dead = TcpSocket::new_v4().unwrap();
        dead.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let dead = dead.listen(0).unwrap();
        let address = dead.local_addr().unwrap();
        let mut fillers = Vec::new();
        let fill = || timeout(Duration::from_millis(200), TcpStream::connect(address));
        while let Ok(Ok(filler)) = fill().await {
            fillers.push(filler);
        }
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [address.to_string(), good.local_addr().unwrap().to_string()];
        tokio::spawn(async move {
            loop {
                let (mut tcp, _) = good.accept().await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut tcp, b"220\r\n").await.unwrap();
            }
        });
        let connector = connector(&addresses, 2);
        let start = Instant::now();
        let results = join_all((0..40).map(|_| connector.connect(SECOND))).await;
        assert!(results.iter().all(|r| r.as_ref().is_ok_and(|(_, at)| *at == addresses[1])));
        // Waiting in turn would take twenty rounds of one second.
        assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn backends_share_the_queue_of_an_address() {
        let listener = small_backlog();
        let addresses = [listener.local_addr().unwrap().to_string()];
        let connectors = Connectors::for_test();
        let one = connectors.connector("one", &addresses, 8);
        let two = connectors.connector("two", &addresses, 1);
        let _first = one.connect(SECOND).await.unwrap();
        let second = timeout(Duration::from_millis(100), two.connect(5 * SECOND)).await;
        assert!(second.is_err(), "two at once");
        let limits = ["one", "two"].map(|name| (name.to_owned(), 1));
        assert_eq!(connectors.limits(), limits);
    }

    #[tokio::test]
    async fn connections_are_timed_and_the_series_of_a_backend_end_with_it() {
        let registry = Registry::new();
        let connectors = Connectors::register(&registry).unwrap();
        let series = || {
            let families = registry.gather();
            let times = families.iter().find(|it| it.name().ends_with("_duration_seconds"));
            let metrics = times.map(|it| it.get_metric()).unwrap_or_default();
            let counts = metrics.iter().map(|it| it.get_histogram().get_sample_count());
            (families.len(), counts.collect::<Vec<_>>())
        };
        let connector = connectors.connector("b", &[], 1);
        connector.connecting().ended(ConnectEnd::Ok);
        drop(connector.connecting());
        // In the order of their labels: failed, given-up, ok, timeout, unreachable.
        assert_eq!(series(), (3, vec![0, 1, 1, 0, 0]));
        connectors.forget_ended();
        assert_eq!(series().0, 3);
        drop(connector);
        connectors.next().forget_ended();
        assert_eq!(series(), (0, vec![]));
    }
}
