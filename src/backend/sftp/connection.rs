//! One SSH connection with its one channel (RFC 4254 sections 5 and 6.5), from TCP to the subsystem.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, Handle, Msg};
use russh::keys::Algorithm;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::host_key::{Unpinned, Verifier};
use super::requests::{Incoming, Outgoing};
use super::settings::Settings;
use crate::net::Peer;
use crate::net::ssh::QueuedStream;
use crate::op::escape::printable;
use crate::op::{Failure, FailureKind};
use crate::task;
use crate::wire::ssh::preamble;

/// The channel's window, in bytes: more than twice all reads ahead, because russh extends it only when half
/// of it is used.
const WINDOW_SIZE: u32 = 32 * 1024 * 1024;
/// The largest that russh supports.
const PACKET_SIZE: u32 = 65535;
/// Messages, window adjustments among them, that wait for the channel's reader.
const CHANNEL_BUFFER_SIZE: usize = 4096;
/// Bytes that wait to be written: more than the servers' usual windows.
const MAX_WRITE_QUEUE: usize = 16 * 1024 * 1024;
/// Bytes before a server's identification string that are quoted in messages.
const MAX_QUOTED_BYTES: usize = 256;
/// Unanswered keepalive requests before a silent server is given up.
const MAX_KEEPALIVES: usize = 3;
/// For SSH_MSG_DISCONNECT to be sent.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An SSH connection after its key exchange, before or after authentication.
pub(super) struct Connection {
    pub(super) handle: Handle<Verifier>,
    /// The server and the algorithms, for records.
    pub(super) peer: Option<Peer>,
    /// The host key that the server presented, for operators.
    pub(super) host_key: Option<String>,
    socket: Socket,
}

/// Why there is no connection to an authenticated server.
pub(super) enum ConnectError {
    /// It presented a key that is not pinned; it may have others.
    OtherKey(Failure, Algorithm),
    Failed(Failure),
}

/// A second handle of the connection's socket. Dropped, it shuts the socket down, which ends russh
/// whatever it is waiting for.
struct Socket(socket2::Socket);

pub(super) struct ChannelReader(ChannelReadHalf);
pub(super) struct ChannelWriter(ChannelWriteHalf<Msg>);

pub(super) async fn exchange_keys(
    settings: &Arc<Settings>,
    tcp: TcpStream,
    address: &str,
    unpinned: &Unpinned,
) -> Result<Connection, ConnectError> {
    let cloned = SockRef::from(&tcp).try_clone();
    let socket = Socket(cloned.map_err(|e| ConnectError::Failed(unreachable(e)))?);
    let address_of_server = tcp.peer_addr();
    let (host, port) = host_and_port(address, &tcp);
    let verifier = Verifier::new(settings.clone(), &host, port);
    let (refusal, negotiated) = (verifier.refusal(), verifier.negotiated());
    let presented = verifier.presented();
    let offered = settings.algorithms.preferred();
    let config = client::Config {
        window_size: WINDOW_SIZE,
        maximum_packet_size: PACKET_SIZE,
        channel_buffer_size: CHANNEL_BUFFER_SIZE,
        preferred: unpinned.without(verifier.order(offered)),
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: MAX_KEEPALIVES,
        gex: settings.algorithms.group_exchange(),
        nodelay: true,
        ..client::Config::default()
    };
    let mut stream = QueuedStream::new(tcp, MAX_WRITE_QUEUE);
    stream.skip_to_identification();
    let first = stream.first_bytes();
    let connected = client::connect_stream(Arc::new(config), stream, verifier).await;
    match connected {
        Ok(handle) => {
            first.take();
            let protection = negotiated.get().cloned();
            let peer = address_of_server.ok().map(|at| {
                let address = SocketAddr::new(at.ip().to_canonical(), at.port());
                Peer { address, protection }
            });
            Ok(Connection { handle, peer, host_key: presented.get().cloned(), socket })
        }
        Err(error) => Err(match refusal.take() {
            Some((failure, Some(kind))) => ConnectError::OtherKey(failure, kind),
            Some((failure, None)) => ConnectError::Failed(failure),
            None => ConnectError::Failed(handshake_failed(settings, &error, &first.take())),
        }),
    }
}

