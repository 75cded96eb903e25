use std::sync::Arc;

use super::end::SessionRecord;
use super::opened_file::OpenedFile;
use super::record::{Metrics, Record, Who};
use super::root::Root;
use super::transfers::{Download, FolderListing, Upload};
use super::unfinished::Unfinished;
use super::veil;
use crate::auth::Identity;
use crate::backend::BackendSession;
use crate::op::{
    Abilities, Answer, Failure, FailureKind, Fault, OpenMode, Operation, RemotePath,
    Representation, WriteMode,
};
use crate::policy;
use crate::route::Target;

/// Somebody logged in, with the backend that the route chose.
pub struct Session {
    pub(super) identity: Identity,
    pub(super) who: Arc<Who>,
    pub(super) metrics: Metrics,
    pub(super) root: Root,
    pub(super) backend: Box<dyn BackendSession>,
    pub(super) unfinished: Unfinished,
    #[expect(dead_code, reason = "written when dropped")]
    pub(super) record: SessionRecord,
}

impl Session {
    /// Where the backend's login put the user, as the client sees it.
    pub fn home(&self) -> RemotePath {
        self.root.strip(&self.backend.home().path()).unwrap_or_else(RemotePath::root)
    }

    /// What ends in a plain answer.
    pub async fn perform(&self, operation: Operation) -> Result<Answer, Failure> {
        let folder = operation.path().parent().unwrap_or_else(RemotePath::root);
        let (record, target) = self.admit(operation)?;
        let performed = match self.unfinished.answer(target.operation()).await {
            Some(answered) => answered,
            None => self.backend.perform(&target).await,
        };
        match performed {
            Ok(Answer::Link(target)) => match veil::link(&self.root, &folder, target) {
                Some(target) => {
                    record.done();
                    Ok(Answer::Link(target))
                }
                None => {
                    let why = "the symlink leads out of what you may see";
                    refused(record, Failure::new(FailureKind::PermissionDenied, Fault::Policy, why))
                }
            },
            Ok(answer) => {
                record.done();
                Ok(match answer {
                    Answer::Done(words) => Answer::Done(veil::words(&self.root, words)),
                    Answer::Entry(entry) => Answer::Entry(veil::entry(&self.root, &folder, entry)),
                    answer => answer,
                })
            }
            Err(failure) => Err(failed(record, &self.root, failure)),
        }
    }

    pub async fn list(&self, path: RemotePath) -> Result<FolderListing, Failure> {
        let (record, target) = self.admit(Operation::List(path.clone()))?;
        match self.backend.list(&target).await {
            Ok(listing) => Ok(FolderListing { listing, record, root: self.root.clone(), path }),
            Err(failure) => Err(failed(record, &self.root, failure)),
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
            Err(failure) => Err(failed(record, &self.root, failure)),
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
                let path = self.root.strip(transfer.path()).unwrap_or_else(RemotePath::root);
                record.set_path(path.clone());
                Ok(Upload { transfer, record, path, root: self.root.clone() })
            }
            Err(failure) => Err(failed(record, &self.root, failure)),
        }
    }

    /// As [`BackendSession::expect_many`].
    pub fn expect_many(&self) {
        self.backend.expect_many();
    }

    /// As [`BackendSession::expect_transfer`].
    pub fn expect_transfer(&self) {
        self.backend.expect_transfer();
    }

    /// What the backend can beyond the basics.
    pub fn abilities(&self) -> Abilities {
        let all = self.backend.abilities();
        Abilities { hard_link: all.hard_link && !self.root.hides, ..all }
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
                if mode.writes() {
                    self.unfinished.begin(target.operation().path().clone(), &file);
                }
                Ok(OpenedFile::new(self.clone(), path, mode, file, record))
            }
            Err(failure) => Err(failed(record, &self.root, failure)),
        }
    }

    pub async fn close(&self) {
        self.backend.close().await;
    }

    pub(super) fn admit(&self, operation: Operation) -> Result<(Record, Target), Failure> {
        let record = Record::new(self.who.clone(), self.metrics.clone(), &operation);
        // A root is a prefix, no jail: a link could lead out of it.
        let links = matches!(operation, Operation::Symlink { .. } | Operation::HardLink { .. });
        if links && self.root.hides {
            let why = "links are not made below a route's root: they could lead out of it";
            let denied = Failure::new(FailureKind::PermissionDenied, Fault::Policy, why);
            return refused(record, denied);
        }
        if let Operation::Symlink { target, .. } = &operation
            && self.root.relative
            && target.starts_with(b"/")
        {
            let why = "the backend server does not tell where the login put the user, so a link cannot \
                       lead to an absolute path; set `login_folder` on the backend";
            return refused(record, Failure::backend(FailureKind::Unsupported, why));
        }
        if touches_own_root(&operation, &self.root) {
            let why = "the root folder stays as it is: it can be neither removed nor renamed";
            let denied = Failure::new(FailureKind::PermissionDenied, Fault::Policy, why);
            return refused(record, denied);
        }
        let permit = policy::decide(&self.identity, operation);
        match Target::new(permit, &self.root.path) {
            Ok(target) => Ok((record, target)),
            Err(e) => refused(record, Failure::client(FailureKind::NameRefused, e)),
        }
    }
}

/// Whether it would take away, or close to all, what a route shows to its users as their `/`.
fn touches_own_root(operation: &Operation, root: &Root) -> bool {
    match operation {
        Operation::Remove(path) | Operation::RemoveDirectory(path) => path.is_root(),
        Operation::Rename { from, to, .. } => from.is_root() || to.is_root(),
        Operation::SetAttributes { path, changes, .. } => {
            let closes = changes.permissions.is_some() || changes.owner.is_some();
            path.is_root() && root.hides && closes
        }
        _ => false,
    }
}

/// Refused before a backend was asked.
fn refused<T>(record: Record, failure: Failure) -> Result<T, Failure> {
    record.failed(&failure);
    Err(failure)
}

/// Writes the record of what a backend did not do; what is returned is for the client.
pub(super) fn failed(record: Record, root: &Root, failure: Failure) -> Failure {
    record.failed(&failure);
    veil::failure(root, failure)
}
