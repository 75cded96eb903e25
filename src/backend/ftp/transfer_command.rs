//! Sends the commands of transfers, in the order relative to their data connections that the server
//! supports (RFC 959).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::abort;
use super::connection::Connection;
use super::failures::no_data_connection;
use super::settings::Settings;
use crate::net::{self, Stream};
use crate::op::{Failure, PeerReply};

/// A nearby server gets its data connection before the command: that is less error-prone.
const COMMAND_DELAY_MAX: Duration = Duration::from_millis(1);
/// For a server to report by itself that its data connection was not established.
const UNCONNECTED_REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// The same, for a server that has announced the transfer with 1xx.
const ANNOUNCED_REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A command that uses a data connection.
#[derive(Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) verb: &'a str,
    pub(super) argument: Option<&'a [u8]>,
    /// Where it starts (REST).
    pub(super) offset: u64,
    /// For an opaque server.
    pub(super) is_opaque: bool,
}

impl Transfer<'_> {
    /// Whether the command may be sent twice: STOU would create a second file, APPE append twice. STOR at an
    /// opaque server may start a job.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!((self.verb, self.is_opaque), ("STOU" | "APPE", _) | ("STOR", true))
    }
}

/// Sends the command; returns its 1xx reply or, for a listing, its final one.
pub(super) async fn command(
    connection: &mut Connection,
    Transfer { verb, argument, offset, .. }: Transfer<'_>,
) -> Result<PeerReply, Failure> {
    // Resets an offset that a refused transfer left at the server.
    if offset > 0 || connection.restart_pending {
        connection.expect(3, "REST", Some(offset.to_string().as_bytes())).await?;
        connection.restart_pending = offset > 0;
    }
    let reply = connection.command(verb, argument).await?;
    let class = match verb {
        "LIST" | "NLST" | "MLSD" if is_final(&reply) => 2,
        _ => 1,
    };
    let preliminary = connection.check_reply(class, verb, argument, reply)?;
    connection.restart_pending = false;
    Ok(preliminary)
}

/// When the command of a transfer is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandOrder {
    /// While the data connection is being made: saves a round trip.
    Concurrent,
    /// Once the data connection is there.
    AfterConnect,
}

/// What is left to try if no data connection is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The transfer is repeated with another data command.
    OtherCommand,
    None,
}

/// A transfer and the passive data connection that is being made for it.
pub(super) struct PassiveStart<'a, F> {
    pub(super) transfer: Transfer<'a>,
    pub(super) connecting: F,
    pub(super) order: CommandOrder,
    pub(super) fallback: Fallback,
}

impl<F: Future<Output = Result<TcpStream, Failure>>> PassiveStart<'_, F> {
    pub(super) async fn run(self, connection: &mut Connection) -> Started {
        if self.order == CommandOrder::Concurrent {
            return self.run_concurrently(connection).await;
        }
        match self.connecting.await {
            Ok(tcp) => with_connection(connection, tcp, self.transfer).await,
            Err(failure) => Started::ConnectFailed(failure),
        }
    }

    async fn run_concurrently(self, connection: &mut Connection) -> Started {
        let Self { transfer, connecting, fallback, .. } = self;
        tokio::pin!(connecting);
        match timeout(COMMAND_DELAY_MAX, &mut connecting).await {
            Ok(Ok(tcp)) => return with_connection(connection, tcp, transfer).await,
            Ok(Err(failure)) => return Started::ConnectFailed(failure),
            Err(_) => {}
        }
        let (connected, command_result) = {
            let sending = command(connection, transfer);
            tokio::pin!(sending);
            tokio::select! {
                command_result = &mut sending => (None, Some(command_result)),
                connected = &mut connecting => {
                    let command_result = match connected {
                        Ok(_) => Some(sending.await),
                        // The server waits in vain; it may report that by itself.
                        Err(_) => timeout(UNCONNECTED_REPLY_TIMEOUT, sending).await.ok(),
                    };
                    (Some(connected), command_result)
                }
            }
        };
        let Some(command_result) = command_result else {
            // An offset may remain at the server.
            connection.restart_pending |= transfer.offset > 0;
            let failure =
                connected.and_then(Result::err).unwrap_or_else(|| no_data_connection("no reply"));
            return give_up_waiting(connection, failure, fallback).await;
        };
        let ends_unconnected = |refusal: &Failure| match &refusal.peer {
            Some(reply) => {
                reply.code == 425 || reply.code == 426 && matches!(connected, Some(Err(_)))
            }
            None => false,
        };
        match command_result {
            Err(refusal) if !ends_unconnected(&refusal) => Started::Refused(refusal),
            Err(refusal) => {
                let connected = match connected {
                    Some(connected) => connected,
                    None => connecting.await,
                };
                match connected {
                    Err(e) => {
                        let detail = e.detail.unwrap_or(e.message);
                        Started::NotEstablished(refusal.with_detail(detail))
                    }
                    Ok(_) => {
                        tracing::debug!(
                            verb = transfer.verb,
                            "the backend requires its data connection before the command"
                        );
                        connection.connect_first = true;
                        if transfer.is_repeatable() {
                            Started::ConnectFirst
                        } else {
                            Started::Refused(refusal)
                        }
                    }
                }
            }
            Ok(reply) => {
                let connected = match connected {
                    Some(connected) => connected,
                    None => connecting.await,
                };
                match connected {
                    Ok(tcp) => Started::Ready(tcp, reply),
                    Err(failure) if is_final(&reply) => Started::NotEstablished(failure),
                    Err(failure) => {
                        let outcome = explain_failure(connection, failure.clone());
                        match timeout(ANNOUNCED_REPLY_TIMEOUT, outcome).await {
                            Ok(outcome) if connection.is_usable() => {
                                Started::NotEstablished(outcome)
                            }
                            Ok(outcome) => Started::Refused(outcome),
                            Err(_) => give_up_waiting(connection, failure, fallback).await,
                        }
                    }
                }
            }
        }
    }
}

