use std::sync::Arc;

use super::record::{Metrics, Record, Who};
use super::transfers::{Download, FolderListing, Upload};
use crate::auth::Identity;
use crate::backend::{Answer, BackendSession};
use crate::op::{Failure, FailureKind, Operation, RemotePath, Representation, WriteMode};
use crate::policy;
use crate::route::Target;

/// Somebody logged in, with the backend that the route chose.
pub struct Session {
    pub(super) identity: Identity,
    pub(super) who: Arc<Who>,
    pub(super) metrics: Metrics,
    pub(super) root: RemotePath,
    pub(super) backend: Box<dyn BackendSession>,
}

impl Session {
    /// Where the backend's login put the user, as the client sees it.
    pub fn home(&self) -> RemotePath {
        self.backend.home().strip_root(&self.root).unwrap_or_else(RemotePath::root)
    }

    /// What ends in a plain answer.
    pub async fn perform(&self, operation: Operation) -> Result<Answer, Failure> {
        let (record, target) = self.admit(operation)?;
        let answer = self.backend.perform(&target).await;
        match &answer {
            Ok(_) => record.done(),
            Err(failure) => record.failed(failure),
        }
        answer
    }

    pub async fn list(&self, path: RemotePath) -> Result<FolderListing, Failure> {
        let (record, target) = self.admit(Operation::List(path))?;
        match self.backend.list(&target).await {
            Ok(listing) => Ok(FolderListing { listing, record }),
            Err(failure) => refused(record, failure),
        }
    }

    pub async fn read(
        &self,
        path: RemotePath,
        offset: u64,
        representation: Representation,
    ) -> Result<Download, Failure> {
        let (record, target) = self.admit(Operation::Read { path, offset, representation })?;
        match self.backend.open_read(&target).await {
            Ok(transfer) => Ok(Download { transfer, record }),
            Err(failure) => refused(record, failure),
        }
    }

    pub async fn write(
        &self,
        path: RemotePath,
        mode: WriteMode,
        representation: Representation,
    ) -> Result<Upload, Failure> {
        let (mut record, target) = self.admit(Operation::Write { path, mode, representation })?;
        match self.backend.open_write(&target).await {
            Ok(transfer) => {
                let path = transfer.path().strip_root(&self.root).unwrap_or_else(RemotePath::root);
                record.set_path(path.clone());
                Ok(Upload { transfer, record, path })
            }
            Err(failure) => refused(record, failure),
        }
    }

    pub async fn close(self) {
        self.backend.close().await;
    }

    fn admit(&self, operation: Operation) -> Result<(Record, Target), Failure> {
        let record = Record::new(self.who.clone(), self.metrics.clone(), &operation);
        let permit = policy::decide(&self.identity, operation);
        match Target::new(permit, &self.root) {
            Ok(target) => Ok((record, target)),
            Err(e) => refused(record, Failure::client(FailureKind::NameRefused, e)),
        }
    }
}

fn refused<T>(record: Record, failure: Failure) -> Result<T, Failure> {
    record.failed(&failure);
    Err(failure)
}
