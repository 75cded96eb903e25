//! Somebody logged in: the operations, one record each.

use std::sync::Arc;

use tracing::Span;

use super::core::{SessionCore, failed, refused};
use super::opened_file::OpenedFile;
use super::path_masking;
use super::record_line::record_line;
use super::transfers::{Download, FolderListing, Upload};
use crate::op::{
    Abilities, Action, Answer, Failure, FailureKind, Fault, ListFolder, OpenHandle, OpenMode,
    Operation, ReadFile, RemotePath, Representation, WriteFile, WriteMode,
};

/// Somebody logged in, with the backend that the route chose.
pub struct Session {
    pub(super) core: Arc<SessionCore>,
}

impl Session {
    pub(super) fn new(core: SessionCore) -> Self {
        Self { core: Arc::new(core) }
    }

    /// What the log lines of all that is done for the session are to be written in.
    pub fn span(&self) -> &Span {
        &self.core.span
    }

    /// Where the backend's login put the user, as the client sees it.
    pub fn home(&self) -> RemotePath {
        self.core.root.strip(&self.core.backend.home().path()).unwrap_or_else(RemotePath::root)
    }

    /// What ends in a plain answer.
    pub async fn perform(&self, operation: Operation) -> Result<Answer, Failure> {
        let folder = operation.path().parent().unwrap_or_else(RemotePath::root);
        let (record, target) = self.core.admit_operation(operation)?;
        let performed = match self.core.unfinished.answer(target.action()).await {
            Some(answered) => answered,
            None => self.core.backend.perform(&target).await,
        };
        if performed.is_ok() {
            self.core.unfinished.note_done(target.action());
        }
        match performed {
            Ok(Answer::Link(target)) => {
                match path_masking::link(&self.core.root, &folder, target) {
                    Some(target) => {
                        record.done();
                        Ok(Answer::Link(target))
                    }
                    None => {
                        let why = "the symlink leads out of what you may see";
                        refused(
                            record,
                            Failure::new(FailureKind::PermissionDenied, Fault::Policy, why),
                        )
                    }
                }
            }
            Ok(answer) => {
                record.done();
                Ok(match answer {
                    Answer::Done(words) => {
                        Answer::Done(path_masking::words(&self.core.root, words))
                    }
                    Answer::Entry(entry) => {
                        Answer::Entry(path_masking::entry(&self.core.root, &folder, entry))
                    }
                    answer => answer,
                })
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    pub async fn list(&self, path: RemotePath) -> Result<FolderListing, Failure> {
        let (record, target) = self.core.admit(ListFolder { path: path.clone() })?;
        match self.core.backend.list(&target).await {
            Ok(listing) => {
                Ok(FolderListing { listing, record, root: self.core.root.clone(), path })
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    pub async fn read(
        &self,
        path: RemotePath,
        offset: u64,
        representation: Representation,
    ) -> Result<Download, Failure> {
        let (record, target) = self.core.admit(ReadFile { path, offset, representation })?;
        match self.core.backend.open_read(&target).await {
            Ok(transfer) => Ok(Download { transfer, record, root: self.core.root.clone() }),
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    pub async fn write(
        &self,
        path: RemotePath,
        mode: WriteMode,
        representation: Representation,
    ) -> Result<Upload, Failure> {
        let (mut record, target) = self.core.admit(WriteFile { path, mode, representation })?;
        match self.core.backend.open_write(&target).await {
            Ok(transfer) => {
                let path = self.core.root.strip(transfer.path()).unwrap_or_else(RemotePath::root);
                record.set_path(path.clone());
                Ok(Upload { transfer, record, path, root: self.core.root.clone() })
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    /// As [`BackendSession::expect_exact_times`](crate::backend::BackendSession::expect_exact_times).
    pub fn expect_exact_times(&self) {
        self.core.backend.expect_exact_times();
    }

    /// As [`BackendSession::expect_many`].
    pub fn expect_many(&self) {
        self.core.backend.expect_many();
    }

    /// As [`BackendSession::expect_transfer`].
    pub fn expect_transfer(&self) {
        self.core.backend.expect_transfer();
    }

    /// What the backend can beyond the basics.
    pub fn abilities(&self) -> Abilities {
        let all = self.core.backend.abilities();
        Abilities { hard_link: all.hard_link && !self.core.root.hides, ..all }
    }

    /// A file to be read and written at any offset.
    pub async fn open(&self, path: RemotePath, mode: OpenMode) -> Result<OpenedFile, Failure> {
        let (record, target) = self.core.admit(OpenHandle { path: path.clone(), mode })?;
        match self.core.backend.open(&target).await {
            Ok(file) => {
                if mode.writes() {
                    self.core.unfinished.begin(target.action().path.clone(), &file);
                }
                Ok(OpenedFile::new(self.core.clone(), path, mode, file, record))
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    pub async fn close(&self) {
        self.core.backend.close().await;
    }

    /// What was asked for a data connection and refused before any operation.
    pub fn data_connection_refused(&self, command: &str, failure: &Failure) {
        record_line!(
            (tracing::Level::INFO, "data-connection", self.core.who, Some(failure)),
            { operation = command, outcome = "refused", },
            "data connection refused"
        );
    }
}
