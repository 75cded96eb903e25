//! The file of an upload that is not complete, and what becomes of it (`partial_uploads`).

use std::sync::Arc;

use crate::backend::ftp::ConnectionGuard;
use crate::backend::ftp::settings::UncheckedRename;
use crate::backend::ftp::{attributes, renames, stat};
use crate::backend::path_leases::PathLease;
use crate::backend::{PartialUploads, temporary_name};
use crate::op::{Failure, FailureKind, PeerReply, RemotePath};

/// A file that was begun here, until it is whole.
#[derive(Clone, Default)]
pub(in crate::backend::ftp) struct Part {
    /// The name that is written to, where it is not the file's own.
    pub(in crate::backend::ftp) temporary: Option<RemotePath>,
    /// Whether it is deleted when it is cut.
    pub(in crate::backend::ftp) delete: bool,
    /// The bytes of an older file of this name, where that was asked and is told.
    pub(in crate::backend::ftp) before: Option<u64>,
    /// What earlier transfers of it have brought, in bytes.
    pub(in crate::backend::ftp) synced: u64,
    /// A file that has the name by the end is an error.
    pub(in crate::backend::ftp) exclusive: bool,
    /// The file that is there is replaced by it.
    pub(in crate::backend::ftp) replaces: Option<Replaced>,
    /// Of the name that is written to, where it is the file's own.
    pub(super) lease: Option<Arc<PathLease>>,
}

/// A file that was there when its name was written to without having been emptied.
#[derive(Clone, Copy)]
pub(in crate::backend::ftp) struct Replaced {
    /// Which the new one is to have; `None` where the server sets none.
    pub(in crate::backend::ftp) permissions: Option<u32>,
}

impl Part {
    /// As configured; before the first transfer.
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
                Ok(before) => (part.delete, part.before) = (true, before),
                Err(failure) => {
                    guard.check()?;
                    tracing::info!(path = path.as_bytes(), %failure, "whether there is an older file is not known: a part would be kept");
                }
            },
        }
        Ok(part)
    }

    /// Written under another name; the file that is there stays until it is whole.
    pub(in crate::backend::ftp) fn replacing(
        path: &RemotePath,
        replaced: Replaced,
    ) -> Result<Self, Failure> {
        let temporary = Some(temporary_name(path)?);
        Ok(Self { temporary, replaces: Some(replaced), ..Self::default() })
    }

    /// Written again from its begin.
    pub(in crate::backend::ftp) fn anew(self) -> Self {
        Self { synced: 0, ..self }
    }

    /// Deletes it where it is configured so, and where it is no other file: a server that switches at
    /// the end still has the older one, and a client may have come back and begun it anew.
    pub(in crate::backend::ftp) async fn delete(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
        sent: Option<u64>,
    ) {
        if let (Some(_), Some(temporary)) = (self.replaces, &self.temporary) {
            return delete_temporary(guard, temporary).await;
        }
        let Some(lease) = self.lease.as_ref().filter(|_| self.delete) else { return };
        let deleted = async {
            if guard.check().is_err() {
                guard.renew().await?;
            }
            match lease.guard_if_newest() {
                Some(_guard) => self.delete_own(guard, path, sent).await,
                None => Ok(()),
            }
        };
        if let Err(failure) = deleted.await {
            tracing::warn!(path = path.as_bytes(), %failure, "the part of a cut upload stays");
        }
    }

    /// A whole file gets its own name.
    pub(in crate::backend::ftp) async fn give_name(
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
            (false, Some(replaced)) => take_place(guard, &temporary, path, replaced).await,
        };
        renamed.map(drop)
    }

    async fn delete_own(
        &self,
        guard: &mut ConnectionGuard,
        path: &RemotePath,
        sent: Option<u64>,
    ) -> Result<(), Failure> {
        let Some(size) = size(guard, path).await? else { return Ok(()) };
        let most = sent.map(|sent| self.synced + sent);
        if self.before == Some(size) || most.is_some_and(|most| size > most) {
            tracing::warn!(
                path = path.as_bytes(),
                size,
                ?most,
                "what is there behind a cut upload is not its part: kept"
            );
            return Ok(());
        }
        guard.expect_at(2, "DELE", path).await.map(drop)
    }
}

/// The new file gets the old one's permissions and its name, or is deleted.
async fn take_place(
    guard: &mut ConnectionGuard,
    temporary: &RemotePath,
    path: &RemotePath,
    replaced: Replaced,
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
        tracing::warn!(path = temporary.as_bytes(), %failure, "the part of an upload that failed stays under its temporary name");
    }
}

/// What is there. Only a server that knows neither SIZE nor MLST is asked for the whole folder.
async fn size(guard: &mut ConnectionGuard, path: &RemotePath) -> Result<Option<u64>, Failure> {
    match stat::reported_size(guard, path).await {
        Err(failure) if failure.kind == FailureKind::Unsupported => {
            stat::file_size(guard, path).await
        }
        told => told,
    }
}
