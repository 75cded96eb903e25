//! The commands of transfers and their data connections, in the order that the server can bear (RFC 959).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::abort;
use super::connection::Connection;
use super::failures::no_data_connection;
use crate::net::{self, Stream};
use crate::op::{Failure, PeerReply};

/// A server that is near has its data connection before the command: less can go wrong so.
const HEAD_START: Duration = Duration::from_millis(1);
/// For a server to say by itself that its data connection was not made.
const NOTICE: Duration = Duration::from_secs(1);
/// The same, of one that has announced the transfer with 1xx.
const ANNOUNCED: Duration = Duration::from_secs(5);

/// A command that uses a data connection.
#[derive(Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) verb: &'a str,
    pub(super) argument: Option<&'a [u8]>,
    /// Where it begins (REST).
    pub(super) offset: u64,
}

impl Transfer<'_> {
    /// Whether the server may get it twice: STOU would make a second file, APPE write all twice.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self.verb, "STOU" | "APPE")
    }
}

/// The command itself, up to its 1xx, or of a listing up to its end.
pub(super) async fn command(
    connection: &mut Connection,
    Transfer { verb, argument, offset }: Transfer<'_>,
) -> Result<PeerReply, Failure> {
    // An offset that a refused transfer left behind at the server is taken back.
    if offset > 0 || connection.restart_pending {
        connection.expect(3, "REST", Some(offset.to_string().as_bytes())).await?;
        connection.restart_pending = offset > 0;
    }
    let reply = connection.command(verb, argument).await?;
    let class = match verb {
        "LIST" | "MLSD" if is_over(&reply) => 2,
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
            Ok(tcp) => connected(connection, tcp, self.transfer).await,
            Err(failure) => Started::ConnectFailed(failure),
        }
    }

    async fn run_concurrently(self, connection: &mut Connection) -> Started {
        let Self { transfer, connecting, fallback, .. } = self;
        tokio::pin!(connecting);
        match timeout(HEAD_START, &mut connecting).await {
            Ok(Ok(tcp)) => return connected(connection, tcp, transfer).await,
            Ok(Err(failure)) => return Started::ConnectFailed(failure),
            Err(_) => {}
        }
        let (made, told) = {
            let commanding = command(connection, transfer);
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
            // An offset may be left behind.
            connection.restart_pending |= transfer.offset > 0;
            let failure =
                made.and_then(Result::err).unwrap_or_else(|| no_data_connection("no word"));
            return not_made(connection, failure, fallback).await;
        };
        let ends_unconnected = |refusal: &Failure| match &refusal.peer {
            Some(reply) => reply.code == 425 || reply.code == 426 && matches!(made, Some(Err(_))),
            None => false,
        };
        match told {
            Err(refusal) if !ends_unconnected(&refusal) => Started::Refused(refusal),
            Err(refusal) => {
                let made = match made {
                    Some(made) => made,
                    None => connecting.await,
                };
                match made {
                    Err(e) => {
                        let detail = e.detail.unwrap_or(e.message);
                        Started::NotEstablished(refusal.with_detail(detail))
                    }
                    Ok(_) => {
                        tracing::debug!(
                            verb = transfer.verb,
                            "the backend wants its data connection before the command"
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
                let made = match made {
                    Some(made) => made,
                    None => connecting.await,
                };
                match made {
                    Ok(tcp) => Started::Both(tcp, reply),
                    Err(failure) if is_over(&reply) => Started::NotEstablished(failure),
                    Err(failure) => {
                        let explained = explain(connection, failure.clone());
                        match timeout(ANNOUNCED, explained).await {
                            Ok(explained) if connection.is_usable() => {
                                Started::NotEstablished(explained)
                            }
                            Ok(lost) => Started::Refused(lost),
                            Err(_) => not_made(connection, failure, fallback).await,
                        }
                    }
                }
            }
        }
    }
}

/// The command, whose data connection is there.
async fn connected(connection: &mut Connection, tcp: TcpStream, transfer: Transfer<'_>) -> Started {
    match command(connection, transfer).await {
        Ok(reply) => Started::Both(tcp, reply),
        Err(refusal) => Started::Refused(refusal),
    }
}

pub(super) enum Started {
    Both(TcpStream, PeerReply),
    /// By the server, or the connection to it is lost.
    Refused(Failure),
    /// No command was sent.
    ConnectFailed(Failure),
    /// The command was sent, and the data connection could not be made. Both sides are in step.
    NotEstablished(Failure),
    /// As `NotMade`, with the control connection given up.
    OutOfSync(Failure),
    /// The server had no patience for a connection that was on its way. The command may be repeated.
    ConnectFirst,
}

/// The server still waits for a data connection that will not come. It is told so where another is to
/// be tried; some hear that only when they have waited long enough.
async fn not_made(connection: &mut Connection, failure: Failure, fallback: Fallback) -> Started {
    let limit = connection.settings.reply_timeout;
    if fallback == Fallback::OtherCommand && abort::resynchronize(connection, limit).await.is_ok() {
        return Started::NotEstablished(failure);
    }
    connection.give_up_replaceable();
    Started::OutOfSync(failure)
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
        Ok(Err(e)) => Err(no_data_connection(format!("connecting to {address}: {e}"))),
        Err(_) => Err(no_data_connection(format!("connecting to {address}: not in time"))),
    }
}

pub(super) async fn protected(connection: &Connection, tcp: TcpStream) -> Result<Stream, Failure> {
    let Some(tls) = &connection.tls else { return Ok(Stream::Plain(tcp)) };
    match timeout(connection.settings.connect_timeout, tls.connect_data(tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(no_data_connection(format!("TLS: {e}"))),
        Err(_) => Err(no_data_connection("not made in time")),
    }
}

/// A data connection failed behind the server's 150: its own last words say why, and once they are
/// heard the control connection is in step again.
pub(super) async fn explain(connection: &mut Connection, failure: Failure) -> Failure {
    match connection.end("data connection").await {
        Err(said) if said.peer.is_some() => said,
        Err(lost) => lost,
        Ok(_) => failure,
    }
}

/// 2xx: nothing more is said.
pub(super) fn is_over(reply: &PeerReply) -> bool {
    reply.code / 100 == 2
}
