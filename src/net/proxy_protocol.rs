//! Connections that a load balancer makes for clients: each begins with a PROXY protocol header that
//! holds the client's address (see [`crate::wire::proxy`]).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use prometheus::IntCounter;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Acceptor;
use super::accept::accept;
use crate::task;
use crate::wire::proxy::{self, Header, HeaderError, MAX_V2_HEADER};

/// For the whole header: proxies send it as soon as they connect.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of one listener or pool whose header is incomplete. Further ones wait in the kernel's
/// queue.
const PENDING_MAX: usize = 1024;

/// Accepts connections from trusted proxies.
pub struct ProxyProtocol {
    trusted: Vec<IpNet>,
    refused: IntCounter,
    limit: Duration,
    pending: Arc<Semaphore>,
}

/// Both ends of a connection, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// The client's address and port.
    pub peer: SocketAddr,
    /// What the client connected to.
    pub local: SocketAddr,
}

/// What a proxy reported about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// From the header; those of the proxy's own connection where the header names no client.
    pub endpoints: Endpoints,
    /// Whether the header names a client.
    pub kind: HeaderKind,
}

/// The owner of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderKind {
    /// A client's, with its addresses.
    Proxied,
    /// UNKNOWN, or the proxy's own address, which is how HAProxy's health checks look in version 1.
    Unknown,
    /// LOCAL: a health check.
    Local,
}

/// Why a connection that must begin with a header was closed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The connection comes from an address outside of `proxy_protocol`; nothing was read.
    #[error(
        "its address is in none of the networks of `proxy_protocol`: anyone else could forge a header"
    )]
    Untrusted,
    /// The header was not complete within this time.
    #[error("no complete PROXY protocol header arrived within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// A port check.
    #[error("it closed without sending anything")]
    NothingSent,
    /// It ended after the first bytes of the header.
    #[error("it closed before its PROXY protocol header was complete")]
    Closed,
    /// Reading the header failed.
    #[error("its PROXY protocol header could not be read: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not a valid header of version 1 or 2.
    #[error("its PROXY protocol header is invalid: {0}")]
    Header(#[from] HeaderError),
}

impl ProxyProtocol {
    /// `trusted`: the proxies' networks; every other address is refused. `refused` counts the
    /// connections that are refused for their address or header.
    pub fn new(trusted: Vec<IpNet>, refused: IntCounter) -> Self {
        Self {
            trusted,
            refused,
            limit: HEADER_TIMEOUT,
            pending: Arc::new(Semaphore::new(PENDING_MAX)),
        }
    }

