//! Connects to the server of one backend: the addresses in order, each within its limit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::metrics::OfBackend;
use super::queue::Queue;
use super::time::{ConnectEnd, Connecting};
use crate::net::prepare;

/// Connects to the server of one backend.
pub struct Connector {
    addresses: Vec<(String, Arc<Queue>)>,
    /// The address of this machine that connections come from.
    source: Option<IpAddr>,
    pub(super) metrics: Arc<OfBackend>,
}

impl Connector {
    /// The default of `connects_at_once`.
    pub const DEFAULT_CONNECTS_AT_ONCE_MAX: usize = 8;

    pub(super) fn new(addresses: Vec<(String, Arc<Queue>)>, metrics: Arc<OfBackend>) -> Self {
        Self { addresses, source: None, metrics }
    }

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
        let slot = queue.slot(&self.metrics, limit).await?;
        match timeout(limit, connect_from(self.source, server)).await {
            Ok(Ok(tcp)) => {
                prepare(&tcp);
                queue.note_connected();
                slot.hold_until_answered(&tcp);
                Ok(tcp)
            }
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("the connection timed out".to_owned()),
        }
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
