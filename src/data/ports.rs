//! The passive ports: one listener for each port and listen address, opened at start.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::advertise::{Advertise, Advertised, Advertiser, Unresolved};
use super::metrics::PoolMetrics;
use super::rendezvous::{ClientMatch, Exhausted, PortRequest, Rendezvous, Reservation, Rules};
use super::view::PoolView;
use crate::net::task;
use crate::net::{self, Endpoints, HeaderKind, ProxyHeader, ProxyProtocol, Refusal};

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

/// The bound ports of a pool. Ports are never bound or closed while the gateway runs.
pub struct Pool {
    settings: PoolSettings,
    /// In order.
    pub(super) ports: Vec<u16>,
    listeners: std::sync::Mutex<Vec<TcpListener>>,
    proxy_protocol: Option<Arc<ProxyProtocol>>,
    pub(super) rendezvous: Arc<Rendezvous>,
    advertiser: Advertiser,
}

impl Pool {
    /// Opens all ports, or none. Must be called within a tokio runtime.
    pub fn bind(settings: PoolSettings, metrics: &PoolMetrics) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        let mut ports = BTreeSet::new();
        let requested: Vec<u16> = match &settings.ports {
            Ports::Range(range) => range.clone().collect(),
            Ports::Ephemeral(count) => vec![0; usize::from(*count)],
        };
        for port in requested {
            for ip in &settings.listen {
                let address = SocketAddr::new(*ip, port);
                let bind = || -> io::Result<(TcpListener, u16)> {
                    let listener = net::listen(address)?;
                    let port = listener.local_addr()?.port();
                    Ok((listener, port))
                };
                let (listener, port) = bind().map_err(|reason| BindError {
                    pool: settings.name.clone(),
                    address,
                    reason,
                })?;
                listeners.push(listener);
                ports.insert(port);
            }
        }
        let metrics = Arc::new(metrics.handles(&settings.name));
        metrics.size.set(i64::try_from(ports.len()).unwrap_or(i64::MAX));
        let ports: Vec<u16> = ports.into_iter().collect();
        let rules = Rules {
            client_match: settings.client_match,
            per_address: settings.reservations_per_address,
            queue: MAX_QUEUE,
        };
        let proxy_protocol = (!settings.proxy_protocol.is_empty()).then(|| {
            let trusted = settings.proxy_protocol.clone();
            Arc::new(ProxyProtocol::new(trusted, metrics.proxy_refused.clone()))
        });
        let rendezvous = Rendezvous::new(&settings.name, ports.clone(), rules, metrics);
        Ok(Self {
            ports,
            listeners: std::sync::Mutex::new(listeners),
            proxy_protocol,
            rendezvous: Arc::new(rendezvous),
            advertiser: Advertiser::new(&settings.name, &settings.advertise),
            settings,
        })
    }

    /// Accepts on all ports, until `stop`.
    pub fn serve(&self, stop: &CancellationToken) {
        self.advertiser.serve(stop);
        let mut listeners =
            self.listeners.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for listener in listeners.drain(..) {
            let rendezvous = self.rendezvous.clone();
            let (proxy_protocol, stop) = (self.proxy_protocol.clone(), stop.clone());
            task::spawn(async move {
                match proxy_protocol {
                    None => {
                        stop.run_until_cancelled(accept(listener, &rendezvous)).await;
                    }
                    Some(proxy) => accept_proxied(listener, &proxy, rendezvous, &stop).await,
                }
            });
        }
        let (rendezvous, stop) = (self.rendezvous.clone(), stop.clone());
        task::spawn(
            async move { stop.run_until_cancelled(rendezvous.expire_reservations()).await },
        );
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

    /// The name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }
}

async fn accept(listener: TcpListener, rendezvous: &Arc<Rendezvous>) {
    let Ok(local) = listener.local_addr() else { return };
    loop {
        let (tcp, peer) = net::accept(&listener).await;
        rendezvous.arrived(local.port(), peer, tcp);
    }
}

/// The header names the client. A health check is ignored, and so is a connection without a named client
/// that no reservation awaits; a connection with a refused header is a stray.
async fn accept_proxied(
    listener: TcpListener,
    proxy_protocol: &Arc<ProxyProtocol>,
    rendezvous: Arc<Rendezvous>,
    stop: &CancellationToken,
) {
    let Ok(local) = listener.local_addr() else { return };
    let port = local.port();
    let arrived = move |tcp, peer: SocketAddr, received: Result<ProxyHeader, Refusal>| {
        match received {
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
    };
    proxy_protocol.accept(&listener, stop, arrived).await;
}
