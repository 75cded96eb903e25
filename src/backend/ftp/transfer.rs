//! Downloads: RETR (RFC 959 section 4.1.3).

use async_trait::async_trait;

use super::ConnectionGuard;
use super::{abort, data_connection};
use crate::backend::ReadTransfer;
use crate::data::Source;
use crate::net::Stream;
use crate::op::{Failure, PeerReply, ReadFile, RemotePath, Representation};

pub(super) struct FtpRead {
    guard: ConnectionGuard,
    /// `None` once the transfer was ended or aborted.
    source: Option<Source>,
    closed_source: Source,
}

pub(super) async fn open(
    guard: ConnectionGuard,
    action: &ReadFile,
) -> Result<Box<dyn ReadTransfer>, Failure> {
    let ReadFile { path, offset, representation } = action;
    Ok(Box::new(start(guard, path, *offset, *representation).await?))
}

pub(super) async fn start(
    mut guard: ConnectionGuard,
    path: &RemotePath,
    offset: u64,
    representation: Representation,
) -> Result<FtpRead, Failure> {
    guard.set_type(representation).await?;
    let name = guard.name(path)?;
    let (stream, _) = data_connection::start(&mut guard, "RETR", Some(&name), offset).await?;
    Ok(FtpRead::new(guard, stream))
}

#[async_trait]
impl ReadTransfer for FtpRead {
    fn source(&mut self) -> &mut Source {
        self.source.as_mut().unwrap_or(&mut self.closed_source)
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.source = None;
        self.guard.end("RETR").await.map(Some)
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        match self.source.take() {
            Some(Source::Socket(stream)) => abort::abort(&mut self.guard, stream).await,
            _ => None,
        }
    }
}

impl FtpRead {
    /// A download that has started.
    pub(super) fn new(guard: ConnectionGuard, stream: Stream) -> Self {
        // The server's reply decides whether the download is complete; an orderly close does no harm.
        stream.close_on_drop();
        let closed_source = Source::Reader(Box::new(tokio::io::empty()));
        Self { guard, source: Some(Source::Socket(stream)), closed_source }
    }

    pub(super) fn connection(&self) -> &ConnectionGuard {
        &self.guard
    }
}

impl Drop for FtpRead {
    fn drop(&mut self) {
        if self.source.is_some() {
            self.guard.give_up();
        }
    }
}
