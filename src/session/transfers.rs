//! Transfers: the backend's transfer together with its record.

use std::sync::Arc;

use super::core::{SessionCore, failed};
use super::path_masking;
use super::record::Record;
use super::rewritten::RewrittenEntries;
use super::root::Root;
use super::size_limit::SizeLimit;
use crate::backend::{Listing, ReadTransfer, WriteTransfer};
use crate::data::{Progress, Sink, Source, Throttle};
use crate::op::{Direction, Entry, Failure, Fault, PeerReply, RemotePath};
use crate::policy::{SessionPolicy, Terms};

/// A download of a file.
pub struct Download {
    pub(super) transfer: Box<dyn ReadTransfer>,
    pub(super) record: Record,
    /// Clients must not see its path.
    pub(super) root: Root,
}

/// An upload of a file.
pub struct Upload {
    pub(super) transfer: Box<dyn WriteTransfer>,
    pub(super) record: Record,
    /// Clients must not see its path.
    pub(super) root: Root,
    /// As the client sees it.
    pub(super) path: RemotePath,
    /// Of its permit.
    pub(super) terms: Terms,
    /// Counts what it refuses.
    pub(super) policy: Option<Arc<SessionPolicy>>,
}

/// A listing of a folder.
pub struct DirectoryListing {
    /// `None` once it is complete, and for a folder that the backend does not have.
    pub(super) listing: Option<Box<dyn Listing>>,
    pub(super) record: Record,
    pub(super) core: Arc<SessionCore>,
    /// As the client sees it.
    pub(super) path: RemotePath,
    pub(super) rewritten: RewrittenEntries,
}

impl Download {
    /// Yields the file's bytes. At its end, [`Self::finish`] reports whether the file is complete.
    pub fn source(&mut self) -> &mut Source {
        self.transfer.source()
    }

    /// Counts the bytes of the transfer for its record.
    pub fn progress(&self) -> Arc<Progress> {
        self.record.progress()
    }

    /// The limits on the transfer's bytes; `None` if there are none.
    pub fn throttle(&self) -> Option<Arc<dyn Throttle>> {
        self.record.throttle(Direction::Download)
    }

    /// Completes a transfer whose source has ended: first with the backend, then with the client by
    /// `ending`. The record covers both.
    ///
    /// # Errors
    /// The failure of the backend or of `ending`.
    pub async fn finish(
        self,
        ending: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Option<PeerReply>, Failure> {
        let reply = match self.transfer.finish().await {
            Ok(reply) => reply,
            Err(failure) => return Err(failed(self.record, &self.root, failure)),
        };
        match ending.await {
            Ok(()) => {
                self.record.done();
                Ok(path_masking::reply(&self.root, reply))
            }
            Err(failure) => {
                self.record.failed(&failure);
                Err(failure)
            }
        }
    }

    /// Ends the transfer before its end. Returns the failure, from the backend where it caused it.
    pub async fn abort(self, failure: Failure) -> Failure {
        aborted(self.record, &self.root, failure, self.transfer.abort().await)
    }
}

impl Upload {
    /// Starts the transfer. To be called before the first byte, once the data connection is
    /// established.
    pub async fn begin(&mut self) -> Result<(), Failure> {
        let started = self.transfer.begin().await;
        started.map_err(|failure| path_masking::failure(&self.root, failure))
    }

    /// Takes the file's bytes. Does not complete the file; [`Self::finish`] does.
    pub fn sink(&mut self) -> &mut Sink {
        self.transfer.sink()
    }

    /// Counts the bytes of the transfer for its record.
    pub fn progress(&self) -> Arc<Progress> {
        self.record.progress()
    }

    /// The limits on the transfer's bytes; `None` if there are none.
    pub fn throttle(&self) -> Option<Arc<dyn Throttle>> {
        let of_session = self.record.throttle(Direction::Upload);
        SizeLimit::over(of_session, &self.path, &self.terms, self.policy.as_ref())
    }

    /// The file's name as the client sees it.
    pub fn path(&self) -> &RemotePath {
        &self.path
    }

    /// Sends all bytes to the backend, as far as this does not complete the file yet. May be
    /// dropped before it is done.
    ///
    /// # Errors
    /// As [`Upload::finish`]; the upload must then be aborted.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        self.transfer.sent(self.record.progress().bytes());
        let settled = self.transfer.settle().await;
        settled.map_err(|failure| path_masking::failure(&self.root, failure))
    }

    /// Completes the upload and waits for the backend's reply.
    pub async fn finish(mut self) -> Result<Option<PeerReply>, Failure> {
        self.transfer.sent(self.record.progress().bytes());
        let outcome = self.transfer.finish().await;
        end(self.record, &self.root, outcome)
    }

    /// Ends the upload before its end: the backend must not treat it as complete. Returns the
    /// failure, from the backend where it caused it.
    pub async fn abort(mut self, failure: Failure) -> Failure {
        self.transfer.sent(self.record.progress().bytes());
        aborted(self.record, &self.root, failure, self.transfer.abort().await)
    }
}

impl DirectoryListing {
    /// The next entries, at most 256 and never none; `None` once the listing is complete.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let Self { listing, core, path, rewritten, .. } = self;
        let root = &core.root;
        let shown = |mut entries: Vec<Entry>| {
            if let Some(policy) = core.rules.get() {
                entries.retain(|entry| !policy.hides_entry(path, entry));
            }
            let seen = |entry| path_masking::entry(root, path, entry);
            (!entries.is_empty()).then(|| entries.into_iter().map(seen).collect())
        };
        while let Some(backend) = listing {
            let batch = backend.next().await;
            let batch = batch.map_err(|failure| path_masking::failure(root, failure))?;
            let Some(mut entries) = batch else {
                *listing = None;
                break;
            };
            rewritten.filter(&mut entries);
            if let Some(entries) = shown(entries) {
                return Ok(Some(entries));
            }
        }
        Ok(shown(rewritten.take()))
    }

    /// Records that the client got the complete listing.
    pub fn finish(self) {
        self.record.done();
    }

    /// Ends the listing early because of `failure`, and records that.
    pub async fn abort(self, failure: &Failure) {
        if let Some(listing) = self.listing {
            listing.abort().await;
        }
        self.record.failed(failure);
    }
}

/// The backend's failure counts only where it caused the end; otherwise it results from the abort.
fn aborted(
    record: Record,
    root: &Root,
    failure: Failure,
    from_backend: Option<Failure>,
) -> Failure {
    match from_backend {
        Some(cause) if failure.fault == Fault::Backend => failed(record, root, cause),
        _ => {
            record.failed(&failure);
            path_masking::front_failure(root, failure)
        }
    }
}

fn end(
    record: Record,
    root: &Root,
    outcome: Result<Option<PeerReply>, Failure>,
) -> Result<Option<PeerReply>, Failure> {
    match outcome {
        Ok(reply) => {
            record.done();
            Ok(path_masking::reply(root, reply))
        }
        Err(failure) => Err(failed(record, root, failure)),
    }
}
