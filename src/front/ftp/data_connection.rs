//! Data connections to the client (RFC 959 section 3.2): passive and active, with and without TLS
//! (RFC 4217).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::data::{ActiveGuard, Arrived, Reservation};
use crate::net::tls::{ControlTls, DataHandshake, Direction, RefusedCertificate};
use crate::net::{self, Stream};
use crate::op::{Failure, FailureKind};

/// For another connection after one whose TLS failed: the first may have been a stranger's, and the
/// client's own may need to send its first packet three times.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Source ports that are tried for one active data connection.
const SOURCE_PORTS_MAX: usize = 1024;

/// A data connection as requested by PASV, EPSV, PORT or EPRT.
pub(super) enum RequestedConnection {
    Passive(Reservation),
    Active(Target),
}

impl RequestedConnection {
    /// For the transfer that a command opened. Gives the connection up if the command was refused.
    pub(super) fn with<T>(self, opened: Result<T, Failure>) -> Result<(Self, T), Failure> {
        match opened {
            Ok(opened) => Ok((self, opened)),
            Err(failure) => {
                self.give_up();
                Err(failure)
            }
        }
    }

    /// When it was requested.
    pub(super) fn since(&self) -> Instant {
        match self {
            Self::Passive(reservation) => reservation.since(),
            Self::Active(target) => target.since,
        }
    }

    /// Gives it up: the client may have connected already.
    pub(super) fn give_up(self) {
        if let Self::Passive(reservation) = self {
            reservation.give_up();
        }
    }
}

/// The addresses of an active data connection.
pub(super) struct Target {
    /// The local address of the control connection.
    pub from: IpAddr,
    /// `None`: any port.
    pub source_ports: Option<RangeInclusive<u16>>,
    pub to: SocketAddr,
    /// When the client named it.
    pub since: Instant,
}

/// TLS on a data connection (PROT P).
pub(super) struct Protection<'a> {
    pub tls: &'a ControlTls,
    /// Whether it must resume the control connection's TLS session.
    pub require_resumed: bool,
}

/// An established data connection. It is reset when dropped before it is completed.
pub(super) struct DataConnection {
    pub stream: Stream,
    pub active: Option<ActiveGuard>,
}

/// Establishes the connection within `limit`, TLS included.
pub(super) async fn establish(
    requested: RequestedConnection,
    direction: Direction,
    protection: Option<Protection<'_>>,
    limit: Duration,
) -> Result<DataConnection, Failure> {
    let timed_out = match &requested {
        RequestedConnection::Passive(reservation) => format!(
            "no connection to port {} within {} (limits.data_connect_timeout); check that firewalls \
             allow the data ports (range and advertise of the pool)",
            reservation.port(),
            humantime::format_duration(limit)
        ),
        RequestedConnection::Active(Target { to, .. }) => format!(
            "cannot connect to {to} within {} (limits.data_connect_timeout)",
            humantime::format_duration(limit)
        ),
    };
    let tls = protection.as_ref().map(|protection| protection.tls);
    let established = match requested {
        RequestedConnection::Passive(mut reservation) => {
            let accepted = timeout(limit, accept(&mut reservation, direction, protection)).await;
            match accepted {
                Ok(accepted) => accepted.map(|stream| (stream, Some(reservation.activate()))),
                Err(_) => {
                    reservation.time_out();
                    Err(refused(timed_out))
                }
            }
        }
        RequestedConnection::Active(target) => {
            let connected = timeout(limit, connect_out(target, direction, protection)).await;
            let connected = connected.unwrap_or_else(|_| Err(refused(timed_out)));
            connected.map(|stream| (stream, None))
        }
    };
    let established = established.map(|(stream, active)| {
        stream.reset_on_drop();
        DataConnection { stream, active }
    });
    if let (Err(_), Some(tls)) = (&established, tls) {
        // It may have arrived without resuming, and could not be matched to its session: where that
        // is allowed, the next one gets a port of its own.
        tls.note_not_resumed();
    }
    established
}

async fn accept(
    reservation: &mut Reservation,
    direction: Direction,
    protection: Option<Protection<'_>>,
) -> Result<Stream, Failure> {
    match protection {
        None => Ok(Stream::Plain(reservation.arrived().await.ok_or_else(expired)?.tcp)),
        Some(protection) => accept_tls(reservation, direction, &protection).await,
    }
}

async fn connect_out(
    target: Target,
    direction: Direction,
    protection: Option<Protection<'_>>,
) -> Result<Stream, Failure> {
    let since = Instant::now();
    let tcp = connect(&target).await?;
    let Some(protection) = protection else { return Ok(Stream::Plain(tcp)) };
    let arrived = Arrived { tcp, read: Vec::new(), peer: target.to };
    handshake(arrived, since, direction, &protection).await
}

