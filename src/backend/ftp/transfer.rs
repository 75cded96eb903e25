//! RETR (RFC 959 section 4.1.3).

use async_trait::async_trait;

use super::Turn;
use super::{abort, data_connection, failures};
use crate::backend::ReadTransfer;
use crate::data::Source;
use crate::op::{Failure, Operation, RemotePath, Representation, Words};

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
        return Err(failures::misdirected(operation));
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
    let (stream, _) = data_connection::start(&mut turn, "RETR", Some(&name), offset).await?;
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
            Some(Source::Socket(stream)) => abort::abort(&mut self.turn, stream).await,
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
