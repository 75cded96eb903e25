//! What a session hands to a front for a transfer: the backend's half and the record, kept together.

use std::sync::Arc;

use super::core::failed;
use super::path_masking;
use super::record::Record;
use super::root::Root;
use crate::backend::{Listing, ReadTransfer, WriteTransfer};
use crate::data::{Progress, Sink, Source};
use crate::op::{Entry, Failure, Fault, PeerReply, RemotePath};

/// A file on its way to the client.
pub struct Download {
    pub(super) transfer: Box<dyn ReadTransfer>,
    pub(super) record: Record,
    /// The route's, whose path clients must not see.
    pub(super) root: Root,
}

/// A file on its way from the client.
pub struct Upload {
    pub(super) transfer: Box<dyn WriteTransfer>,
    pub(super) record: Record,
    /// The route's, whose path clients must not see.
    pub(super) root: Root,
    /// As the client sees it.
    pub(super) path: RemotePath,
}

/// A folder being listed.
pub struct FolderListing {
    pub(super) listing: Box<dyn Listing>,
    pub(super) record: Record,
    /// The route's, whose path clients must not see.
    pub(super) root: Root,
    /// As the client sees it.
    pub(super) path: RemotePath,
}

impl Download {
    pub fn source(&mut self) -> &mut Source {
        self.transfer.source()
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.record.progress()
    }

    /// The source has ended: asks the backend whether that was all, and only then gives the client its
    /// end. The record is about both.
    ///
    /// # Errors
    /// What the backend has against it, or `ending`.
    pub async fn finish(
        self,
        ending: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Option<PeerReply>, Failure> {
        let words = match self.transfer.finish().await {
            Ok(words) => words,
            Err(failure) => return Err(failed(self.record, &self.root, failure)),
        };
        match ending.await {
            Ok(()) => {
                self.record.done();
                Ok(path_masking::words(&self.root, words))
            }
            Err(failure) => {
                self.record.failed(&failure);
                Err(failure)
            }
        }
    }

    /// Ends it before its end. Returns the failure, in the backend's own words where it was the
    /// backend's.
    pub async fn abort(self, failure: Failure) -> Failure {
        cut(self.record, &self.root, failure, self.transfer.abort().await)
    }
}

impl Upload {
    /// The client's data connection is there. To be called before the first byte.
    pub async fn begin(&mut self) -> Result<(), Failure> {
        let begun = self.transfer.begin().await;
        begun.map_err(|failure| path_masking::failure(&self.root, failure))
    }

    pub fn sink(&mut self) -> &mut Sink {
        self.transfer.sink()
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.record.progress()
    }

    /// The file's name as the client sees it.
    pub fn path(&self) -> &RemotePath {
        &self.path
    }

    /// All bytes are in the sink: brings them to the backend as far as that does not yet make the file
    /// whole. May be dropped before it is done.
    ///
    /// # Errors
    /// As [`Upload::finish`]; the upload is to be aborted then.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        self.transfer.sent(self.record.progress().bytes());
        let settled = self.transfer.settle().await;
        settled.map_err(|failure| path_masking::failure(&self.root, failure))
    }

    /// All bytes are in the sink: closes it as *complete* and waits for the backend's word.
    pub async fn finish(mut self) -> Result<Option<PeerReply>, Failure> {
        self.transfer.sent(self.record.progress().bytes());
        let outcome = self.transfer.finish().await;
        end(self.record, &self.root, outcome)
    }

    /// Cut: the backend must not take what it has for a whole file. Returns the failure, in the
    /// backend's own words where it was the backend's.
    pub async fn abort(mut self, failure: Failure) -> Failure {
        self.transfer.sent(self.record.progress().bytes());
        cut(self.record, &self.root, failure, self.transfer.abort().await)
    }
}

impl FolderListing {
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let Self { listing, root, path, .. } = self;
        let entries =
            listing.next().await.map_err(|failure| path_masking::failure(root, failure))?;
        let seen = |entry| path_masking::entry(root, path, entry);
        Ok(entries.map(|entries| entries.into_iter().map(seen).collect()))
    }

    /// The end was reached.
    pub fn finish(self) {
        self.record.done();
    }

    pub async fn abort(self, failure: &Failure) {
        self.listing.abort().await;
        self.record.failed(failure);
    }
}

/// What a backend says about a transfer that the client cut is only the echo of that.
fn cut(record: Record, root: &Root, failure: Failure, by_backend: Option<Failure>) -> Failure {
    match by_backend {
        Some(told) if failure.fault == Fault::Backend => failed(record, root, told),
        _ => {
            record.failed(&failure);
            path_masking::said_by_front(root, failure)
        }
    }
}

fn end(
    record: Record,
    root: &Root,
    outcome: Result<Option<PeerReply>, Failure>,
) -> Result<Option<PeerReply>, Failure> {
    match outcome {
        Ok(words) => {
            record.done();
            Ok(path_masking::words(root, words))
        }
        Err(failure) => Err(failed(record, root, failure)),
    }
}
