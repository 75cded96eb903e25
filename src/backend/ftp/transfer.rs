//! RETR, and how transfers of both directions are cut (RFC 959 sections 4.1.3 and 5.4).

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::connection::{Connection, Marker};
use super::{Turn, channel, operations, reply};
use crate::backend::ReadTransfer;
use crate::data::Source;
use crate::net::Stream;
use crate::op::{Failure, Operation, RemotePath, Representation, Words};

/// What bringing the control connection back into step may take.
const STEP: Duration = Duration::from_secs(5);
/// For a server to answer the reset of its data connection by itself.
const NOTICE: Duration = Duration::from_secs(1);
/// Replies that may come between the first one after ABOR and the marker's answer: ABOR's own, and
/// what servers say twice.
const REPLIES: usize = 8;

pub(super) struct FtpRead {
    turn: Turn,
    /// `None` once it has ended one way or the other.
    source: Option<Source>,
    idle: Source,
}

pub(super) async fn open(
    turn: Turn,
    operation: &Operation,
) -> Result<Box<dyn ReadTransfer>, Failure> {
    let Operation::Read { path, offset, representation } = operation else {
        return Err(operations::misdirected(operation));
    };
    Ok(Box::new(begin(turn, path, *offset, *representation).await?))
}

pub(super) async fn begin(
    mut turn: Turn,
    path: &RemotePath,
    offset: u64,
    representation: Representation,
) -> Result<FtpRead, Failure> {
    turn.set_type(representation).await?;
    let name = turn.name(path)?;
    let (stream, _) = channel::start(&mut turn, "RETR", Some(&name), offset).await?;
    // What is received has its end told by the server; an orderly close spoils nothing.
    stream.close_on_drop();
    Ok(FtpRead {
        turn,
        source: Some(Source::Socket(stream)),
        idle: Source::Reader(Box::new(tokio::io::empty())),
    })
}

#[async_trait]
impl ReadTransfer for FtpRead {
    fn source(&mut self) -> &mut Source {
        self.source.as_mut().unwrap_or(&mut self.idle)
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<Words>, Failure> {
        self.source = None;
        self.turn.end("RETR").await.map(Some)
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        match self.source.take() {
            Some(Source::Socket(stream)) => abort(&mut self.turn, stream).await,
            _ => None,
        }
    }
}

impl FtpRead {
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }
}

impl Drop for FtpRead {
    fn drop(&mut self) {
        if self.source.is_some() {
            self.turn.give_up();
        }
    }
}

/// Takes the answer to the end of a transfer that is of no interest any more.
pub(super) async fn await_answer(connection: &mut Connection) {
    connection.active = None;
    if connection.check().is_ok()
        && !connection.control.is_settled()
        && !matches!(timeout(STEP, connection.control.reply()).await, Ok(Ok(_)))
    {
        connection.give_up();
    }
}

/// Cuts a transfer: a reset, never FIN or close_notify, which would say *complete*, and ABOR to a
/// server that does not answer the reset. Then the control connection is brought back into step, or
/// given up. Returns what the server said against the transfer.
pub(super) async fn abort(connection: &mut Connection, stream: Stream) -> Option<Failure> {
    stream.reset_on_drop();
    drop(stream);
    connection.active = None;
    let told = match come_into_step(connection, STEP).await {
        Ok(told) => told,
        Err(told) => {
            tracing::info!("the backend's control connection is out of step after a cut; given up");
            connection.give_up();
            told
        }
    };
    told.map(|words| reply::failure("the transfer", words))
}

/// Brings the control connection back into step behind a transfer whose data connection is gone or
/// never came, within `limit`. `Err`: that failed. Both with what the server said against the transfer.
pub(super) async fn come_into_step(
    connection: &mut Connection,
    limit: Duration,
) -> Result<Option<Words>, Option<Words>> {
    let (control, marker) = (&mut connection.control, connection.marker);
    let mut told = None;
    let in_step = async {
        // ABOR only then: ProFTPD 1.3.8 can crash when it comes together with the reset.
        let first = match timeout(NOTICE, control.reply()).await {
            Ok(noticed) => noticed?,
            Err(_) => {
                control.send("ABOR", None).await?;
                control.reply().await?
            }
        };
        if first.code >= 400 {
            told = Some(first);
        }
        // Servers answer ABOR with one reply or two; the answer to the marker, unlike any of them, is where
        // both sides are in step again. It comes after the first: pure-ftpd takes what arrives along
        // with ABOR for a part of it.
        control.send(marker.verb, marker.argument).await?;
        for _ in 0..=REPLIES {
            if control.reply().await?.code == marker.code {
                return Ok(true);
            }
        }
        Ok::<bool, Failure>(false)
    };
    if matches!(timeout(limit, in_step).await, Ok(Ok(true))) {
        connection.control.settle();
        if marker.verb == Marker::TYPE.verb {
            connection.note_type(Representation::Image);
        }
        Ok(told)
    } else {
        Err(told)
    }
}
