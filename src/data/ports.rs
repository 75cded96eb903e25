//! The passive ports: one listener for each port and listen address.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::advertise::{Advertise, Advertised, Advertiser, Lookups, Unresolved};
use super::metrics::PoolMetrics;
use super::rendezvous::{ClientMatch, Exhausted, PortRequest, Rendezvous, Reservation, Rules};
use super::view::PoolView;
use crate::net::{
    self, Acceptor, Endpoints, HeaderKind, ProxyHeader, ProxyProtocol, Refusal, SocketOwner,
    Sockets, WeakMap,
};
use crate::task;

/// A pool of passive data ports (`data_ports`) as configured.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The name in the configuration, for messages and metric labels.
    pub name: String,
    /// The ports that listen: `range`, or this replica's `slice` of it.
    pub ports: Ports,
    /// Every port listens on each of these.
    pub listen: Vec<IpAddr>,
    /// The first match counts; without one, the address that the control connection came to.
    pub advertise: Vec<Advertise>,
    /// Which sources a reservation accepts (`client_match`). Default: address.
    pub client_match: ClientMatch,
    /// Ports that may wait for connections of one client address at a time.
    pub reservations_per_address: usize,
    /// For a port to become free, where none is when a client asks.
    pub wait: Duration,
    /// Networks of the proxies, if all connections come from proxies that send a PROXY protocol header;
    /// empty: clients connect directly.
    pub proxy_protocol: Vec<IpNet>,
}

impl PoolSettings {
    /// The default of `reservations_per_address`.
    pub const DEFAULT_RESERVATIONS_PER_ADDRESS_MAX: usize = 1000;
    /// The default of `wait`.
    pub const DEFAULT_WAIT_TIMEOUT: Duration = Duration::from_secs(10);
}

/// The ports of a pool.
#[derive(Debug, Clone)]
pub enum Ports {
    /// First and last port, both included.
    Range(RangeInclusive<u16>),
    /// So many ports, chosen by the kernel at start. For `demo`: a firewall cannot know them.
    Ephemeral(u16),
}

/// A data port that could not be opened; the start fails.
#[derive(Debug, thiserror::Error)]
#[error("data port {address} of pool \"{pool}\" cannot be opened: {reason}")]
pub struct BindError {
    /// The pool's name in the configuration.
    pub pool: String,
    /// The address and port that was tried; port 0 asks for any free one.
    pub address: SocketAddr,
    /// The error of the operating system.
    pub reason: io::Error,
}

/// Requests that wait for a port at a time, in one pool.
const MAX_QUEUE: usize = 4096;

/// The ports of a pool, as one configuration has them. Those of the next go on with the same reservations.
pub struct Pool {
    settings: PoolSettings,
    /// In order.
    pub(super) ports: Vec<u16>,
    /// Until they are served: sessions that have the pool do not keep its ports open.
    sockets: Mutex<Vec<Arc<Acceptor>>>,
    proxy_protocol: Option<Arc<ProxyProtocol>>,
    pub(super) rendezvous: Arc<Rendezvous>,
    advertiser: Advertiser,
    /// Whether sessions can still reserve ports of this pool.
    in_use: Arc<()>,
}

/// The pools of all configurations that a process has had, and that sessions still use.
pub struct Pools {
    metrics: PoolMetrics,
    lookups: Lookups,
    /// See [`Pools::changes`].
    changes: watch::Sender<()>,
    live: WeakMap<String, Rendezvous>,
}

impl Pools {
    /// Starts without pools.
    pub fn new(metrics: PoolMetrics) -> Self {
        let changes = watch::Sender::new(());
        Self { metrics, lookups: Lookups::default(), changes, live: WeakMap::default() }
    }

