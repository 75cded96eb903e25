//! What becomes of a written file at the end of its upload, whole or aborted (`partial_uploads`).

use std::time::Duration;

use tokio::time::timeout;

use super::attributes;
use super::disk_full;
use super::explain::{Attempt, explain};
use super::remote_file::{PendingClose, RemoteFile};
use super::requests::lost;
use super::server::Server;
use super::stat::link_stat;
use super::status::{Expect, misunderstood};
use crate::backend::home::absolute;
use crate::backend::path_leases::{PathGuard, PathLease};
use crate::backend::{Home, PartialUploads, temporary_name};
use crate::op::{EntryKind, Failure, FailureKind, RemotePath};
use crate::task;
use crate::wire::sftp::{Attributes, Extension, RequestBody};

/// How long the server may take to clean up after an aborted upload.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);

/// What happens at the end of an upload.
#[derive(Clone)]
pub(super) enum Ending {
    /// Whole or aborted, the file stays as it is.
    Keep,
    /// As `Keep`, for a file that is written from its start to its end: aborted, it has no hole, so that
    /// the upload can be resumed.
    KeepPrefix,
    /// Aborted, the file is deleted, if it is still this upload's.
    Delete,
    /// The file is written under a temporary name. Whole, it is renamed; aborted, it stays under the
    /// temporary name, unless nothing was written to it.
    Rename {
        temporary: RemotePath,
        /// The target, where the file's own name is a symlink.
        leads_to: Option<RemotePath>,
        /// It is an error if the name exists by then.
        exclusive: bool,
    },
}

impl Ending {
    /// For a file that the upload starts.
    pub(super) fn for_new_file(
        server: &Server,
        path: &RemotePath,
        exclusive: bool,
    ) -> Result<Self, Failure> {
        Ok(match server.settings.partial_uploads {
            PartialUploads::Keep => Self::Keep,
            PartialUploads::Delete => Self::Delete,
            PartialUploads::TemporaryName => {
                Self::Rename { temporary: temporary_name(path)?, leads_to: None, exclusive }
            }
        })
    }

    /// Takes a lease of the path if the file is written in place. To be called before it is opened.
    pub(super) async fn lease(
        &self,
        server: &Server,
        path: &RemotePath,
    ) -> Result<Option<PathLease>, Failure> {
        match self {
            Self::Keep | Self::KeepPrefix | Self::Delete => server.lease(path).await.map(Some),
            Self::Rename { .. } => Ok(None),
        }
    }

    /// For a file that is written from its start to its end.
    pub(super) fn for_stream(self) -> Self {
        match self {
            Self::Keep => Self::KeepPrefix,
            other => other,
        }
    }

    /// The name to open.
    pub(super) fn written_path<'a>(&'a self, path: &'a RemotePath) -> &'a RemotePath {
        match self {
            Self::Rename { temporary, .. } => temporary,
            _ => path,
        }
    }

    /// The file is whole: CLOSE was successful.
    async fn commit(&self, server: &Server, path: &RemotePath) -> Result<(), Failure> {
        match self {
            Self::Keep | Self::KeepPrefix | Self::Delete => Ok(()),
            Self::Rename { temporary, leads_to, exclusive } => {
                let path = leads_to.as_ref().unwrap_or(path);
                server.changes.note_all();
                server.lease(path).await?;
                rename_finished(server, temporary, path, *exclusive).await
            }
        }
    }

    /// The file is closed and not whole.
    async fn abort(&self, file: &RemoteFile, guard: Option<&PathGuard>) {
        let path = file.path();
        // Otherwise a newer upload has started the file again, and decides about it.
        let is_newest = guard.is_some_and(PathGuard::is_newest);
        match self {
            Self::Delete if is_newest => {
                if let Err(failure) = delete_partial(file).await {
                    tracing::warn!(path = path.as_bytes(), %failure, "a partial upload could not be deleted");
                }
            }
            Self::KeepPrefix if is_newest => {
                let Some(hole) = file.refused_from() else { return };
                if let Err(failure) = truncate_at(file, hole).await {
                    tracing::warn!(
                        path = path.as_bytes(), hole, %failure,
                        "a partial upload has a hole and must not be resumed"
                    );
                }
            }
            Self::Rename { temporary, .. } if file.is_unwritten() => {
                let path = file.server().wire_path(temporary);
                let removed = file.server().requests.send(RequestBody::Remove { path }).await;
                let what = format!("remove {temporary}");
                if let Err(failure) = removed.and_then(|response| response.done(what)) {
                    tracing::warn!(temporary = temporary.as_bytes(), %failure, "an empty temporary file could not be removed");
                }
            }
            _ => {}
        }
    }
}

