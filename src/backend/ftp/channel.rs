//! Data connections to a server: EPSV and PASV, EPRT and PORT (RFC 959, RFC 2428), TLS (RFC 4217).

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::connection::Connection;
use super::reply;
use super::settings::DataMode;
use crate::net::{self, Stream};
use crate::op::{Failure, FailureKind, Words};
use crate::wire::ftp::host_port::{format_eprt, format_port, parse_epsv_reply, parse_pasv_reply};

/// How often a server is asked for a port before its 425 is told to the client.
const PORT_TRIES: usize = 3;

enum Opening {
    Connected(TcpStream),
    Listening(TcpListener),
}

/// Makes a data connection and sends the command that uses it. Dropping the connection is a reset from
/// its first moment on: an end by FIN would mean *complete* for an upload. On success the server has said 1xx
/// and its last reply is still to come; after a failure the control connection is in step, or given
/// up.
pub(super) async fn start(
    connection: &mut Connection,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Result<(Stream, Words), Failure> {
    let peer = address(connection)?;
    let opening = match connection.settings.data_mode {
        DataMode::Passive => Opening::Connected(passive(connection, peer).await?),
        DataMode::Active => Opening::Listening(active(connection).await?),
    };
    // An offset that a refused transfer left behind at the server is taken back.
    if offset > 0 || connection.restart_pending {
        connection.expect(3, "REST", Some(offset.to_string().as_bytes())).await?;
        connection.restart_pending = offset > 0;
    }
    let preliminary = connection.expect(1, verb, argument).await?;
    connection.restart_pending = false;
    match establish(connection, opening, peer).await {
        Ok(stream) => Ok((stream, preliminary)),
        Err(failure) => Err(explain(connection, failure).await),
    }
}

fn address(connection: &mut Connection) -> Result<IpAddr, Failure> {
    let peer = connection.control.stream().peer_addr();
    let peer = peer.map_err(|e| reply::unavailable(format!("its address: {e}")));
    Ok(connection.noted(peer)?.ip().to_canonical())
}

async fn passive(connection: &mut Connection, peer: IpAddr) -> Result<TcpStream, Failure> {
    let address = passive_address(connection, peer).await?;
    let limit = connection.settings.connect_timeout;
    let tcp = match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(e)) => return Err(no_channel(format!("connecting to {address}: {e}"))),
        Err(_) => return Err(no_channel(format!("connecting to {address}: not in time"))),
    };
    net::prepare(&tcp);
    net::reset_on_drop(&tcp);
    Ok(tcp)
}

/// EPSV first, since it works through address translation; PASV for servers that refuse it, and
/// where the address that PASV names is to be trusted.
async fn passive_address(connection: &mut Connection, peer: IpAddr) -> Result<SocketAddr, Failure> {
    let trusted = connection.settings.trust_pasv_address;
    if peer.is_ipv6() || !(connection.epsv_refused || trusted) {
        let words = ask_for_port(connection, "EPSV").await?;
        match words.code {
            229 => {
                let port = parse_epsv_reply(&words.lines.concat());
                let port = port.map_err(|_| not_understood("EPSV", &words))?;
                return Ok(SocketAddr::new(peer, port));
            }
            500..=599 if peer.is_ipv4() => connection.epsv_refused = true,
            _ => return Err(reply::failure("EPSV", words)),
        }
    }
    let words = ask_for_port(connection, "PASV").await?;
    let words = reply::expect(2, "PASV", words);
    let words = connection.noted(words)?;
    let named = parse_pasv_reply(&words.lines.concat());
    let named = named.map_err(|_| not_understood("PASV", &words))?;
    // Servers behind address translation name an address that is not theirs, and bad ones somebody
    // else's.
    let ip = if trusted { IpAddr::V4(*named.ip()) } else { peer };
    Ok(SocketAddr::new(ip, named.port()))
}

/// 425 to EPSV or PASV is worth another try: ProFTPD and pure-ftpd say it when two of their sessions
/// choose the same port at once. Nothing has begun yet.
async fn ask_for_port(connection: &mut Connection, verb: &str) -> Result<Words, Failure> {
    for _ in 1..PORT_TRIES {
        let words = connection.ask(verb, None).await?;
        if words.code != 425 {
            return Ok(words);
        }
    }
    connection.ask(verb, None).await
}

async fn active(connection: &mut Connection) -> Result<TcpListener, Failure> {
    let local = connection.control.stream().tcp().local_addr();
    let listen = || -> std::io::Result<(TcpListener, SocketAddr)> {
        let listener = net::listen(SocketAddr::new(local?.ip().to_canonical(), 0))?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let (listener, address) = listen().map_err(|e| {
        Failure::gateway(
            FailureKind::DataConnection,
            "the gateway could not open a port for the backend server's data connection",
        )
        .with_detail(e)
    })?;
    match address {
        SocketAddr::V4(v4) => {
            connection.expect(2, "PORT", Some(format_port(v4).as_bytes())).await?
        }
        v6 => connection.expect(2, "EPRT", Some(format_eprt(v6).as_bytes())).await?,
    };
    Ok(listener)
}

async fn establish(
    connection: &Connection,
    opening: Opening,
    peer: IpAddr,
) -> Result<Stream, Failure> {
    let limit = connection.settings.connect_timeout;
    let made = timeout(limit, async {
        let tcp = match opening {
            Opening::Connected(tcp) => tcp,
            Opening::Listening(listener) => loop {
                let (tcp, from) = net::accept(&listener).await;
                if from.ip() == peer {
                    break tcp;
                }
                tracing::warn!(%from, "a stranger connected to a port opened for the backend");
            },
        };
        net::reset_on_drop(&tcp);
        match &connection.tls {
            None => Ok(Stream::Plain(tcp)),
            Some(tls) => tls.connect_data(tcp).await,
        }
    });
    match made.await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(no_channel(format!("TLS: {e}"))),
        Err(_) => Err(no_channel("not made in time")),
    }
}

/// A data connection failed behind the server's 150: its own last words say why, and once they are
/// heard the control connection is in step again.
async fn explain(connection: &mut Connection, failure: Failure) -> Failure {
    match connection.reply(2, "data connection").await {
        Err(said) if said.peer.is_some() => said,
        Err(lost) => lost,
        Ok(_) => failure,
    }
}

fn no_channel(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::DataConnection,
        "no data connection between the gateway and the backend server could be made",
    )
    .with_detail(detail)
}

fn not_understood(verb: &str, words: &Words) -> Failure {
    no_channel(format!("the answer to {verb} was not understood: {words}"))
}
