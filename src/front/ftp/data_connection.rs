//! The client's data connection: the passive one that arrives, or the active one that is made.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::data::{Active, Reservation};
use crate::net::tls::{ControlTls, Direction};
use crate::net::{self, Stream};
use crate::op::{Failure, FailureKind};

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
    let (tcp, active) = match asked {
        Asked::Passive(mut reservation) => {
            let arrived = reservation.connected().await;
            let (tcp, active) = arrived.ok_or_else(|| refused("the data port was closed"))?;
            (tcp, Some(active))
        }
        Asked::Active { from, to } => {
            let connected = connect(from, to).await;
            (connected.map_err(|e| refused(format!("connecting to {to}: {e}")))?, None)
        }
    };
    let stream = match protection {
        None => Stream::Plain(tcp),
        Some(protection) => handshake(tcp, direction, &protection).await?,
    };
    stream.reset_on_drop();
    Ok(DataConnection { stream, active })
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    let tcp = socket.connect(to).await?;
    net::prepare(&tcp);
    Ok(tcp)
}

async fn handshake(
    tcp: TcpStream,
    direction: Direction,
    protection: &Protection<'_>,
) -> Result<Stream, Failure> {
    let (stream, resumed) = protection
        .tls
        .accept_data(tcp, direction)
        .await
        .map_err(|e| refused(format!("TLS on the data connection: {e}")))?;
    if protection.resumed && !resumed {
        stream.reset_on_drop();
        return Err(refused(
            "the data connection's TLS did not resume the control connection's session, which is \
             required here: switch session resumption on in the client, and let it use the same \
             server name (SNI) for both",
        ));
    }
    Ok(stream)
}

fn refused(message: impl std::fmt::Display) -> Failure {
    Failure::client(FailureKind::DataConnection, message)
}