    /// Opens all ports that are not open yet, or none. A pool of the same name goes on: with its
    /// reservations, and with its `client_match`, by which they are found. Must be called within a tokio
    /// runtime; changes nothing until [`Pool::serve`].
    pub fn open(&self, settings: PoolSettings, sockets: &Sockets) -> Result<Pool, BindError> {
        let requested: Vec<u16> = match &settings.ports {
            Ports::Range(range) => range.clone().collect(),
            Ports::Ephemeral(count) => vec![0; usize::from(*count)],
        };
        let (mut ports, mut opened) = (BTreeSet::new(), Vec::new());
        let owner = SocketOwner::Pool(settings.name.clone());
        let addresses = requested
            .iter()
            .flat_map(|port| settings.listen.iter().map(|ip| SocketAddr::new(*ip, *port)));
        for (nth, address) in addresses.enumerate() {
            let open = || -> io::Result<(Arc<Acceptor>, u16)> {
                let socket = sockets.open(address, &owner, (&settings.name, nth))?;
                let port = socket.local_addr()?.port();
                Ok((socket, port))
            };
            let (socket, port) = open().map_err(|reason| BindError {
                pool: settings.name.clone(),
                address,
                reason,
            })?;
            opened.push(socket);
            ports.insert(port);
        }
        let rendezvous = self.rendezvous(&settings);
        let proxy_protocol = (!settings.proxy_protocol.is_empty()).then(|| {
            let trusted = settings.proxy_protocol.clone();
            Arc::new(ProxyProtocol::new(trusted, rendezvous.metrics().proxy_refused.clone()))
        });
        Ok(Pool {
            ports: ports.into_iter().collect(),
            sockets: Mutex::new(opened),
            proxy_protocol,
            advertiser: Advertiser::new(&settings.name, &settings.advertise, &self.lookups),
            settings: PoolSettings { client_match: rendezvous.client_match(), ..settings },
            rendezvous,
            in_use: Arc::default(),
        })
    }

    fn rendezvous(&self, settings: &PoolSettings) -> Arc<Rendezvous> {
        let name = &settings.name;
        self.live.get_or_insert_with(name, || {
            let rules = Rules {
                client_match: settings.client_match,
                per_address: settings.reservations_per_address,
                queue: MAX_QUEUE,
            };
            let (changes, metrics) = (self.changes.clone(), Arc::new(self.metrics.handles(name)));
            Rendezvous::new(name, rules, changes, metrics)
        })
    }

    /// The names of the pools that a configuration or a session has.
    pub fn names(&self) -> Vec<String> {
        self.live.keys()
    }

    /// Reserves these ports no more, until [`Self::restore`]: another process has them, or shall get them.
    pub fn withhold(&self, pool: &str, ports: &[u16]) {
        self.live.get(&pool.to_owned()).iter().for_each(|pool| pool.withhold(ports));
    }

    /// Reserves these ports again.
    pub fn restore(&self, pool: &str, ports: &[u16]) {
        self.live.get(&pool.to_owned()).iter().for_each(|pool| pool.restore(ports));
    }

    /// The ports of the pool at which a connection for a reservation may still arrive.
    pub fn busy_ports(&self, pool: &str) -> HashSet<u16> {
        self.live.get(&pool.to_owned()).map(|pool| pool.busy_ports()).unwrap_or_default()
    }

    /// Requests that wait for a port of the pool.
    pub fn queued(&self, pool: &str) -> usize {
        self.live.get(&pool.to_owned()).map_or(0, |pool| pool.queued())
    }

    /// Notified when a request waits for a port, and when a reservation has ended.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Removes the metrics of pools that no configuration and no session has any more.
    pub fn forget_ended(&self) {
        self.live.forget_ended(|name| self.metrics.remove(name));
    }
}

impl Pool {
    /// Opens all ports of a pool of its own, or none. Must be called within a tokio runtime.
    pub fn bind(settings: PoolSettings, metrics: &PoolMetrics) -> Result<Self, BindError> {
        Pools::new(metrics.clone()).open(settings, &Sockets::default())
    }

