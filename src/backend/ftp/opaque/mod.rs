//! Sessions at servers whose paths are not read (`dialect: opaque`): z/OS, OS/400, OpenVMS. One control
//! connection carries what the client writes, and nothing that would change its state.

mod relay;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use super::pool::{ConnectionGuard, Pool};
use super::transfer::FtpRead;
use super::transfer_command::is_final;
use super::upload::FtpWrite;
use super::{ACQUIRE_TIMEOUT, data_connection};
use crate::backend::{
    BackendSession, CommandRelay, Home, Listing, OpenFile, ReadTransfer, RelayedRead, WriteTransfer,
};
use crate::net::{Peer, Stream};
use crate::op::{
    Abilities, Answer, Failure, FailureKind, ListDirectory, OpenHandle, Operation, PeerReply,
    ReadFile, RemotePath, WriteFile,
};
use crate::route::Target;
use crate::wire::ftp::relayed::RelayedCommand;

/// A logged-in session.
pub(super) struct OpaqueSession {
    /// Of one connection: nothing asks for a second.
    pool: Arc<Pool>,
}

impl OpaqueSession {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    async fn acquire(&self) -> Result<ConnectionGuard, Failure> {
        self.pool.acquire(ACQUIRE_TIMEOUT).await
    }

    async fn start(
        &self,
        command: &RelayedCommand,
    ) -> Result<(ConnectionGuard, Stream, PeerReply), Failure> {
        let mut guard = self.acquire().await?;
        let (verb, argument, offset) = (command.verb(), command.argument(), command.offset());
        // Before a data connection is asked for.
        guard.control.check_length(verb, argument)?;
        let (stream, reply) = data_connection::start(&mut guard, verb, argument, offset).await?;
        Ok((guard, stream, reply))
    }
}

#[async_trait]
impl CommandRelay for OpaqueSession {
    async fn command(&self, target: &Target<RelayedCommand>) -> Result<PeerReply, Failure> {
        let command = target.action();
        self.acquire().await?.relay(command.verb(), command.argument()).await
    }

    async fn open_read(&self, target: &Target<RelayedCommand>) -> Result<RelayedRead, Failure> {
        let (guard, stream, reply) = self.start(target.action()).await?;
        if is_final(&reply) {
            return Ok(RelayedRead::Ended(reply));
        }
        Ok(RelayedRead::Started(Box::new(FtpRead::new(guard, stream)), reply))
    }

    async fn open_write(
        &self,
        target: &Target<RelayedCommand>,
    ) -> Result<(Box<dyn WriteTransfer>, PeerReply), Failure> {
        let (guard, stream, reply) = self.start(target.action()).await?;
        Ok((Box::new(FtpWrite::without_path(guard, stream)), reply))
    }
}

#[async_trait]
impl BackendSession for OpaqueSession {
    /// The working directory is the server's own.
    fn home(&self) -> Home {
        Home::At(RemotePath::root())
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn peer(&self) -> Option<Peer> {
        self.pool.peer()
    }

    fn relay(&self) -> Option<&dyn CommandRelay> {
        Some(self)
    }

    async fn perform(&self, _: &Target<Operation>) -> Result<Answer, Failure> {
        Err(no_paths())
    }

    async fn list(&self, _: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        Err(no_paths())
    }

    async fn open_read(&self, _: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        Err(no_paths())
    }

    async fn open_write(&self, _: &Target<WriteFile>) -> Result<Box<dyn WriteTransfer>, Failure> {
        Err(no_paths())
    }

    async fn open(&self, _: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        Err(no_paths())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// Only an FTP client's own commands can name files there.
fn no_paths() -> Failure {
    Failure::gateway(
        FailureKind::Unsupported,
        "the gateway cannot name files of this server (`dialect: opaque`); use FTP",
    )
}
