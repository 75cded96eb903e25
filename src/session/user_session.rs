//! Sessions of logged in users: the operations, with one record each.

use std::sync::Arc;

use tracing::Span;

use super::core::{Admitted, SessionCore, failed, failed_or_denied, refused};
use super::opened_file::OpenedFile;
use super::path_masking;
use super::record_line::record_line;
use super::rewritten::RewrittenEntries;
use super::transfers::{DirectoryListing, Download, Upload};
use crate::audit::{Event, What};
use crate::op::{
    Abilities, Answer, Failure, FailureKind, Fault, Greeting, ListDirectory, OpenHandle, OpenMode,
    Operation, ReadFile, RemotePath, Representation, WriteFile, WriteMode,
};

/// The session of a logged in user at the backend of the route.
pub struct Session {
    pub(super) core: Arc<SessionCore>,
}

impl Session {
    pub(super) fn new(core: SessionCore) -> Self {
        Self { core: Arc::new(core) }
    }

    /// The span for the log lines of everything that is done for the session.
    pub fn span(&self) -> &Span {
        &self.core.span
    }

    /// The home directory at the backend, as the client sees it.
    pub fn home(&self) -> RemotePath {
        self.core.root.strip(&self.core.backend.home().path()).unwrap_or_else(RemotePath::root)
    }

    /// The route's text for after the login.
    pub fn greeting(&self) -> Option<&Greeting> {
        self.core.greeting.as_deref()
    }

    /// Performs an operation that is not a transfer.
    pub async fn perform(&self, operation: Operation) -> Result<Answer, Failure> {
        let folder = operation.path().parent().unwrap_or_else(RemotePath::root);
        let is_check = matches!(operation, Operation::RenameFrom(_));
        let if_missing = self.core.root.if_missing(&operation);
        let Admitted { record, target, terms } = self.core.admit_operation(operation).await?;
        let performed = match self.core.open_uploads.perform(target.action()).await {
            Some(performed) => performed,
            None => self.core.backend.perform(&target).await,
        };
        // Rules had it replaced by a request for the file, which the backend may deny.
        let is_replaced = is_check && matches!(target.action(), Operation::Stat(_));
        let performed = match performed {
            Ok(Answer::Entry(_)) if is_replaced => Ok(Answer::Done(None)),
            Err(failure) if is_replaced && failure.kind == FailureKind::PermissionDenied => {
                Ok(Answer::Done(None))
            }
            performed => performed,
        };
        if performed.is_ok() {
            self.core.open_uploads.remove_moved(target.action());
        }
        match performed {
            Ok(Answer::Link(target)) => {
                match path_masking::link(&self.core.root, &folder, target) {
                    Some(target) => {
                        record.done();
                        Ok(Answer::Link(target))
                    }
                    None => {
                        let reason = "the symlink leads out of the folder that you may see";
                        refused(
                            record,
                            Failure::new(FailureKind::PermissionDenied, Fault::Policy, reason),
                        )
                    }
                }
            }
            Ok(answer) => {
                record.done();
                Ok(match answer {
                    Answer::Done(reply) => {
                        Answer::Done(path_masking::reply(&self.core.root, reply))
                    }
                    Answer::Entry(entry) => {
                        Answer::Entry(path_masking::entry(&self.core.root, &folder, entry))
                    }
                    answer => answer,
                })
            }
            Err(failure) => match if_missing.filter(|_| failure.kind == FailureKind::NotFound) {
                Some(answer) => {
                    record.done();
                    Ok(answer)
                }
                None => Err(failed_or_denied(record, &self.core, failure, &terms)),
            },
        }
    }

    /// Starts to list the folder `path`; [`DirectoryListing::next`] returns its entries.
    pub async fn list(&self, path: RemotePath) -> Result<DirectoryListing, Failure> {
        let Admitted { record, target, .. } =
            self.core.admit(ListDirectory { path: path.clone() }).await?;
        let rewritten = RewrittenEntries::of(&self.core, &path).await;
        let listing = match self.core.backend.list(&target).await {
            Ok(listing) => Some(listing),
            Err(failure)
                if failure.kind == FailureKind::NotFound
                    && self.core.root.paths.is_above_rewritten(&path) =>
            {
                None
            }
            Err(failure) => return Err(failed(record, &self.core.root, failure)),
        };
        Ok(DirectoryListing { listing, record, core: self.core.clone(), path, rewritten })
    }

