use std::sync::Arc;

use super::opened_file::OpenedFile;
use super::record::{Metrics, Record, Who};
use super::transfers::{Download, FolderListing, Upload};
use super::unfinished::Unfinished;
use crate::auth::Identity;
use crate::backend::{Abilities, Answer, BackendSession};
use crate::op::{
    Failure, FailureKind, Fault, OpenMode, Operation, RemotePath, Representation, Words, WriteMode,
};
use crate::policy;
use crate::route::Target;

/// Somebody logged in, with the backend that the route chose.
pub struct Session {
    pub(super) identity: Identity,
    pub(super) who: Arc<Who>,
    pub(super) metrics: Metrics,
    pub(super) root: RemotePath,
    pub(super) backend: Box<dyn BackendSession>,
    pub(super) unfinished: Unfinished,
}

impl Session {
    /// Where the backend's login put the user, as the client sees it.
    pub fn home(&self) -> RemotePath {
        self.backend.home().strip_root(&self.root).unwrap_or_else(RemotePath::root)
    }

    /// What ends in a plain answer.
    pub async fn perform(&self, operation: Operation) -> Result<Answer, Failure> {
        let (record, target) = self.admit(operation)?;
        let performed = match self.unfinished.answer(target.operation()).await {
            Some(answered) => answered,
            None => self.backend.perform(&target).await,
        };
        match performed {
            Ok(answer) => {
                record.done();
                Ok(match answer {
                    Answer::Done(words) => Answer::Done(veiled_words(&self.root, words)),
                    Answer::Link(target) => Answer::Link(veiled_link(&self.root, target)?),
                    answer => answer,
                })
            }
            Err(failure) => refused(record, &self.root, failure),
        }
    }

    pub async fn list(&self, path: RemotePath) -> Result<FolderListing, Failure> {
        let (record, target) = self.admit(Operation::List(path))?;
        match self.backend.list(&target).await {
            Ok(listing) => Ok(FolderListing { listing, record, root: self.root.clone() }),
            Err(failure) => refused(record, &self.root, failure),
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
            Ok(transfer) => Ok(Download { transfer, record, root: self.root.clone() }),
            Err(failure) => refused(record, &self.root, failure),
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
                Ok(Upload { transfer, record, path, root: self.root.clone() })
            }
            Err(failure) => refused(record, &self.root, failure),
        }
    }

    /// What the backend can beyond the basics.
    pub fn abilities(&self) -> Abilities {
        let all = self.backend.abilities();
        Abilities { hard_link: all.hard_link && self.root.is_root(), ..all }
    }

    /// A file to be read and written at any offset.
    pub async fn open(
        self: &Arc<Self>,
        path: RemotePath,
        mode: OpenMode,
    ) -> Result<OpenedFile, Failure> {
        let operation = Operation::Open { path: path.clone(), mode };
        let (record, target) = self.admit(operation)?;
        match self.backend.open(&target).await {
            Ok(file) => {
                if mode.write || mode.append {
                    self.unfinished.begin(target.operation().path().clone(), &file);
                }
                Ok(OpenedFile::new(self.clone(), path, file, record))
            }
            Err(failure) => refused(record, &self.root, failure),
        }
    }

    pub async fn close(&self) {
        self.backend.close().await;
    }

    pub(super) fn admit(&self, operation: Operation) -> Result<(Record, Target), Failure> {
        let record = Record::new(self.who.clone(), self.metrics.clone(), &operation);
        // A root is a prefix, no jail: a link could lead out of it.
        let links = matches!(operation, Operation::Symlink { .. } | Operation::HardLink { .. });
        if links && !self.root.is_root() {
            let why = "links are not made below a route's root: they could lead out of it";
            let denied = Failure::new(FailureKind::PermissionDenied, Fault::Policy, why);
            return refused(record, &self.root, denied);
        }
        let permit = policy::decide(&self.identity, operation);
        match Target::new(permit, &self.root) {
            Ok(target) => Ok((record, target)),
            Err(e) => refused(record, &self.root, Failure::client(FailureKind::NameRefused, e)),
        }
    }
}

/// With a `root`, a client must not see the backend's words: they name paths as they are there.
pub(super) fn veiled_words(root: &RemotePath, words: Option<Words>) -> Option<Words> {
    words.filter(|_| root.is_root())
}

/// Where a symlink leads, as a client of a route with `root` may know it.
fn veiled_link(root: &RemotePath, target: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if root.is_root() || !target.starts_with(b"/") {
        return Ok(target);
    }
    let inside = RemotePath::resolve(&RemotePath::root(), &target).ok();
    match inside.and_then(|path| path.strip_root(root)) {
        Some(path) => Ok(path.as_bytes().to_vec()),
        None => Err(Failure::new(
            FailureKind::PermissionDenied,
            Fault::Policy,
            "the symlink leads out of what you may see",
        )),
    }
}

/// As [`veiled_words`]. What was hidden is in the record.
pub(super) fn veiled(root: &RemotePath, failure: Failure) -> Failure {
    if root.is_root() || failure.fault != Fault::Backend {
        return failure;
    }
    let detail =
        failure.detail.map_or(failure.message.clone(), |d| format!("{}: {d}", failure.message));
    Failure::backend(failure.kind, failure.kind.sentence()).with_detail(detail)
}

fn refused<T>(record: Record, root: &RemotePath, failure: Failure) -> Result<T, Failure> {
    Err(failed(record, root, failure))
}

/// Writes the record of what did not succeed; what is returned is for the client.
pub(super) fn failed(record: Record, root: &RemotePath, failure: Failure) -> Failure {
    record.failed(&failure);
    veiled(root, failure)
}
