//! The file of an upload that is not complete, and what becomes of it (`partial_uploads`).

use std::sync::Arc;

use crate::backend::ftp::ConnectionGuard;
use crate::backend::ftp::settings::UncheckedRename;
use crate::backend::ftp::{attributes, renames, stat};
use crate::backend::path_leases::PathLease;
use crate::backend::{PartialUploads, temporary_name};
use crate::op::{Failure, FailureKind, PeerReply, RemotePath};

/// A file that is being uploaded, until it is complete.
#[derive(Clone, Default)]
pub(in crate::backend::ftp) struct PartialFile {
    /// The temporary name, if it is not written under its final one.
    pub(in crate::backend::ftp) temporary: Option<RemotePath>,
    /// Whether it is deleted if the upload is aborted.
    pub(in crate::backend::ftp) delete_on_abort: bool,
    /// The size of an existing file of this name, if it was requested and is reported.
    pub(in crate::backend::ftp) original_size: Option<u64>,
    /// Bytes stored by earlier transfers.
    pub(in crate::backend::ftp) synced_bytes: u64,
    /// Fails if another file has the name at the end.
    pub(in crate::backend::ftp) exclusive: bool,
    /// The existing file that it replaces.
    pub(in crate::backend::ftp) replaces: Option<ReplacedFile>,
    /// The lease of the final name, if that is written to.
    pub(super) lease: Option<Arc<PathLease>>,
}

/// An existing file that is rewritten from its start without being truncated.
#[derive(Clone, Copy)]
pub(in crate::backend::ftp) struct ReplacedFile {
    /// The mode for the new file; `None` if the server cannot set modes.
    pub(in crate::backend::ftp) permissions: Option<u32>,
}

impl PartialFile {
    /// As configured. To be called before the first transfer.
    pub(in crate::backend::ftp) async fn new(
        guard: &mut ConnectionGuard,
        path: &RemotePath,
        exclusive: bool,
    ) -> Result<Self, Failure> {
        let policy = guard.settings.partial_uploads;
        let mut part = Self { exclusive, ..Self::default() };
        match policy {
            PartialUploads::Keep => {}
            PartialUploads::TemporaryName => part.temporary = Some(temporary_name(path)?),
            PartialUploads::Delete => match size(guard, path).await {
                Ok(original_size) => {
                    (part.delete_on_abort, part.original_size) = (true, original_size);
                }
                Err(failure) => {
                    guard.check()?;
                    tracing::info!(path = path.as_bytes(), %failure, "cannot check for an existing file: an incomplete upload would be kept");
                }
            },
        }
        Ok(part)
    }

    /// Written under a temporary name; the existing file stays until the new one is complete.
    pub(in crate::backend::ftp) fn replacing(
        path: &RemotePath,
        replaced: ReplacedFile,
    ) -> Result<Self, Failure> {
        let temporary = Some(temporary_name(path)?);
        Ok(Self { temporary, replaces: Some(replaced), ..Self::default() })
    }

    /// Written again from its start.
    pub(in crate::backend::ftp) fn restarted(self) -> Self {
        Self { synced_bytes: 0, ..self }
    }

    /// Deletes the file if configured. It must be this upload's: a server that replaces files at
    /// the end still has the older one, and a client may have started the file again.
    pub(in crate::backend::ftp) async fn delete_if_own(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
        bytes_sent: Option<u64>,
    ) {
        if let (Some(_), Some(temporary)) = (self.replaces, &self.temporary) {
            return delete_temporary(guard, temporary).await;
        }
        let Some(lease) = self.lease.as_ref().filter(|_| self.delete_on_abort) else { return };
        let deleted = async {
            if guard.check().is_err() {
                guard.renew().await?;
            }
            match lease.guard_if_newest() {
                Some(_guard) => self.delete_own(guard, path, bytes_sent).await,
                None => Ok(()),
            }
        };
        if let Err(failure) = deleted.await {
            tracing::warn!(path = path.as_bytes(), %failure, "the partial file of an aborted upload could not be deleted");
        }
    }

    /// Renames a complete file to its final name.
    pub(in crate::backend::ftp) async fn rename_to_final(
        self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
    ) -> Result<(), Failure> {
        let Some(temporary) = self.temporary else { return Ok(()) };
        guard.pool().account().lease(path).await;
        let renamed = match (self.exclusive, self.replaces) {
            (true, _) => {
                renames::rename_to_new(guard, &temporary, path, UncheckedRename::Refuse).await
            }
            (false, None) => renames::replace(guard, &temporary, path).await,
            (false, Some(replaced)) => replace_original(guard, &temporary, path, replaced).await,
        };
        renamed.map(drop)
    }

    async fn delete_own(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
        bytes_sent: Option<u64>,
    ) -> Result<(), Failure> {
        let Some(size) = size(guard, path).await? else { return Ok(()) };
        let max = bytes_sent.map(|bytes_sent| self.synced_bytes + bytes_sent);
        if self.original_size == Some(size) || max.is_some_and(|max| size > max) {
            tracing::warn!(
                path = path.as_bytes(),
                size,
                ?max,
                "kept the file after an aborted upload: it is not the upload's own"
            );
            return Ok(());
        }
        guard.expect_at(2, "DELE", path).await.map(drop)
    }
}

/// Gives the new file the original's permissions and name, or deletes it.
async fn replace_original(
    guard: &mut ConnectionGuard,
    temporary: &RemotePath,
    path: &RemotePath,
    replaced: ReplacedFile,
) -> Result<PeerReply, Failure> {
    let renamed = async {
        if let Some(mode) = replaced.permissions {
            attributes::set_permissions(guard, temporary, mode).await?;
        }
        renames::replace(guard, temporary, path).await
    };
    let renamed = renamed.await;
    if renamed.is_err() {
        delete_temporary(guard, temporary).await;
    }
    renamed
}

async fn delete_temporary(guard: &mut ConnectionGuard, temporary: &RemotePath) {
    let deleted = async {
        if guard.check().is_err() {
            guard.renew().await?;
        }
        guard.expect_at(2, "DELE", temporary).await
    };
    if let Err(failure) = deleted.await {
        tracing::warn!(path = temporary.as_bytes(), %failure, "the partial file of a failed upload remains under its temporary name");
    }
}

/// The size of an existing file. Only for a server without SIZE and MLST the whole folder is listed.
async fn size(guard: &mut ConnectionGuard, path: &RemotePath) -> Result<Option<u64>, Failure> {
    match stat::reported_size(guard, path).await {
        Err(failure) if failure.kind == FailureKind::Unsupported => {
            stat::file_size(guard, path).await
        }
        size => size,
    }
}
