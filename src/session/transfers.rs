//! What a session hands to a front for a transfer: the backend's half and the record, kept together.

use std::sync::Arc;

use super::record::Record;
use crate::backend::{Listing, ReadTransfer, WriteTransfer};
use crate::data::{Progress, Sink, Source};
use crate::op::{Entry, Failure, Fault, RemotePath, Words};

/// A file on its way to the client.
pub struct Download {
    pub(super) transfer: Box<dyn ReadTransfer>,
    pub(super) record: Record,
    pub(super) progress: Arc<Progress>,
}

/// A file on its way from the client.
pub struct Upload {
    pub(super) transfer: Box<dyn WriteTransfer>,
    pub(super) record: Record,
    pub(super) progress: Arc<Progress>,
    /// As the client sees it.
    pub(super) path: RemotePath,
}

/// A folder being listed.
pub struct FolderListing {
    pub(super) listing: Box<dyn Listing>,
    pub(super) record: Record,
}

impl Download {
    pub fn source(&mut self) -> &mut Source {
        self.transfer.source()
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The source has ended: asks the backend whether that was all.
    pub async fn finish(self) -> Result<Option<Words>, Failure> {
        let outcome = self.transfer.finish().await;
        end(self.record, &self.progress, outcome)
    }

    /// Ends it before its end. Returns the failure, in the backend's own words where it was the
    /// backend's.
    pub async fn abort(self, failure: Failure) -> Failure {
        let failure = told(failure, self.transfer.abort().await);
        self.record.failed(self.progress.bytes(), &failure);
        failure
    }
}

impl Upload {
    pub fn sink(&mut self) -> &mut Sink {
        self.transfer.sink()
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The file's name as the client sees it.
    pub fn path(&self) -> &RemotePath {
        &self.path
    }

    /// All bytes are in the sink: closes it as *complete* and waits for the backend's word.
    pub async fn finish(self) -> Result<Option<Words>, Failure> {
        let outcome = self.transfer.finish().await;
        end(self.record, &self.progress, outcome)
    }

    /// Cut: the backend must not take what it has for a whole file. Returns the failure, in the
    /// backend's own words where it was the backend's.
    pub async fn abort(self, failure: Failure) -> Failure {
        let failure = told(failure, self.transfer.abort().await);
        self.record.failed(self.progress.bytes(), &failure);
        failure
    }
}

impl FolderListing {
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        self.listing.next().await
    }

    /// The end was reached, or an error told.
    pub fn finish(self, outcome: Result<(), &Failure>) {
        match outcome {
            Ok(()) => self.record.done(0),
            Err(failure) => self.record.failed(0, failure),
        }
    }

    pub async fn abort(self, failure: &Failure) {
        self.listing.abort().await;
        self.record.failed(0, failure);
    }
}

/// What a backend says about a transfer that the client cut is only the echo of that.
fn told(failure: Failure, by_backend: Option<Failure>) -> Failure {
    match by_backend {
        Some(told) if failure.fault == Fault::Backend => told,
        _ => failure,
    }
}

fn end(
    record: Record,
    progress: &Progress,
    outcome: Result<Option<Words>, Failure>,
) -> Result<Option<Words>, Failure> {
    match &outcome {
        Ok(_) => record.done(progress.bytes()),
        Err(failure) => record.failed(progress.bytes(), failure),
    }
    outcome
}
