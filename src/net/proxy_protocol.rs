//! Connections that a load balancer makes for clients: whose they are stands in a header before
//! everything else (see [`crate::wire::proxy`]).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use prometheus::IntCounter;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use crate::wire::proxy::{self, Header, HeaderError, MAX_V2};

/// For a header to be there whole: proxies send it with the connection.
const LIMIT: Duration = Duration::from_secs(5);
/// Headers that are waited for at once, at one listener or pool. Beyond it connections wait in the
/// kernel's queue.
const WAITING: usize = 1024;

/// Takes connections from proxies.
pub struct ProxyProtocol {
    trusted: Vec<IpNet>,
    refused: IntCounter,
    limit: Duration,
    waiting: Arc<Semaphore>,
}

/// Both ends of a connection, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    pub peer: SocketAddr,
    /// What the client connected to.
    pub local: SocketAddr,
}

/// What a proxy said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduced {
    pub endpoints: Endpoints,
    pub told: Told,
}

/// Of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Addresses,
    /// UNKNOWN, or the proxy's own address: so HAProxy looks whether somebody is there where it speaks
    /// version 1.
    Nothing,
    /// LOCAL: the proxy looks whether somebody is there.
    HealthCheck,
}

/// Why a connection that should begin with a header is closed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(
        "it comes from none of the networks of `proxy_protocol`, and others could forge a header"
    )]
    Untrusted,
    #[error("no whole PROXY protocol header came within {}", humantime::format_duration(*.0))]
    NotInTime(Duration),
    /// It looked whether somebody is here.
    #[error("it closed without a word")]
    Silent,
    #[error("it closed before its PROXY protocol header was whole")]
    Closed,
    #[error("its PROXY protocol header could not be read: {0}")]
    Broken(#[from] io::Error),
    #[error("its PROXY protocol header is refused: {0}")]
    Header(#[from] HeaderError),
}

impl ProxyProtocol {
    /// `trusted`: where proxies are. What they say is believed, and they must say it; nobody else may
    /// connect. `refused` counts the connections that are closed for that, or for their headers.
    pub fn new(trusted: Vec<IpNet>, refused: IntCounter) -> Self {
        Self { trusted, refused, limit: LIMIT, waiting: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Accepts until `stop`. Headers are read in tasks of their own, a bounded number of them: who is
    /// slow with one holds nobody up. `arrived` gets the address that each connection really comes
    /// from, and must not block.
    pub async fn accept(
        self: &Arc<Self>,
        socket: &TcpListener,
        stop: &CancellationToken,
        arrived: impl Fn(TcpStream, SocketAddr, Result<Introduced, Refusal>) + Clone + Send + 'static,
    ) {
        stop.run_until_cancelled(async {
            loop {
                let (mut tcp, from) = accept(socket).await;
                if !self.trusts(from.ip()) {
                    self.refused.inc();
                    arrived(tcp, from, Err(Refusal::Untrusted));
                    continue;
                }
                // The semaphore is never closed.
                let Ok(place) = self.waiting.clone().acquire_owned().await else { return };
                let (own, stop, arrived) = (self.clone(), stop.clone(), arrived.clone());
                tokio::spawn(async move {
                    let received = own.receive(&mut tcp, from);
                    let received = stop.run_until_cancelled(received).await;
                    drop(place);
                    if let Some(received) = received {
                        let refused =
                            received.as_ref().is_err_and(|it| !matches!(it, Refusal::Silent));
                        own.refused.inc_by(refused.into());
                        arrived(tcp, from, received);
                    }
                });
            }
        })
        .await;
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    async fn receive(&self, tcp: &mut TcpStream, from: SocketAddr) -> Result<Introduced, Refusal> {
        let header = timeout(self.limit, read(tcp)).await;
        let header = header.unwrap_or(Err(Refusal::NotInTime(self.limit)))?;
        let (endpoints, told) = match header {
            Header::Proxied { source, destination } => {
                let told = if source == from { Told::Nothing } else { Told::Addresses };
                (Endpoints { peer: source, local: destination }, told)
            }
            Header::Unknown => (Endpoints::of(tcp, from)?, Told::Nothing),
            Header::Local => (Endpoints::of(tcp, from)?, Told::HealthCheck),
        };
        Ok(Introduced { endpoints, told })
    }
}

impl Endpoints {
    /// Of a connection without a proxy.
    pub fn of(tcp: &TcpStream, peer: SocketAddr) -> io::Result<Self> {
        let local = tcp.local_addr()?;
        Ok(Self { peer, local: SocketAddr::new(local.ip().to_canonical(), local.port()) })
    }
}

/// Takes the header and not a byte more: what follows it may be a file that goes on without passing
/// through here.
async fn read(tcp: &mut TcpStream) -> Result<Header, Refusal> {
    let mut buffer = [0; MAX_V2];
    let mut read = 0;
    loop {
        let rest = buffer.get_mut(read..).unwrap_or_default();
        let there = match tcp.peek(rest).await {
            // Some balancers' checks end with a reset.
            Err(error) if read == 0 && error.kind() == io::ErrorKind::ConnectionReset => 0,
            there => there?,
        };
        if there == 0 {
            return Err(if read == 0 { Refusal::Silent } else { Refusal::Closed });
        }
        let seen = buffer.get(..read + there).unwrap_or_default();
        let decoded = proxy::decode(seen)?;
        // Where the header goes on, all that is there belongs to it.
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

    type Arrived = (TcpStream, SocketAddr, Result<Introduced, Refusal>);

    struct TestListener {
        address: SocketAddr,
        other: SocketAddr,
        arrived: mpsc::UnboundedReceiver<Arrived>,
        refused: IntCounter,
        stop: CancellationToken,
    }

    /// Two sockets of one listener that trusts 127.0.0.1 alone.
    async fn listener(limit: Duration, waiting: usize) -> TestListener {
        let refused = IntCounter::new("refused", "refused").unwrap();
        let trusted = vec!["127.0.0.1/32".parse().unwrap()];
        let waiting = Arc::new(Semaphore::new(waiting));
        let proxy =
            ProxyProtocol { limit, waiting, ..ProxyProtocol::new(trusted, refused.clone()) };
        let proxy = Arc::new(proxy);
        let (tell, arrived) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(socket.local_addr().unwrap());
            let (proxy, tell, until) = (proxy.clone(), tell.clone(), stop.clone());
            tokio::spawn(async move {
                let tell = move |tcp, from, received| tell.send((tcp, from, received)).unwrap();
                proxy.accept(&socket, &until, tell).await;
            });
        }
        let (address, other) = (addresses[0], addresses[1]);
        TestListener { address, other, arrived, refused, stop }
    }

    async fn said(listener: &TestListener, bytes: &[u8]) -> TcpStream {
        let mut tcp = TcpStream::connect(listener.address).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        tcp
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_follows_a_header_stays_in_the_socket() {
        let mut listener = listener(LONG, 8).await;
        let source = "[2001:db8::1]:5000".parse().unwrap();
        let binary = proxy::encode(source, "198.51.100.7:21".parse().unwrap());
        let local = "198.51.100.7:21".parse().unwrap();
        for (header, peer) in
            [(CLIENT.as_bytes(), "192.0.2.1:5000".parse().unwrap()), (&binary, source)]
        {
            let mut tcp = said(&listener, &[header, b"USER anna\r\n"].concat()).await;
            let (mut far, from, introduced) = listener.arrived.recv().await.unwrap();
            assert_eq!(from, tcp.local_addr().unwrap());
            let endpoints = Endpoints { peer, local };
            assert_eq!(introduced.unwrap(), Introduced { endpoints, told: Told::Addresses });
            tcp.shutdown().await.unwrap();
            let mut rest = Vec::new();
            far.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"USER anna\r\n");
        }
    }

    #[tokio::test]
    async fn a_header_may_come_byte_by_byte_and_say_nothing() {
        let mut listener = listener(LONG, 8).await;
        for (header, told) in [
            (Some(&b"PROXY UNKNOWN\r\n"[..]), Told::Nothing),
            (Some(HEALTH_CHECK), Told::HealthCheck),
            (None, Told::Nothing),
        ] {
            let mut tcp = said(&listener, b"").await;
            tcp.set_nodelay(true).unwrap();
            let (own, to) = (tcp.local_addr().unwrap(), listener.address);
            let names_itself =
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), to.port());
            for byte in header.unwrap_or(names_itself.as_bytes()) {
                tcp.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            let introduced = listener.arrived.recv().await.unwrap().2.unwrap();
            let endpoints = Endpoints { peer: tcp.local_addr().unwrap(), local: listener.address };
            assert_eq!(introduced, Introduced { endpoints, told });
        }
        assert_eq!(listener.refused.get(), 0);
    }

    #[tokio::test]
    async fn what_is_not_believed_or_understood_is_refused() {
        let mut listener = listener(LONG, 8).await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stranger = socket.connect(listener.address).await.unwrap();
        stranger.write_all(CLIENT.as_bytes()).await.unwrap();
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::Untrusted)));

        let _tcp = said(&listener, b"USER anna\r\n").await;
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::Header(HeaderError::Signature))));

        drop(said(&listener, b"PROXY TCP4 1").await);
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::Closed)));
        assert_eq!(listener.refused.get(), 3);
    }

    #[tokio::test]
    async fn a_connection_that_ends_or_is_reset_without_a_word_is_not_counted() {
        let mut listener = listener(LONG, 8).await;
        for reset in [false, true] {
            let tcp = said(&listener, b"").await;
            if reset {
                socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(tcp);
            let (.., refusal) = listener.arrived.recv().await.unwrap();
            assert!(matches!(refusal, Err(Refusal::Silent)), "{refusal:?}");
        }
        assert_eq!(listener.refused.get(), 0);
    }

    #[tokio::test]
    async fn who_is_slow_holds_nobody_up_and_has_a_limit() {
        let mut listener = listener(Duration::from_millis(200), 2).await;
        let _slow = said(&listener, b"PROXY ").await;
        let _quick = said(&listener, CLIENT.as_bytes()).await;
        assert!(listener.arrived.recv().await.unwrap().2.is_ok());
        let (.., refusal) = listener.arrived.recv().await.unwrap();
        assert!(matches!(refusal, Err(Refusal::NotInTime(_))));
        // As many slow ones as may be at once: their time ends, and the next one's begins.
        let _slow = (said(&listener, b"P").await, said(&listener, b"P").await);
        let _quick = said(&listener, CLIENT.as_bytes()).await;
        let mut ok = 0;
        for _ in 0..3 {
            ok += usize::from(listener.arrived.recv().await.unwrap().2.is_ok());
        }
        assert_eq!((ok, listener.refused.get()), (1, 3));
    }

    #[tokio::test]
    async fn sockets_where_nobody_comes_take_no_place() {
        let mut listener = listener(LONG, 1).await;
        for address in [listener.address, listener.other, listener.address] {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.write_all(CLIENT.as_bytes()).await.unwrap();
            assert!(listener.arrived.recv().await.unwrap().2.is_ok());
        }
    }

    #[tokio::test]
    async fn the_end_closes_those_whose_header_is_not_there() {
        let mut listener = listener(LONG, 8).await;
        let mut slow = said(&listener, b"PROXY ").await;
        let _other = said(&listener, CLIENT.as_bytes()).await;
        assert!(listener.arrived.recv().await.unwrap().2.is_ok());
        listener.stop.cancel();
        assert_eq!(slow.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(listener.arrived.recv().await.is_none());
    }
}
