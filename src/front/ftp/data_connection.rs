//! The client's data connection: the passive one that arrives, or the active one that is made.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::data::{Active, Arrived, Reservation};
use crate::net::tls::{ControlTls, Direction};
use crate::net::{self, Stream};
use crate::op::{Failure, FailureKind};

/// After a connection whose TLS was not as it must be, for one that is better: the first may have been
/// a stranger's, and the client's own may have to send its first packet three times.
const ANOTHER: Duration = Duration::from_secs(5);
/// Source ports that are tried for one active data connection.
const SOURCE_PORTS: usize = 1024;

/// What PASV, EPSV, PORT or EPRT asked for.
pub(super) enum RequestedConnection {
    Passive(Reservation),
    Active(Target),
}

/// An active data connection that is to be made.
pub(super) struct Target {
    /// The address that the control connection came to.
    pub from: IpAddr,
    /// `None`: whichever the kernel gives.
    pub source_ports: Option<RangeInclusive<u16>>,
    pub to: SocketAddr,
}

/// How it is protected (PROT P).
pub(super) struct Protection<'a> {
    pub tls: &'a ControlTls,
    /// It must resume the control connection's TLS session.
    pub resumed: bool,
}

/// A data connection; a reset when dropped, until it is completed.
pub(super) struct DataConnection {
    pub stream: Stream,
    pub active: Option<Active>,
}

/// Makes the connection within `limit`, TLS included.
pub(super) async fn open(
    asked: RequestedConnection,
    direction: Direction,
    protection: Option<Protection<'_>>,
    limit: Duration,
) -> Result<DataConnection, Failure> {
    let what = match &asked {
        RequestedConnection::Passive(reservation) => format!(
            "no data connection came to port {} within {}: check that firewalls let it through",
            reservation.port(),
            humantime::format_duration(limit)
        ),
        RequestedConnection::Active(Target { to, .. }) => {
            format!("no data connection to {to} within {}", humantime::format_duration(limit))
        }
    };
    if let RequestedConnection::Passive(reservation) = &asked {
        reservation.renew(limit);
    }
    let tls = protection.as_ref().map(|protection| protection.tls);
    let made = timeout(limit, made(asked, direction, protection)).await;
    let made = made.unwrap_or_else(|_| {
        let hint = "see `limits.data_connect_timeout`, and `range` and `advertise` of the pool";
        Err(refused(what).with_detail(hint))
    });
    if let (Err(_), Some(tls)) = (&made, tls) {
        // Perhaps it came without resuming, and could not be told from others: the next one, where
        // that is allowed, gets a port for itself.
        tls.note_not_resumed();
    }
    made
}

async fn made(
    asked: RequestedConnection,
    direction: Direction,
    protection: Option<Protection<'_>>,
) -> Result<DataConnection, Failure> {
    let (stream, active) = match (asked, protection) {
        (RequestedConnection::Passive(mut reservation), None) => {
            let arrived = reservation.arrived().await.ok_or_else(expired)?;
            (Stream::Plain(arrived.tcp), Some(reservation.activate()))
        }
        (RequestedConnection::Passive(mut reservation), Some(protection)) => {
            let stream = protected(&mut reservation, direction, &protection).await?;
            (stream, Some(reservation.activate()))
        }
        (RequestedConnection::Active(target), protection) => {
            let told = Instant::now();
            let tcp = connect(&target).await?;
            let to = target.to;
            let stream = match protection {
                None => Stream::Plain(tcp),
                Some(protection) => {
                    let arrived = Arrived { tcp, read: Vec::new(), peer: to };
                    handshake(arrived, told, direction, &protection).await?
                }
            };
            (stream, None)
        }
    };
    stream.reset_on_drop();
    Ok(DataConnection { stream, active })
}

/// The first connection whose TLS is as it must be. What a stranger sends meanwhile holds nobody up,
/// and spoils nothing.
async fn protected(
    reservation: &mut Reservation,
    direction: Direction,
    protection: &Protection<'_>,
) -> Result<Stream, Failure> {
    let mut handshakes = FuturesUnordered::new();
    let (strangers, told) = (reservation.strangers(), reservation.since());
    let (mut failed, mut more, mut trying) = (None, true, Vec::new());
    loop {
        if handshakes.is_empty() && !more {
            return Err(failed.unwrap_or_else(expired));
        }
        tokio::select! {
            arrived = reservation.arrived(), if more => match arrived {
                Some(arrived) => {
                    let peer = arrived.peer;
                    trying.push(peer);
                    handshakes.push(async move {
                        (peer, handshake(arrived, told, direction, protection).await)
                    });
                }
                None => more = false,
            },
            Some((peer, made)) = handshakes.next() => {
                trying.retain(|trying| *trying != peer);
                match made {
                    Ok(stream) => {
                        trying.iter().for_each(|stranger| reservation.refused(*stranger));
                        return Ok(stream);
                    }
                    Err(failure) => {
                        reservation.refused(peer);
                        failed = Some(failure);
                    }
                }
            }
            () = strangers.notified() => {
                failed = Some(if protection.resumed { not_resumed() } else { went_away() });
            }
            () = sleep(ANOTHER), if failed.is_some() && handshakes.is_empty() => more = false,
        }
    }
}