/// As configured, for known_hosts.
fn host_and_port(address: &str, tcp: &TcpStream) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "22"));
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let real = tcp.peer_addr().map_or(22, |peer| peer.port());
    (host.to_owned(), port.parse().unwrap_or(real))
}

/// `first`: the server's first bytes.
fn handshake_failed(settings: &Settings, error: &russh::Error, first: &[u8]) -> Failure {
    let hint = match error {
        russh::Error::NoCommonAlgo { theirs, .. } => missing_algorithm(settings, theirs),
        _ => String::new(),
    };
    let before = preamble(first);
    let quoted = match &before[..before.len().min(MAX_QUOTED_BYTES)] {
        b"" => String::new(),
        text => format!("; the server sent: {}", printable(text)),
    };
    unreachable(format!("the SSH handshake failed: {error}{hint}{quoted}"))
}

/// Which of the server's algorithms the backend's `algorithms` could allow.
fn missing_algorithm(settings: &Settings, theirs: &[String]) -> String {
    match settings.algorithms.suggestion(theirs) {
        None => {
            "; the server offers none that the gateway supports, and must be updated".to_owned()
        }
        Some(it) => {
            format!(
                "; {it} on the backend would help, or `legacy` for everything that old servers use"
            )
        }
    }
}

impl Connection {
    /// Opens the one channel. INIT may follow at once: the server reads it when the subsystem runs.
    pub(super) async fn open_channel(&self) -> Result<(ChannelReader, ChannelWriter), Failure> {
        let channel = self.handle.channel_open_session().await;
        let channel = channel.map_err(|e| unreachable(format!("opening a channel: {e}")))?;
        let started = channel.request_subsystem(true, "sftp").await;
        started.map_err(|e| unreachable(format!("requesting the sftp subsystem: {e}")))?;
        let (read, write) = channel.split();
        Ok((ChannelReader(read), ChannelWriter(write)))
    }

    /// Ends the connection when `ended` is cancelled, whatever its state.
    pub(super) fn end_with(self, ended: CancellationToken) {
        let Self { handle, socket, .. } = self;
        task::spawn(async move {
            ended.cancelled().await;
            let disconnect = handle.disconnect(Disconnect::ByApplication, "", "");
            if matches!(timeout(DISCONNECT_TIMEOUT, disconnect).await, Ok(Ok(()))) {
                // russh sends the queued data, then closes.
                let _ = timeout(DISCONNECT_TIMEOUT, handle).await;
            }
            drop(socket);
        });
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown(std::net::Shutdown::Both)
            && error.kind() != io::ErrorKind::NotConnected
        {
            tracing::debug!(%error, "closing the connection to a backend server");
        }
    }
}

impl Incoming for ChannelReader {
    async fn next(&mut self) -> Result<Bytes, String> {
        loop {
            match self.0.wait().await {
                Some(ChannelMsg::Data { data }) => return Ok(data),
                Some(ChannelMsg::Failure) => {
                    return Err("the server does not offer the sftp subsystem".to_owned());
                }
                // The standard error of an sftp server is for its operator.
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    tracing::debug!(stderr = &data[..], "a backend's sftp server");
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    tracing::debug!(exit_status, "a backend's sftp server has ended");
                }
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                    return Err("the server closed the channel".to_owned());
                }
                Some(_) => {}
            }
        }
    }
}

impl Outgoing for ChannelWriter {
    async fn send(&mut self, bytes: Bytes) -> Result<(), String> {
        self.0.data_bytes(bytes).await.map_err(|e| e.to_string())
    }
}

pub(super) fn unreachable(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::Unavailable,
        "the backend server cannot be reached; try again later or contact the gateway's operator",
    )
    .with_detail(detail)
}