/// Sends the command after its data connection was established.
async fn with_connection(
    connection: &mut Connection,
    tcp: TcpStream,
    transfer: Transfer<'_>,
) -> Started {
    match command(connection, transfer).await {
        Ok(reply) => Started::Ready(tcp, reply),
        Err(refusal) => Started::Refused(refusal),
    }
}

pub(super) enum Started {
    Ready(TcpStream, PeerReply),
    /// Refused by the server, or the control connection is lost.
    Refused(Failure),
    /// No command was sent.
    ConnectFailed(Failure),
    /// The command was sent, and no data connection was established. The control connection is in
    /// sync.
    NotEstablished(Failure),
    /// As `NotEstablished`, with the control connection given up.
    OutOfSync(Failure),
    /// The server did not wait for a connection that was being established. The command may be
    /// repeated.
    ConnectFirst,
}

/// The server still waits for a data connection. If another command will be tried, the transfer is
/// aborted first; some servers react only after their timeout.
async fn give_up_waiting(
    connection: &mut Connection,
    failure: Failure,
    fallback: Fallback,
) -> Started {
    let limit = connection.settings.reply_timeout;
    if fallback == Fallback::OtherCommand && abort::resynchronize(connection, limit).await.is_ok() {
        return Started::NotEstablished(failure);
    }
    connection.give_up_replaceable();
    Started::OutOfSync(failure)
}

pub(super) fn connect(
    settings: &Settings,
    address: SocketAddr,
    header: Vec<u8>,
) -> impl Future<Output = Result<TcpStream, Failure>> + Send + 'static {
    let (source, limit) = (settings.source_address, settings.connect_timeout);
    async move { connect_within(limit, source, address, header).await }
}

async fn connect_within(
    limit: Duration,
    source: Option<IpAddr>,
    address: SocketAddr,
    header: Vec<u8>,
) -> Result<TcpStream, Failure> {
    let with_connection = timeout(limit, async {
        let mut tcp = net::connect_from(source, address).await?;
        net::prepare(&tcp);
        net::reset_on_drop(&tcp);
        tcp.write_all(&header).await?;
        Ok::<_, std::io::Error>(tcp)
    });
    match with_connection.await {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err(e)) => Err(no_data_connection(format!("connecting to {address}: {e}"))),
        Err(_) => Err(no_data_connection(format!(
            "connecting to {address}: timed out (`connect_timeout`)"
        ))),
    }
}

pub(super) async fn secure(connection: &Connection, tcp: TcpStream) -> Result<Stream, Failure> {
    let Some(tls) = &connection.tls else { return Ok(Stream::Plain(tcp)) };
    match timeout(connection.settings.connect_timeout, tls.connect_data(tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(no_data_connection(format!("TLS: {e}"))),
        Err(_) => Err(no_data_connection("TLS: timed out (`connect_timeout`)")),
    }
}

/// A data connection failed after the server's 1xx: the server's final reply gives the reason, and
/// brings the control connection into sync.
pub(super) async fn explain_failure(connection: &mut Connection, failure: Failure) -> Failure {
    match connection.end("data connection").await {
        Err(error_reply) if error_reply.peer.is_some() => error_reply,
        Err(outcome) => outcome,
        Ok(_) => failure,
    }
}

/// 2xx: no further reply follows.
pub(super) fn is_final(reply: &PeerReply) -> bool {
    reply.code / 100 == 2
}