/// Deletes what the upload wrote, and nothing else that has the name by now: the client may have sent the
/// file again through another session, before the end of this one was noticed.
async fn delete_partial(file: &RemoteFile) -> Result<(), Failure> {
    let server = file.server();
    let (path, _) = find_partial(file, |size| file.may_have_written(size)).await?;
    server.changes.note_all();
    let removed =
        server.requests.send(RequestBody::Remove { path: server.wire_path(&path) }).await?;
    removed.done(format_args!("remove {path}"))
}

/// Removes what the server accepted after a write that it refused.
async fn truncate_at(file: &RemoteFile, hole: u64) -> Result<(), Failure> {
    let server = file.server();
    let is_own = |size| size <= hole || file.may_have_written_past(hole, size);
    let (path, size) = find_partial(file, is_own).await?;
    if size <= hole {
        return Ok(());
    }
    server.changes.note_all();
    let attributes = Attributes { size: Some(hole), ..Attributes::default() };
    let body = RequestBody::SetStat { path: server.wire_path(&path), attributes };
    let truncated = server.requests.send(body).await?;
    truncated.done(format_args!("truncate {path} to {hole} bytes"))
}

/// The file that the upload wrote, symlinks followed, and its size; `is_own`: whether it can have this
/// size.
async fn find_partial(
    file: &RemoteFile,
    is_own: impl Fn(u64) -> bool,
) -> Result<(RemotePath, u64), Failure> {
    let (server, mut path) = (file.server(), file.path().clone());
    let mut entry = link_stat(server, &path).await?;
    if let EntryKind::Symlink(_) = entry.kind {
        path = real_path(server, &path).await?;
        entry = link_stat(server, &path).await?;
    }
    match (entry.kind, entry.attributes.size.filter(|size| is_own(*size))) {
        (EntryKind::File, Some(size)) => Ok((path, size)),
        _ => {
            let message = format_args!("{path} is not what this upload wrote");
            Err(Failure::backend(FailureKind::AlreadyExists, message))
        }
    }
}

/// Resolves symlinks; the last name need not exist.
async fn real_path(server: &Server, path: &RemotePath) -> Result<RemotePath, Failure> {
    let what = format!("resolve {path}");
    let body = RequestBody::RealPath { path: server.wire_path(path) };
    let names = server.requests.send(body).await?.names(&what)?.unwrap_or_default();
    let name = names.into_iter().next().ok_or_else(|| misunderstood(&what))?;
    let resolved = match &server.home {
        Home::At(_) => absolute(&name.name),
        // A path below the login folder has a name in this session; an absolute one has none.
        Home::Unknown if name.name.starts_with(b"/") => None,
        Home::Unknown => absolute(&[b"/", &name.name[..]].concat()),
    };
    resolved.ok_or_else(|| misunderstood(&what))
}

/// Closes a file that is not whole and applies `partial_uploads`. Sends CLOSE with the call, after what is
/// already sent; the rest continues even if the future is dropped.
pub(super) fn abort(file: &RemoteFile, ending: Ending) -> impl Future<Output = ()> + Send + use<> {
    file.cancel_writes();
    let (PendingClose { response, guard }, file) = (file.close(), file.clone());
    let cleanups = file.server().cleanups.clone();
    let aborting = task::spawn_tracked(&cleanups, async move {
        // Whatever the response is, the file counts as partial. It has no deadline of its own, as long as
        // the server goes on with what was sent.
        let _ = response.await;
        if timeout(CLEANUP_TIMEOUT, ending.abort(&file, guard.as_ref())).await.is_err() {
            tracing::warn!(
                path = file.path().as_bytes(),
                "the cleanup after an aborted upload timed out"
            );
        }
    });
    async {
        // Only the end of the gateway interrupts it.
        let _ = aborting.await;
    }
}

/// As [`abort`], without waiting for it.
pub(super) fn abort_in_background(file: RemoteFile, ending: Ending) {
    let has_runtime = tokio::runtime::Handle::try_current().is_ok();
    let is_read = matches!(ending, Ending::Keep) && !file.is_leased();
    if has_runtime && !is_read {
        drop(abort(&file, ending));
    } else {
        file.close_and_forget();
    }
}

