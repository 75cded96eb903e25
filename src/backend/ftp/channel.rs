//! Data connections to a server: EPSV and PASV (RFC 959, RFC 2428), TLS (RFC 4217). Active ones:
//! [`super::active`].

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::active;
use super::connection::Connection;
use super::prepared::Prepared;
use super::reply;
use super::settings::DataMode;
use crate::net::{self, Stream};
use crate::op::{Failure, FailureKind, Words};
use crate::wire::ftp::host_port::{parse_epsv_reply, parse_pasv_reply};

/// How often a server is asked for a port before its 425 is told to the client.
const PORT_TRIES: usize = 3;

/// A server that is near has its data connection before the command: less can go wrong so.
const HEAD_START: Duration = Duration::from_millis(1);
/// For a server to say by itself that its data connection was not made.
const NOTICE: Duration = Duration::from_secs(1);
/// The same, of one that has announced the transfer with 1xx.
const ANNOUNCED: Duration = Duration::from_secs(5);

/// Makes a data connection and sends the command that uses it. Dropping the connection is a reset from
/// its first moment on: an end by FIN would mean *complete* for an upload. On success the server has said 1xx
/// and its last reply is still to come; after a failure the control connection is in step, or given
/// up. A listing that the server has nothing to say for may be over at once: then the words are its
/// last reply, and whether the connection was ever taken is not known.
pub(super) async fn start(
    connection: &mut Connection,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Result<(Stream, Words), Failure> {
    let peer = address(connection)?;
    let (tcp, preliminary) = match connection.settings.data_mode {
        DataMode::Passive => passive(connection, peer, verb, argument, offset).await?,
        DataMode::Active => {
            let reservation = active::offer(connection, peer).await?;
            let preliminary = match command(connection, verb, argument, offset).await {
                Ok(preliminary) => preliminary,
                Err(refusal) => return Err(active::refused(reservation, refusal)),
            };
            if is_over(&preliminary) {
                return Err(no_channel("the listing was over before its connection came"));
            }
            match active::accepted(connection, reservation).await {
                Ok(tcp) => (tcp, preliminary),
                Err(failure) => return Err(explain(connection, failure).await),
            }
        }
    };
    if is_over(&preliminary) {
        return Ok((Stream::Plain(tcp), preliminary));
    }
    match protected(connection, tcp).await {
        Ok(stream) => Ok((stream, preliminary)),
        Err(failure) => Err(explain(connection, failure).await),
    }
}

/// The command itself, up to its 1xx, or of a listing up to its end.
async fn command(
    connection: &mut Connection,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Result<Words, Failure> {
    // An offset that a refused transfer left behind at the server is taken back.
    if offset > 0 || connection.restart_pending {
        connection.expect(3, "REST", Some(offset.to_string().as_bytes())).await?;
        connection.restart_pending = offset > 0;
    }
    let words = connection.ask(verb, argument).await?;
    let class = match verb {
        "LIST" | "MLSD" if is_over(&words) => 2,
        _ => 1,
    };
    let preliminary = connection.judged(class, verb, argument, words)?;
    connection.restart_pending = false;
    Ok(preliminary)
}

/// The command goes out while the data connection is being made: that saves a round trip. A server
/// that wants the connection first is asked once more, and is remembered.
async fn passive(
    connection: &mut Connection,
    peer: IpAddr,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Result<(TcpStream, Words), Failure> {
    if let Some(connecting) = connection.prepared.take().and_then(Prepared::take) {
        match begun(connection, connecting, verb, argument, offset).await {
            Started::Both(tcp, words) => return Ok((tcp, words)),
            // The server does not take it any more, and nothing has begun: all is asked anew.
            Started::Failed(refusal) if is_no_channel(&refusal) => {}
            Started::Failed(failure) => return Err(failure),
            Started::NotConnected(_) | Started::ConnectFirst => {}
        }
    }
    for _ in 0..2 {
        let address = passive_address(connection, peer).await?;
        let (header, limit) = (connection.data_header(), connection.settings.connect_timeout);
        let connecting = connect(address, header, limit);
        match begun(connection, connecting, verb, argument, offset).await {
            Started::Both(tcp, words) => return Ok((tcp, words)),
            Started::Failed(failure) | Started::NotConnected(failure) => return Err(failure),
            Started::ConnectFirst => {}
        }
    }
    // Not reached: who is asked for the second time has its connection first.
    Err(no_channel("the backend wants its data connection before the command"))
}

/// The two in the order that the server can bear.
async fn begun(
    connection: &mut Connection,
    connecting: impl Future<Output = Result<TcpStream, Failure>>,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Started {
    if !connection.connect_first {
        let started = at_once(connection, connecting, verb, argument, offset).await;
        if matches!(started, Started::ConnectFirst) {
            tracing::debug!(verb, "the backend wants its data connection before the command");
            connection.connect_first = true;
        }
        return started;
    }
    match connecting.await {
        Ok(tcp) => connected(connection, tcp, verb, argument, offset).await,
        Err(failure) => Started::NotConnected(failure),
    }
}

/// The command, whose data connection is there.
async fn connected(
    connection: &mut Connection,
    tcp: TcpStream,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Started {
    match command(connection, verb, argument, offset).await {
        Ok(words) => Started::Both(tcp, words),
        Err(refusal) => Started::Failed(refusal),
    }
}

enum Started {
    Both(TcpStream, Words),
    Failed(Failure),
    /// No command was sent.
    NotConnected(Failure),
    /// The server had no patience for a connection that was on its way.
    ConnectFirst,
}

async fn at_once(
    connection: &mut Connection,
    connecting: impl Future<Output = Result<TcpStream, Failure>>,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Started {
    tokio::pin!(connecting);
    match timeout(HEAD_START, &mut connecting).await {
        Ok(Ok(tcp)) => return connected(connection, tcp, verb, argument, offset).await,
        Ok(Err(failure)) => return Started::NotConnected(failure),
        Err(_) => {}
    }
    let (made, told) = {
        let commanding = command(connection, verb, argument, offset);
        tokio::pin!(commanding);
        tokio::select! {
            told = &mut commanding => (None, Some(told)),
            made = &mut connecting => {
                let told = match made {
                    Ok(_) => Some(commanding.await),
                    // The server waits for what will not come; it may say so by itself.
                    Err(_) => timeout(NOTICE, commanding).await.ok(),
                };
                (Some(made), told)
            }
        }
    };
    let Some(told) = told else {
        connection.replace();
        return Started::Failed(
            made.and_then(Result::err).unwrap_or_else(|| no_channel("no word")),
        );
    };
    let words = match told {
        Ok(words) => words,
        Err(refusal) if is_no_channel(&refusal) => {
            let made = match made {
                Some(made) => made,
                None => connecting.await,
            };
            return if made.is_ok() { Started::ConnectFirst } else { Started::Failed(refusal) };
        }
        Err(refusal) => return Started::Failed(refusal),
    };
    let made = match made {
        Some(made) => made,
        None => connecting.await,
    };
    match made {
        Ok(tcp) => Started::Both(tcp, words),
        Err(failure) if is_over(&words) => Started::Failed(failure),
        Err(failure) => match timeout(ANNOUNCED, explain(connection, failure.clone())).await {
            Ok(explained) => Started::Failed(explained),
            Err(_) => {
                connection.replace();
                Started::Failed(failure)
            }
        },
    }
}

pub(super) async fn connect(
    address: SocketAddr,
    header: Vec<u8>,
    limit: Duration,
) -> Result<TcpStream, Failure> {
    let connected = timeout(limit, async {
        let mut tcp = TcpStream::connect(address).await?;
        net::prepare(&tcp);
        net::reset_on_drop(&tcp);
        tcp.write_all(&header).await?;
        Ok::<_, std::io::Error>(tcp)
    });
    match connected.await {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err(e)) => Err(no_channel(format!("connecting to {address}: {e}"))),
        Err(_) => Err(no_channel(format!("connecting to {address}: not in time"))),
    }
}

pub(super) fn address(connection: &mut Connection) -> Result<IpAddr, Failure> {
    let peer = connection.control.stream().peer_addr();
    let peer = peer.map_err(|e| reply::unavailable(format!("its address: {e}")));
    Ok(connection.noted(peer)?.ip().to_canonical())
}

/// EPSV first, since it works through address translation; PASV for servers that refuse it, and
/// where the address that PASV names is to be trusted.
pub(super) async fn passive_address(
    connection: &mut Connection,
    peer: IpAddr,
) -> Result<SocketAddr, Failure> {
    let trusted = connection.settings.trust_pasv_address;
    if peer.is_ipv6() || !(connection.epsv_refused || trusted) {
        let words = ask_for_port(connection, "EPSV").await?;
        match words.code {
            229 => {
                let port = parse_epsv_reply(&words.lines);
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
    let named = parse_pasv_reply(&words.lines);
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
        let asked = Instant::now();
        let words = connection.ask(verb, None).await?;
        let took = asked.elapsed();
        connection.port_took = Some(connection.port_took.map_or(took, |least| least.min(took)));
        if words.code != 425 {
            return Ok(words);
        }
    }
    connection.ask(verb, None).await
}

async fn protected(connection: &Connection, tcp: TcpStream) -> Result<Stream, Failure> {
    let Some(tls) = &connection.tls else { return Ok(Stream::Plain(tcp)) };
    match timeout(connection.settings.connect_timeout, tls.connect_data(tcp)).await {
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

/// 2xx: nothing more is said.
fn is_over(words: &Words) -> bool {
    words.code / 100 == 2
}

/// 425: the server has no data connection.
fn is_no_channel(refusal: &Failure) -> bool {
    refusal.peer.as_ref().is_some_and(|words| words.code == 425)
}

pub(super) fn no_channel(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::DataConnection,
        "no data connection between the gateway and the backend server could be made",
    )
    .with_detail(detail)
}

fn not_understood(verb: &str, words: &Words) -> Failure {
    no_channel(format!("the answer to {verb} was not understood: {words}"))
}
