//! The commands of opaque servers (`dialect: opaque`), which are relayed as the client wrote them.

use async_trait::async_trait;

use super::{ReadTransfer, WriteTransfer};
use crate::op::{Failure, PeerReply};
use crate::route::Target;
use crate::wire::ftp::relayed::RelayedCommand;

/// A session at an opaque server. All commands use one control connection, whose state (working directory, SITE,
/// TYPE, STRU, MODE) counts: its loss ends the session.
#[async_trait]
pub trait CommandRelay: Send + Sync {
    /// Relays a command without data; returns the server's reply.
    ///
    /// # Errors
    /// A 4xx or 5xx reply, as the failure's `peer`. A 1xx reply would announce data for which there is no
    /// connection: the session is lost then.
    async fn command(&self, target: &Target<RelayedCommand>) -> Result<PeerReply, Failure>;

    /// Relays a command for which the server sends data.
    async fn open_read(&self, target: &Target<RelayedCommand>) -> Result<RelayedRead, Failure>;

    /// Relays a command for which the server receives data; also returns its 1xx reply.
    async fn open_write(
        &self,
        target: &Target<RelayedCommand>,
    ) -> Result<(Box<dyn WriteTransfer>, PeerReply), Failure>;
}

/// The server's answer to a command for which it sends data.
pub enum RelayedRead {
    /// The data, with the 1xx reply.
    Started(Box<dyn ReadTransfer>, PeerReply),
    /// There is none: the last reply to a listing.
    Ended(PeerReply),
}