/// Renames the finished upload. A server without posix-rename may refuse to replace an existing file: that
/// one is first renamed out of the way, and back if the new one cannot take its place.
async fn rename_finished(
    server: &Server,
    temporary: &RemotePath,
    to: &RemotePath,
    exclusive: bool,
) -> Result<(), Failure> {
    if server.extensions.posix_rename && !exclusive {
        let body =
            Extension::PosixRename { from: server.wire_path(temporary), to: server.wire_path(to) };
        let what = format!("rename the finished upload to {to}");
        return server.requests.send(RequestBody::Extended(body)).await?.done(&what);
    }
    let refusal = match rename(server, temporary, to).await {
        Err(refusal) if refusal.kind != FailureKind::Unavailable && !exclusive => refusal,
        outcome => return explain(server, outcome, to, Attempt::Make).await,
    };
    let backup = temporary_name(to)?;
    if rename(server, to, &backup).await.is_err() {
        return Err(refusal);
    }
    if let Err(failure) = rename(server, temporary, to).await {
        if let Err(lost) = rename(server, &backup, to).await {
            tracing::error!(path = to.as_bytes(), backup = backup.as_bytes(), failure = %lost, "the replaced file could not be renamed back and stays under its backup name");
        }
        return Err(failure);
    }
    let removed = server.requests.send(RequestBody::Remove { path: server.wire_path(&backup) });
    let removed = removed.await.and_then(|response| response.done(format_args!("remove {backup}")));
    if let Err(failure) = removed {
        tracing::warn!(backup = backup.as_bytes(), %failure, "the replaced file could not be removed and stays under its backup name");
    }
    Ok(())
}

async fn rename(server: &Server, from: &RemotePath, to: &RemotePath) -> Result<(), Failure> {
    let body = RequestBody::Rename { from: server.wire_path(from), to: server.wire_path(to) };
    server.requests.send(body).await?.done(format_args!("rename {from} to {to}"))
}

/// Sends CLOSE with the call. If both its response and `written` are good, the file is committed, otherwise
/// the upload counts as aborted. Continues even if the future is dropped.
pub(super) fn complete(
    file: RemoteFile,
    ending: Ending,
    written: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> impl Future<Output = Result<(), Failure>> + Send {
    let PendingClose { response, guard } = file.close();
    let cleanups = file.server().cleanups.clone();
    let completing = task::spawn_tracked(&cleanups, async move {
        let (server, path) = (file.server(), file.path());
        let closed = response.await;
        let closed = closed.and_then(|response| response.done(format_args!("close {path}")));
        // A refused write came before CLOSE and is the cause.
        let outcome = match written.await.and(closed) {
            Ok(()) => ending.commit(server, path).await,
            Err(failure) => {
                Err(disk_full::explain(server, ending.written_path(path), failure).await)
            }
        };
        if outcome.is_err() {
            ending.abort(&file, guard.as_ref()).await;
        }
        drop(guard);
        outcome
    });
    async { completing.await.unwrap_or_else(|_| Err(lost("the gateway is ending"))) }
}

/// Whether a file can be written where it was opened.
pub(super) enum Prepared {
    Here,
    /// Its name is a symlink: the upload must start again at the target.
    Elsewhere(Ending),
}

/// For `TemporaryName`: looks at what has the name that the upload will get. The new file takes over the
/// permissions of an existing one; if the upload can never get the name, its temporary file is removed.
pub(super) async fn prepare(
    file: &RemoteFile,
    ending: &Ending,
    existing: Result<Attributes, Failure>,
) -> Result<Prepared, Failure> {
    let Ending::Rename { temporary, leads_to, exclusive } = ending else {
        return Ok(Prepared::Here);
    };
    // Opened at the target of a symlink: `existing` is the symlink.
    let Some(existing) = existing.ok().filter(|_| leads_to.is_none()) else {
        return Ok(Prepared::Here);
    };
    let (server, path) = (file.server(), file.path());
    let remove_temporary = || {
        file.close_and_forget();
        let path = server.wire_path(temporary);
        server.requests.send_and_forget(RequestBody::Remove { path });
    };
    let mode = existing.permissions.unwrap_or_default();
    let kind = match (exclusive, attributes::entry(b"", &existing).kind) {
        (true, _) => FailureKind::AlreadyExists,
        (false, EntryKind::Directory) => FailureKind::IsADirectory,
        (false, EntryKind::Symlink(_)) => {
            remove_temporary();
            let to = real_path(server, path).await?;
            if link_stat(server, &to).await.is_ok_and(|to| to.kind == EntryKind::Directory) {
                let kind = FailureKind::IsADirectory;
                let message = format_args!("cannot write {path}: {}", kind.sentence());
                return Err(Failure::backend(kind, message));
            }
            let temporary = temporary_name(&to)?;
            let ending = Ending::Rename { temporary, leads_to: Some(to), exclusive: false };
            return Ok(Prepared::Elsewhere(ending));
        }
        (false, _) => {
            if existing.permissions.is_some() {
                let permissions = Some(mode & 0o777);
                // Not all servers allow this; the upload matters more.
                drop(file.set_stat(Attributes { permissions, ..Attributes::default() }));
            }
            return Ok(Prepared::Here);
        }
    };
    remove_temporary();
    Err(Failure::backend(kind, format_args!("cannot write {path}: {}", kind.sentence())))
}
