//! Commands that are relayed to an opaque server, with one record each.

use super::core::{Admitted, SessionCore, failed, refused};
use super::transfers::{Download, Upload};
use super::user_session::Session;
use crate::backend::{CommandRelay, RelayedRead};
use crate::op::{Failure, FailureKind, PeerReply, RemotePath};
use crate::policy::{decide_relayed, may_relay};
use crate::wire::ftp::relayed::RelayedCommand;

/// The answer to a command for which the server sends data.
pub enum RelayedDownload {
    /// The data, with the server's 1xx reply.
    Started(Box<Download>, PeerReply),
    /// There is none: the last reply to a listing.
    Ended(PeerReply),
}

impl Session {
    /// Whether the server has `dialect: opaque`: commands are relayed, and there are no other operations.
    pub fn is_opaque(&self) -> bool {
        self.core.backend.relay().is_some()
    }

    /// Whether the rules let a command pass, for FEAT.
    pub fn may_relay(&self, command: &RelayedCommand) -> bool {
        may_relay(self.core.rules.get().as_deref(), command)
    }

    /// Relays a command without data; returns the server's reply, which is 2xx or 3xx.
    pub async fn relay(&self, command: RelayedCommand) -> Result<PeerReply, Failure> {
        let (Admitted { record, target, .. }, relay) = self.core.admit_relayed(command).await?;
        match relay.command(&target).await {
            Ok(reply) => {
                record.done();
                Ok(reply)
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    /// Relays a command for which the server sends data.
    pub async fn relay_read(&self, command: RelayedCommand) -> Result<RelayedDownload, Failure> {
        let (Admitted { record, target, .. }, relay) = self.core.admit_relayed(command).await?;
        match relay.open_read(&target).await {
            Ok(RelayedRead::Started(transfer, reply)) => {
                let root = self.core.root.clone();
                let download = Download { transfer, record, root };
                Ok(RelayedDownload::Started(Box::new(download), reply))
            }
            Ok(RelayedRead::Ended(reply)) => {
                record.done();
                Ok(RelayedDownload::Ended(reply))
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    /// Relays a command for which the server receives data; also returns its 1xx reply.
    pub async fn relay_write(
        &self,
        command: RelayedCommand,
    ) -> Result<(Upload, PeerReply), Failure> {
        let (Admitted { record, target, terms }, relay) = self.core.admit_relayed(command).await?;
        match relay.open_write(&target).await {
            Ok((transfer, reply)) => {
                // Only the server knows it.
                let path = RemotePath::root();
                let root = self.core.root.clone();
                let policy = self.core.rules.get();
                Ok((Upload { transfer, record, root, path, terms, policy }, reply))
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }
}

impl SessionCore {
    async fn admit_relayed(
        &self,
        command: RelayedCommand,
    ) -> Result<(Admitted<RelayedCommand>, &dyn CommandRelay), Failure> {
        let mut record = self.start(self.record(&command)).await?;
        let Some(relay) = self.backend.relay() else {
            let message = "commands are relayed only to servers with `dialect: opaque`";
            return refused(record, Failure::gateway(FailureKind::Internal, message));
        };
        let policy = self.rules.get();
        match decide_relayed(policy.as_deref(), command) {
            Ok(permit) => Ok((self.target(record, permit)?, relay)),
            Err(refusal) => {
                if let Some(policy) = policy {
                    policy.count_denied(refusal.rule());
                }
                record.set_denied_by(refusal.rule().cloned());
                refused(record, refusal.failure())
            }
        }
    }
}