    /// Opens a file for a download that starts `offset` bytes into it.
    pub async fn read(
        &self,
        path: RemotePath,
        offset: u64,
        representation: Representation,
    ) -> Result<Download, Failure> {
        let action = ReadFile { path, offset, representation };
        let Admitted { record, target, .. } = self.core.admit(action).await?;
        match self.core.backend.open_read(&target).await {
            Ok(transfer) => {
                record.set_size(transfer.expected_bytes());
                Ok(Download { transfer, record, root: self.core.root.clone() })
            }
            Err(failure) => Err(failed(record, &self.core.root, failure)),
        }
    }

    /// Opens a file for an upload. With [`WriteMode::Unique`], `path` is the folder.
    pub async fn write(
        &self,
        path: RemotePath,
        mode: WriteMode,
        representation: Representation,
    ) -> Result<Upload, Failure> {
        let action = WriteFile { path, mode, representation };
        let Admitted { mut record, target, terms } = self.core.admit(action).await?;
        match self.core.backend.open_write(&target).await {
            Ok(transfer) => {
                let path = self.core.root.strip(transfer.path()).unwrap_or_else(RemotePath::root);
                record.set_path(&path);
                let (root, policy) = (self.core.root.clone(), self.core.rules.get());
                Ok(Upload { transfer, record, root, path, terms, policy })
            }
            Err(failure) => Err(failed_or_denied(record, &self.core, failure, &terms)),
        }
    }

    /// As
    /// [`BackendSession::expect_exact_times`](crate::backend::BackendSession::expect_exact_times).
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

    /// The optional abilities of the backend.
    pub fn abilities(&self) -> Abilities {
        let all = self.core.backend.abilities();
        Abilities { hard_link: all.hard_link && !self.core.root.hides, ..all }
    }

    /// Opens a file for reads and writes at any offset.
    pub async fn open(&self, path: RemotePath, mode: OpenMode) -> Result<OpenedFile, Failure> {
        let action = OpenHandle { path: path.clone(), mode };
        let Admitted { record, target, terms } = self.core.admit(action).await?;
        match self.core.backend.open(&target).await {
            Ok(file) => {
                if mode.writes() {
                    self.core.open_uploads.insert(target.action().path.clone(), &file);
                }
                Ok(OpenedFile::new(self.core.clone(), path, mode, file, record, terms))
            }
            Err(failure) => Err(failed_or_denied(record, &self.core, failure, &terms)),
        }
    }

    /// Whether policy rules name FTP commands.
    pub fn restricts_commands(&self) -> bool {
        self.core.rules.get().is_some_and(|policy| policy.has_commands())
    }

    /// Refuses an FTP command that a policy rule denies, by its name ("STOU", "SITE CHMOD").
    pub fn check_command(&self, command: &str) -> Result<(), Failure> {
        let Some(policy) = self.core.rules.get() else { return Ok(()) };
        policy.decide_command(command).map_err(|denial| {
            policy.count_denied(denial.rule.as_ref());
            let failure = denial.failure(command);
            record_line!(
                (tracing::Level::INFO, "command", self.core.info, Some(&failure)),
                { operation = command, rule = denial.rule.as_deref(), outcome = failure.kind.as_str(), },
                "command refused"
            );
            failure
        })
    }

    /// Sets whether FTP data connections are encrypted from now on (PROT P), for policy rules.
    pub fn set_data_encrypted(&self, encrypted: bool) {
        self.core.rules.set_data_encrypted(encrypted);
    }

    /// Logs out at the backend. Operations must not follow.
    pub async fn close(&self) {
        self.core.backend.close().await;
    }

    /// Logs a data connection that was refused before any operation.
    pub fn data_connection_refused(&self, command: &str, failure: &Failure) {
        record_line!(
            (tracing::Level::INFO, "data-connection", self.core.info, Some(failure)),
            { operation = command, outcome = "refused", },
            "data connection refused"
        );
        let (info, what) = (&self.core.info, What::DataConnection(command));
        info.audit.record(&Event::new(info.subject(), what, "refused", Some(failure)));
    }
}