async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let Target { from, source_ports, to } = target;
    let Some(ports) = source_ports else {
        let connected = connect_from(SocketAddr::new(*from, 0), *to).await;
        return connected.map_err(|e| refused(format!("connecting to {to}: {e}")));
    };
    for port in shuffled(ports) {
        match connect_from(SocketAddr::new(*from, port), *to).await {
            Ok(tcp) => return Ok(tcp),
            Err(e) if is_taken(&e) => {}
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && port < 1024 => {
                return Err(Failure::gateway(
                    FailureKind::DataConnection,
                    format!(
                        "the gateway may not connect from port {port} (`source_ports`): ports below \
                         1024 need CAP_NET_BIND_SERVICE; use EPSV or PASV"
                    ),
                ));
            }
            Err(e) => return Err(refused(format!("connecting to {to} from port {port}: {e}"))),
        }
    }
    let (first, last) = (ports.start(), ports.end());
    let ports =
        if first == last { format!("port {first}") } else { format!("ports {first}-{last}") };
    Err(Failure::gateway(
        FailureKind::DataConnection,
        format!(
            "{ports} (`source_ports`) cannot connect to {to} now: taken by other connections; name \
             another port, or use EPSV or PASV"
        ),
    ))
}

/// Bounded, and so that nobody can tell which comes next.
fn shuffled(ports: &RangeInclusive<u16>) -> Vec<u16> {
    let mut ports: Vec<u16> = ports.clone().collect();
    let chosen = ports.len().min(SOURCE_PORTS);
    for place in 0..chosen {
        let other = rand::random_range(place..ports.len());
        ports.swap(place, other);
    }
    ports.truncate(chosen);
    ports
}

/// The port listens or belongs to somebody, or a connection between the two is there already or was
/// until just now.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

async fn connect_from(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if from.port() != 0 {
        // One port has many connections, told apart by where they go.
        socket.set_reuseaddr(true)?;
    }
    socket.bind(from)?;
    let tcp = socket.connect(to).await?;
    net::prepare(&tcp);
    Ok(tcp)
}

async fn handshake(
    arrived: Arrived,
    told: Instant,
    direction: Direction,
    protection: &Protection<'_>,
) -> Result<Stream, Failure> {
    let (stream, resumed) = protection
        .tls
        .accept_data((arrived.tcp, arrived.read), told, direction)
        .await
        .map_err(|e| refused(format!("TLS on the data connection: {e}")))?;
    if protection.resumed && !resumed {
        stream.reset_on_drop();
        return Err(not_resumed());
    }
    Ok(stream)
}

fn not_resumed() -> Failure {
    refused(
        "the data connection's TLS did not resume the control connection's session, which is \
         required here: switch session resumption on in the client, and let it use the same \
         server name (SNI) for both",
    )
    .with_detail("for clients that cannot: `tls.data_sessions: any`")
}

fn went_away() -> Failure {
    refused("the data connection ended before TLS began, or resumed another session: try again")
}

fn expired() -> Failure {
    refused("no data connection came in time after EPSV or PASV: send it again")
}

fn refused(message: impl std::fmt::Display) -> Failure {
    Failure::client(FailureKind::DataConnection, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_port_is_tried_once_and_in_another_order() {
        let (one, other) = (shuffled(&(20000..=20999)), shuffled(&(20000..=20999)));
        assert_ne!(one, other);
        let mut sorted = one;
        sorted.sort_unstable();
        assert_eq!(sorted, (20000..=20999).collect::<Vec<_>>());
        assert_eq!(shuffled(&(20..=20)), [20]);
        let some = shuffled(&(1..=65535));
        let different: std::collections::HashSet<_> = some.iter().collect();
        assert_eq!((some.len(), different.len()), (SOURCE_PORTS, SOURCE_PORTS));
    }
}
