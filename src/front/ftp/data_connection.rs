//! The client's data connection: the passive one that arrives, or the active one that is made.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::data::{Active, Arrived, Reservation};
use crate::net::tls::{ControlTls, Direction};
use crate::net::{self, Stream};
use crate::op::{Failure, FailureKind};

/// After a connection whose TLS was not as it must be, for one that is better: the first may have been
/// a stranger's.
const ANOTHER: Duration = Duration::from_secs(2);

/// What PASV, EPSV, PORT or EPRT asked for.
pub(super) enum Asked {
    Passive(Reservation),
    Active { from: IpAddr, to: SocketAddr },
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
    asked: Asked,
    direction: Direction,
    protection: Option<Protection<'_>>,
    limit: Duration,
) -> Result<DataConnection, Failure> {
    let what = match &asked {
        Asked::Passive(reservation) => format!(
            "no data connection came to port {} within {}: check that firewalls let it through",
            reservation.port(),
            humantime::format_duration(limit)
        ),
        Asked::Active { to, .. } => {
            format!("no data connection to {to} within {}", humantime::format_duration(limit))
        }
    };
    if let Asked::Passive(reservation) = &asked {
        reservation.renew(limit);
    }
    match timeout(limit, made(asked, direction, protection)).await {
        Ok(connection) => connection,
        Err(_) => Err(refused(what)),
    }
}

async fn made(
    asked: Asked,
    direction: Direction,
    protection: Option<Protection<'_>>,
) -> Result<DataConnection, Failure> {
    let (stream, active) = match (asked, protection) {
        (Asked::Passive(mut reservation), None) => {
            let arrived = reservation.arrived().await.ok_or_else(expired)?;
            (Stream::Plain(arrived.tcp), Some(reservation.activate()))
        }
        (Asked::Passive(mut reservation), Some(protection)) => {
            let stream = protected(&mut reservation, direction, &protection).await?;
            (stream, Some(reservation.activate()))
        }
        (Asked::Active { from, to }, protection) => {
            let connected = connect(from, to).await;
            let tcp = connected.map_err(|e| refused(format!("connecting to {to}: {e}")))?;
            let stream = match protection {
                None => Stream::Plain(tcp),
                Some(protection) => {
                    handshake(Arrived { tcp, read: Vec::new(), peer: to }, direction, &protection)
                        .await?
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
    let strangers = reservation.strangers();
    let (mut failed, mut more) = (None, true);
    loop {
        if handshakes.is_empty() && !more {
            return Err(failed.unwrap_or_else(expired));
        }
        tokio::select! {
            arrived = reservation.arrived(), if more => match arrived {
                Some(arrived) => handshakes.push(async {
                    let peer = arrived.peer;
                    (peer, handshake(arrived, direction, protection).await)
                }),
                None => more = false,
            },
            Some((peer, made)) = handshakes.next() => match made {
                Ok(stream) => return Ok(stream),
                Err(failure) => {
                    reservation.refused(peer);
                    failed = Some(failure);
                }
            },
            () = strangers.notified() => failed = Some(not_resumed()),
            () = sleep(ANOTHER), if failed.is_some() && handshakes.is_empty() => more = false,
        }
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    let tcp = socket.connect(to).await?;
    net::prepare(&tcp);
    Ok(tcp)
}

async fn handshake(
    arrived: Arrived,
    direction: Direction,
    protection: &Protection<'_>,
) -> Result<Stream, Failure> {
    let (stream, resumed) = protection
        .tls
        .accept_data(arrived.tcp, arrived.read, direction)
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
}

fn expired() -> Failure {
    refused("no data connection came in time after EPSV or PASV: send it again")
}

fn refused(message: impl std::fmt::Display) -> Failure {
    Failure::client(FailureKind::DataConnection, message)
}