    /// Puts these ports and settings in force, and accepts on all ports until `stop`, or until `replaced` and
    /// the next pool of this name accepts there. A port that the next one does not have stays open until
    /// nobody waits there; those of a pool without a next one, as long as sessions have it.
    pub fn serve(&self, replaced: &CancellationToken, stop: &CancellationToken) {
        let per_address = self.settings.reservations_per_address;
        self.advertiser.serve(stop);
        let sockets =
            std::mem::take(&mut *self.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        let accepting = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let ports = (self.ports.clone(), accepting);
        let epoch = self.rendezvous.put_in_force(ports, per_address, stop);
        for socket in sockets {
            let Ok(local) = socket.local_addr() else { continue };
            let rendezvous = self.rendezvous.clone();
            let (proxy_protocol, stop) = (self.proxy_protocol.clone(), stop.clone());
            let (replaced, in_use) = (replaced.clone(), Arc::downgrade(&self.in_use));
            task::spawn(async move {
                let port = local.port();
                let until = async {
                    replaced.cancelled().await;
                    rendezvous.served_by_next(local, epoch, &in_use).await;
                };
                match proxy_protocol {
                    None => {
                        let accepting = async {
                            tokio::select! {
                                () = until => {}
                                () = accept(&socket, port, &rendezvous) => {}
                            }
                        };
                        stop.run_until_cancelled(accepting).await;
                    }
                    Some(proxy) => {
                        let arrived = proxied(port, rendezvous.clone());
                        // Its owner's session is there as long as it can be served.
                        let stop = (&stop, &TaskTracker::new());
                        proxy.accept(&socket, until, stop, arrived).await;
                    }
                }
            });
        }
    }

    /// Reserves an unpredictable port for one data connection. One port serves many clients at once: their
    /// connections are distinguished by address and by the TLS session that they resume. Waits if no port
    /// is free for this client.
    pub async fn reserve(&self, request: PortRequest<'_>) -> Result<Reservation, Exhausted> {
        self.rendezvous.reserve(request, self.settings.reservations_per_address).await
    }

    /// For a port to become free, where none is when a client asks.
    pub fn wait(&self) -> Duration {
        self.settings.wait
    }

    /// Which sources a reservation accepts (`client_match`).
    pub fn client_match(&self) -> ClientMatch {
        self.settings.client_match
    }

    /// The address of the ports in replies to `client`, whose control connection came to `local`.
    pub fn advertised(&self, client: IpAddr, local: IpAddr) -> Result<Advertised, Unresolved> {
        self.advertiser.advertised(client, local)
    }

    /// Whether the pool's ports can be reached at `local`. With a proxy, they are at the proxy's address.
    pub fn listens_at(&self, local: IpAddr) -> bool {
        let here =
            |ip: &IpAddr| *ip == local || (ip.is_unspecified() && ip.is_ipv4() == local.is_ipv4());
        self.proxy_protocol.is_some() || self.settings.listen.iter().any(here)
    }

    /// The ports with their reservations and active connections.
    pub fn view(&self) -> PoolView {
        self.rendezvous.view(&self.ports)
    }

    /// How full it is for the next client of the busiest address: from 0 to 1, where the next PASV would wait
    /// or be refused.
    pub fn fullness(&self) -> f64 {
        self.rendezvous.fullness()
    }

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }
}

async fn accept(socket: &Acceptor, port: u16, rendezvous: &Arc<Rendezvous>) {
    loop {
        let (tcp, peer) = net::accept(socket).await;
        rendezvous.arrived(port, peer, tcp);
    }
}

/// The header names the client. A health check is ignored, and so is a connection without a named client
/// that no reservation awaits; a connection with a refused header is a stray.
fn proxied(
    port: u16,
    rendezvous: Arc<Rendezvous>,
) -> impl Fn(TcpStream, SocketAddr, Result<ProxyHeader, Refusal>) + Clone + Send + 'static {
    move |tcp, peer, received| match received {
        Ok(ProxyHeader { endpoints: Endpoints { peer, .. }, kind }) => match kind {
            HeaderKind::Local => {}
            HeaderKind::Unknown if !rendezvous.awaits(port, peer.ip()) => {}
            HeaderKind::Unknown | HeaderKind::Proxied => rendezvous.arrived(port, peer, tcp),
        },
        Err(refusal) => {
            tracing::debug!(port, %peer, pool = rendezvous.pool(), %refusal, "data connection refused");
            rendezvous.close_stray(port, tcp, peer);
        }
    }
}