/// Returns the first connection whose TLS handshake succeeds as required. Connections of strangers
/// neither delay nor affect it.
async fn accept_tls(
    reservation: &mut Reservation,
    direction: Direction,
    protection: &Protection<'_>,
) -> Result<Stream, Failure> {
    let mut handshakes = FuturesUnordered::new();
    let (strangers, since) = (reservation.strangers(), reservation.since());
    let (mut failed, mut expect_more, mut handshaking) = (None, true, Vec::new());
    loop {
        if handshakes.is_empty() && !expect_more {
            return Err(failed.unwrap_or_else(expired));
        }
        tokio::select! {
            arrived = reservation.arrived(), if expect_more => match arrived {
                Some(arrived) => {
                    let peer = arrived.peer;
                    handshaking.push(peer);
                    handshakes.push(async move {
                        (peer, handshake(arrived, since, direction, protection).await)
                    });
                }
                None => expect_more = false,
            },
            Some((peer, outcome)) = handshakes.next() => {
                handshaking.retain(|other| *other != peer);
                match outcome {
                    Ok(stream) => {
                        handshaking.iter().for_each(|stranger| reservation.count_stray(*stranger));
                        return Ok(stream);
                    }
                    Err(failure) => {
                        reservation.count_stray(peer);
                        failed = Some(failure);
                    }
                }
            }
            () = strangers.notified() => {
                failed = Some(if protection.require_resumed { not_resumed() } else { closed_early() });
            }
            () = sleep(RETRY_TIMEOUT), if failed.is_some() && handshakes.is_empty() => expect_more = false,
        }
    }
}

async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let Target { from, source_ports, to, .. } = target;
    let Some(ports) = source_ports else {
        let connected = connect_from(SocketAddr::new(*from, 0), *to).await;
        return connected.map_err(|e| refused(format!("cannot connect to {to}: {e}")));
    };
    for port in shuffled(ports) {
        match connect_from(SocketAddr::new(*from, port), *to).await {
            Ok(tcp) => return Ok(tcp),
            Err(e) if is_in_use(&e) => {}
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && port < 1024 => {
                return Err(Failure::gateway(
                    FailureKind::DataConnection,
                    format!(
                        "the gateway may not connect from port {port} (active.source_ports): ports \
                         below 1024 need CAP_NET_BIND_SERVICE; use EPSV or PASV"
                    ),
                ));
            }
            Err(e) => return Err(refused(format!("cannot connect to {to} from port {port}: {e}"))),
        }
    }
    let (first, last) = (ports.start(), ports.end());
    let ports =
        if first == last { format!("port {first}") } else { format!("ports {first}-{last}") };
    Err(Failure::gateway(
        FailureKind::DataConnection,
        format!(
            "{ports} (active.source_ports) cannot connect to {to} now: in use by other connections; \
             use another port, EPSV or PASV"
        ),
    ))
}

/// At most [`SOURCE_PORTS_MAX`] of them, in an unpredictable order.
fn shuffled(ports: &RangeInclusive<u16>) -> Vec<u16> {
    let mut ports: Vec<u16> = ports.clone().collect();
    let chosen = ports.len().min(SOURCE_PORTS_MAX);
    for index in 0..chosen {
        let other = rand::random_range(index..ports.len());
        ports.swap(index, other);
    }
    ports.truncate(chosen);
    ports
}

/// The port is in use, or a connection between the two ports exists or was closed just now.
fn is_in_use(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

async fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if from.port() != 0 {
        // One port has many connections to different addresses.
        socket.set_reuseaddr(true)?;
    }
    socket.bind(from)?;
    let tcp = socket.connect(to).await?;
    net::prepare(&tcp);
    Ok(tcp)
}

async fn handshake(
    arrived: Arrived,
    since: Instant,
    direction: Direction,
    protection: &Protection<'_>,
) -> Result<Stream, Failure> {
    let DataHandshake { stream, resumed, is_foreign } = protection
        .tls
        .accept_data((arrived.tcp, arrived.read), since, direction)
        .await
        .map_err(|error| handshake_failed(&error))?;
    let refusal = match (resumed, is_foreign) {
        (false, true) => foreign(),
        (false, false) if protection.require_resumed => not_resumed(),
        _ => return Ok(stream),
    };
    stream.reset_on_drop();
    Err(refusal)
}

fn handshake_failed(error: &io::Error) -> Failure {
    if let Some(refused) = RefusedCertificate::of(error) {
        return foreign().with_detail(refused);
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(rustls::Error::NoCertificatesPresented) => foreign(),
        _ => refused(format!("TLS handshake failed: {error}")),
    }
}

fn not_resumed() -> Failure {
    refused(
        "TLS session reuse required (tls.data_sessions: resumed); enable session resumption in the \
         client, with the same server name (SNI) for both connections",
    )
}

fn foreign() -> Failure {
    refused(
        "another client certificate than on the control connection, or none (tls.client_certificate); use \
         the same one for both, or enable session resumption in the client",
    )
}

fn closed_early() -> Failure {
    refused("the connection ended before its TLS handshake, or resumed another session; try again")
}

fn expired() -> Failure {
    refused("no connection in time after EPSV or PASV; send it again")
}

fn refused(message: impl std::fmt::Display) -> Failure {
    Failure::client(FailureKind::DataConnection, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_ports_are_shuffled_without_duplicates() {
        let (first, second) = (shuffled(&(20000..=20999)), shuffled(&(20000..=20999)));
        assert_ne!(first, second);
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (20000..=20999).collect::<Vec<_>>());
        assert_eq!(shuffled(&(20..=20)), [20]);
        let some = shuffled(&(1..=65535));
        let different: std::collections::HashSet<_> = some.iter().collect();
        assert_eq!((some.len(), different.len()), (SOURCE_PORTS_MAX, SOURCE_PORTS_MAX));
    }
}