    /// Accepts until `until`; at `stop`, connections whose header is incomplete are closed, too. A bounded
    /// number of tasks, which `headers` tracks, read the headers, so a slow proxy delays no other connection.
    /// `handler` gets the address that each connection really comes from, and must not block.
    pub async fn accept(
        self: &Arc<Self>,
        socket: &Acceptor,
        until: impl Future<Output = ()>,
        (stop, headers): (&CancellationToken, &TaskTracker),
        handler: impl Fn(TcpStream, SocketAddr, Result<ProxyHeader, Refusal>) + Clone + Send + 'static,
    ) {
        let mut until = pin!(until);
        stop.run_until_cancelled(async {
            loop {
                let (mut tcp, from) = tokio::select! {
                    () = &mut until => return,
                    accepted = accept(socket) => accepted,
                };
                if !self.trusts(from.ip()) {
                    self.refused.inc();
                    handler(tcp, from, Err(Refusal::Untrusted));
                    continue;
                }
                // The semaphore is never closed.
                let Ok(permit) = self.pending.clone().acquire_owned().await else { return };
                let (this, stop, handler) = (self.clone(), stop.clone(), handler.clone());
                let reading = async move {
                    let received = this.receive(&mut tcp, from);
                    let received = stop.run_until_cancelled(received).await;
                    drop(permit);
                    if let Some(received) = received {
                        let refused =
                            received.as_ref().is_err_and(|it| !matches!(it, Refusal::NothingSent));
                        this.refused.inc_by(refused.into());
                        handler(tcp, from, received);
                    }
                };
                task::spawn_tracked(headers, reading);
            }
        })
        .await;
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    async fn receive(&self, tcp: &mut TcpStream, from: SocketAddr) -> Result<ProxyHeader, Refusal> {
        let header = timeout(self.limit, read(tcp)).await;
        let header = header.unwrap_or(Err(Refusal::TimedOut(self.limit)))?;
        let (endpoints, kind) = match header {
            Header::Proxied { source, destination } => {
                let kind = if source == from { HeaderKind::Unknown } else { HeaderKind::Proxied };
                (Endpoints { peer: source, local: destination }, kind)
            }
            Header::Unknown => (Endpoints::of(tcp, from)?, HeaderKind::Unknown),
            Header::Local => (Endpoints::of(tcp, from)?, HeaderKind::Local),
        };
        Ok(ProxyHeader { endpoints, kind })
    }
}

impl Endpoints {
    /// Of a connection without a proxy.
    pub fn of(tcp: &TcpStream, peer: SocketAddr) -> io::Result<Self> {
        let local = tcp.local_addr()?;
        Ok(Self { peer, local: SocketAddr::new(local.ip().to_canonical(), local.port()) })
    }
}

/// Reads the header and not a byte more: on a data connection the file follows, and is read elsewhere.
async fn read(tcp: &mut TcpStream) -> Result<Header, Refusal> {
    let mut buffer = [0; MAX_V2_HEADER];
    let mut read = 0;
    loop {
        let rest = buffer.get_mut(read..).unwrap_or_default();
        let there = match tcp.peek(rest).await {
            // Some load balancers end a check with a reset.
            Err(error) if read == 0 && error.kind() == io::ErrorKind::ConnectionReset => 0,
            there => there?,
        };
        if there == 0 {
            return Err(if read == 0 { Refusal::NothingSent } else { Refusal::Closed });
        }
        let seen = buffer.get(..read + there).unwrap_or_default();
        let decoded = proxy::decode(seen)?;
        // All received bytes belong to an incomplete header.
        let end = decoded.map_or(seen.len(), |decoded| decoded.length);
        let own = buffer.get_mut(read..end).unwrap_or_default();
        tcp.read_exact(own).await?;
        read = end;
        if let Some(decoded) = decoded {
            return Ok(decoded.header);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::sync::mpsc;

    use super::*;

    const CLIENT: &str = "PROXY TCP4 192.0.2.1 198.51.100.7 5000 21\r\n";
    /// LOCAL, version 2.
    const HEALTH_CHECK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

    type Arrived = (TcpStream, SocketAddr, Result<ProxyHeader, Refusal>);

    struct TestListener {
        address: SocketAddr,
        other: SocketAddr,
        arrived: mpsc::UnboundedReceiver<Arrived>,
        refused: IntCounter,
        stop: CancellationToken,
    }

    /// Two sockets of one listener that trusts 127.0.0.1 alone.
    async fn listener(limit: Duration, pending: usize) -> TestListener {
        let refused = IntCounter::new("refused", "refused").unwrap();
        let trusted = vec!["127.0.0.1/32".parse().unwrap()];
        let pending = Arc::new(Semaphore::new(pending));
        let proxy =
            ProxyProtocol { limit, pending, ..ProxyProtocol::new(trusted, refused.clone()) };
        let proxy = Arc::new(proxy);
        let (sender, arrived) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let socket = Acceptor::new(socket);
            addresses.push(socket.local_addr().unwrap());
            let (proxy, sender, until) = (proxy.clone(), sender.clone(), stop.clone());
            tokio::spawn(async move {
                let sender = move |tcp, from, received| sender.send((tcp, from, received)).unwrap();
                let stop = (&until, &TaskTracker::new());
                proxy.accept(&socket, std::future::pending(), stop, sender).await;
            });
        }
        let (address, other) = (addresses[0], addresses[1]);
        TestListener { address, other, arrived, refused, stop }
    }

    async fn client(listener: &TestListener, bytes: &[u8]) -> TcpStream {
        let mut tcp = TcpStream::connect(listener.address).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        tcp
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn bytes_after_the_header_stay_in_the_socket() {
        let mut listener = listener(LONG, 8).await;
        let source = "[2001:db8::1]:5000".parse().unwrap();
        let binary = proxy::encode(source, "198.51.100.7:21".parse().unwrap());
        let local = "198.51.100.7:21".parse().unwrap();
        for (header, peer) in
            [(CLIENT.as_bytes(), "192.0.2.1:5000".parse().unwrap()), (&binary, source)]
        {
            let mut tcp = client(&listener, &[header, b"USER anna\r\n"].concat()).await;
            let (mut far, from, header) = listener.arrived.recv().await.unwrap();
            assert_eq!(from, tcp.local_addr().unwrap());
            let endpoints = Endpoints { peer, local };
            assert_eq!(header.unwrap(), ProxyHeader { endpoints, kind: HeaderKind::Proxied });
            tcp.shutdown().await.unwrap();
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"USER anna\r\n");
        }
    }

    #[tokio::test]
    async fn a_header_without_a_client_address_may_arrive_byte_by_byte() {
        let mut listener = listener(LONG, 8).await;
        for (header, kind) in [
            (Some(&b"PROXY UNKNOWN\r\n"[..]), HeaderKind::Unknown),
            (Some(HEALTH_CHECK), HeaderKind::Local),
            (None, HeaderKind::Unknown),
        ] {
            let mut tcp = client(&listener, b"").await;
            tcp.set_nodelay(true).unwrap();
            let (own, to) = (tcp.local_addr().unwrap(), listener.address);
            let own_address =
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), to.port());
            for byte in header.unwrap_or(own_address.as_bytes()) {
                tcp.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            let header = listener.arrived.recv().await.unwrap().2.unwrap();
            let endpoints = Endpoints { peer: tcp.local_addr().unwrap(), local: listener.address };
            assert_eq!(header, ProxyHeader { endpoints, kind });
        }
        assert_eq!(listener.refused.get(), 0);
    }

    #[tokio::test]
    async fn an_untrusted_address_and_an_invalid_header_are_refused() {
        let mut listener = listener(LONG, 8).await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stranger = socket.connect(listener.address).await.unwrap();
        stranger.write_all(CLIENT.as_bytes()).await.unwrap();
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::Untrusted)));

        let _tcp = client(&listener, b"USER anna\r\n").await;
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::Header(HeaderError::Signature))));

        drop(client(&listener, b"PROXY TCP4 1").await);
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::Closed)));
        assert_eq!(listener.refused.get(), 3);
    }

    #[tokio::test]
    async fn a_connection_that_sends_nothing_is_not_counted_as_refused() {
        let mut listener = listener(LONG, 8).await;
        for reset in [false, true] {
            let tcp = client(&listener, b"").await;
            if reset {
                socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(tcp);
            let (.., refusal) = listener.arrived.recv().await.unwrap();
            assert!(matches!(refusal, Err(Refusal::NothingSent)), "{refusal:?}");
        }
        assert_eq!(listener.refused.get(), 0);
    }

    #[tokio::test]
    async fn a_slow_proxy_delays_no_other_connection_and_times_out() {
        let mut listener = listener(Duration::from_millis(200), 2).await;
        let _slow = client(&listener, b"PROXY ").await;
        let _quick = client(&listener, CLIENT.as_bytes()).await;
        assert!(listener.arrived.recv().await.unwrap().2.is_ok());
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::TimedOut(_))));
        // As many slow ones as are allowed at once: they time out, then the next one is read.
        let _slow = (client(&listener, b"P").await, client(&listener, b"P").await);
        let _quick = client(&listener, CLIENT.as_bytes()).await;
        let mut ok = 0;
        for _ in 0..3 {
            ok += usize::from(listener.arrived.recv().await.unwrap().2.is_ok());
        }
        assert_eq!((ok, listener.refused.get()), (1, 3));
    }

    #[tokio::test]
    async fn idle_sockets_take_no_pending_permit() {
        let mut listener = listener(LONG, 1).await;
        for address in [listener.address, listener.other, listener.address] {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.write_all(CLIENT.as_bytes()).await.unwrap();
            assert!(listener.arrived.recv().await.unwrap().2.is_ok());
        }
    }

    #[tokio::test]
    async fn stopping_closes_connections_whose_header_is_incomplete() {
        let mut listener = listener(LONG, 8).await;
        let mut slow = client(&listener, b"PROXY ").await;
        let _other = client(&listener, CLIENT.as_bytes()).await;
        assert!(listener.arrived.recv().await.unwrap().2.is_ok());
        listener.stop.cancel();
        assert_eq!(slow.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(listener.arrived.recv().await.is_none());
    }
}
