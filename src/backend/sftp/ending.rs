//! What becomes of a file that is written, at its end or when it is cut (`partial_uploads`).

use std::time::Duration;

use tokio::time::timeout;

use super::attributes;
use super::explain::{Tried, explained};
use super::full;
use super::handle::{Closing, Handle};
use super::requests::lost;
use super::server::Server;
use super::status::{Expect, misunderstood};
use crate::backend::claims::{Claim, Held};
use crate::backend::home::absolute;
use crate::backend::{Home, PartialUploads, temporary_name};
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath};
use crate::wire::sftp::{Attributes, Extension, RequestBody};

/// What the server may take for what is done about the part of a cut upload.
const CLEANUP: Duration = Duration::from_secs(30);

/// How a file that this session began ends.
#[derive(Clone)]
pub(super) enum Ending {
    /// Whole or cut, it stays as it is.
    Stays,
    /// The same of a file that is written from its begin to its end: cut, it has no hole, so that the
    /// upload can be resumed.
    Prefix,
    /// Cut, it is deleted, while it is still this upload's.
    Deleted,
    /// It is written under this name. Whole, it gets its own; cut, it stays under this one, unless
    /// nothing was written to it.
    Renamed {
        temporary: RemotePath,
        /// Where a symlink of its own name leads.
        leads_to: Option<RemotePath>,
        /// A file that has the name by then is an error.
        exclusive: bool,
    },
}

impl Ending {
    /// Of a file that the upload begins.
    pub(super) fn of_new(
        server: &Server,
        path: &RemotePath,
        exclusive: bool,
    ) -> Result<Self, Failure> {
        Ok(match server.settings.partial_uploads {
            PartialUploads::Keep => Self::Stays,
            PartialUploads::Delete => Self::Deleted,
            PartialUploads::TemporaryName => {
                Self::Renamed { temporary: temporary_name(path)?, leads_to: None, exclusive }
            }
        })
    }

    /// What is written in its place is the caller's from now on: to be called before it is opened.
    pub(super) async fn claim(
        &self,
        server: &Server,
        path: &RemotePath,
    ) -> Result<Option<Claim>, Failure> {
        match self {
            Self::Stays | Self::Prefix | Self::Deleted => server.claim(path).await.map(Some),
            Self::Renamed { .. } => Ok(None),
        }
    }

    /// Of a file that is written from its begin to its end.
    pub(super) fn of_stream(self) -> Self {
        match self {
            Self::Stays => Self::Prefix,
            other => other,
        }
    }

    /// The name to be opened.
    pub(super) fn written<'a>(&'a self, path: &'a RemotePath) -> &'a RemotePath {
        match self {
            Self::Renamed { temporary, .. } => temporary,
            _ => path,
        }
    }

    /// CLOSE was answered well: the file is whole.
    pub(super) async fn whole(&self, server: &Server, path: &RemotePath) -> Result<(), Failure> {
        match self {
            Self::Stays | Self::Prefix | Self::Deleted => Ok(()),
            Self::Renamed { temporary, leads_to, exclusive } => {
                let path = leads_to.as_ref().unwrap_or(path);
                server.changes.note_all();
                server.claim(path).await?;
                give_name(server, temporary, path, *exclusive).await
            }
        }
    }

    /// The file is closed and not whole.
    async fn cut(&self, handle: &Handle, held: Option<&Held>) {
        let path = handle.path();
        // Else somebody else has begun the file anew, and has to care for it.
        let is_own = held.is_some_and(Held::is_newest);
        match self {
            Self::Deleted if is_own => {
                if let Err(failure) = delete_part(handle).await {
                    tracing::warn!(path = path.as_bytes(), %failure, "the part of a cut upload stays");
                }
            }
            Self::Prefix if is_own => {
                let Some(hole) = handle.refused() else { return };
                if let Err(failure) = end_at(handle, hole).await {
                    tracing::warn!(
                        path = path.as_bytes(), hole, %failure,
                        "the part of a cut upload has a hole and must not be resumed"
                    );
                }
            }
            Self::Renamed { temporary, .. } if handle.is_untouched() => {
                let path = handle.server().wire(temporary);
                let removed = handle.server().requests.ask(RequestBody::Remove { path }).await;
                let what = format!("remove {temporary}");
                if let Err(failure) = removed.and_then(|answer| answer.done(what)) {
                    tracing::warn!(temporary = temporary.as_bytes(), %failure, "an upload without a byte stays");
                }
            }
            _ => {}
        }
    }
}

/// Deletes what the upload made, and nothing else that has the name by now: the client may have sent
/// the file again through another session, before the end of this one was noticed.
async fn delete_part(handle: &Handle) -> Result<(), Failure> {
    let server = handle.server();
    let (path, _) = part(handle, |size| handle.may_have_made(size)).await?;
    server.changes.note_all();
    let removed = server.requests.ask(RequestBody::Remove { path: server.wire(&path) }).await?;
    removed.done(format_args!("remove {path}"))
}

/// Behind a write that was refused, later ones may have been taken: they go.
async fn end_at(handle: &Handle, hole: u64) -> Result<(), Failure> {
    let server = handle.server();
    let own = |size| size <= hole || handle.may_reach_behind(hole, size);
    let (path, size) = part(handle, own).await?;
    if size <= hole {
        return Ok(());
    }
    server.changes.note_all();
    let attributes = Attributes { size: Some(hole), ..Attributes::default() };
    let cut =
        server.requests.ask(RequestBody::SetStat { path: server.wire(&path), attributes }).await?;
    cut.done(format_args!("cut {path} off at byte {hole}"))
}

/// The file that the upload has written, symlinks followed, and its bytes; `own`: whether it can have
/// so many.
async fn part(handle: &Handle, own: impl Fn(u64) -> bool) -> Result<(RemotePath, u64), Failure> {
    let (server, mut path) = (handle.server(), handle.path().clone());
    let mut entry = link_stat(server, &path).await?;
    if let EntryKind::Symlink(_) = entry.kind {
        path = real_path(server, &path).await?;
        entry = link_stat(server, &path).await?;
    }
    match (entry.kind, entry.attributes.size.filter(|size| own(*size))) {
        (EntryKind::File, Some(size)) => Ok((path, size)),
        _ => {
            let message = format_args!("{path} is not what this upload has written");
            Err(Failure::backend(FailureKind::AlreadyExists, message))
        }
    }
}

async fn link_stat(server: &Server, path: &RemotePath) -> Result<Entry, Failure> {
    let there = server.requests.ask(RequestBody::LinkStat { path: server.wire(path) }).await?;
    Ok(attributes::entry(b"", &there.attributes(format_args!("tell what {path} is"))?))
}

/// Where symlinks lead; the last name need not be there.
async fn real_path(server: &Server, path: &RemotePath) -> Result<RemotePath, Failure> {
    let what = format!("tell where {path} leads");
    let names = server.requests.ask(RequestBody::RealPath { path: server.wire(path) }).await?;
    let names = names.names(&what)?.unwrap_or_default();
    let name = names.into_iter().next().ok_or_else(|| misunderstood(&what))?;
    let told = match &server.home {
        Home::At(_) => absolute(&name.name),
        // One below the login's folder has a name in this session; of another one nobody knows.
        Home::Unknown if name.name.starts_with(b"/") => None,
        Home::Unknown => absolute(&[b"/", &name.name[..]].concat()),
    };
    told.ok_or_else(|| misunderstood(&what))
}

/// Closes a file that is not whole and does with it what is configured. CLOSE is sent with the call,
/// behind nothing but what is on its way; the rest goes on to its end when nobody waits for it.
pub(super) fn cut(handle: &Handle, ending: Ending) -> impl Future<Output = ()> + Send + use<> {
    handle.give_up_writes();
    let (Closing { answer, held }, handle) = (handle.close(), handle.clone());
    let cleanups = handle.server().cleanups.clone();
    let cutting = cleanups.spawn(async move {
        // Whatever the server says to the CLOSE: the file counts as a part. It may take as long as
        // the server goes on with what was sent.
        let _ = answer.await;
        if timeout(CLEANUP, ending.cut(&handle, held.as_ref())).await.is_err() {
            tracing::warn!(
                path = handle.path().as_bytes(),
                "a cut upload was not cleaned up in time"
            );
        }
    });
    async {
        // Only the end of the gateway ends it before.
        let _ = cutting.await;
    }
}

/// As [`cut`], when nobody is left to wait for it.
pub(super) fn cut_behind(handle: Handle, ending: Ending) {
    let has_runtime = tokio::runtime::Handle::try_current().is_ok();
    let is_read = matches!(ending, Ending::Stays) && !handle.is_claimed();
    match has_runtime && !is_read {
        true => drop(cut(&handle, ending)),
        false => handle.give_up(),
    }
}

/// Gives the whole file its name. A server without posix-rename may refuse to rename onto a file that
/// is there: that one is put aside first, and put back if the new one cannot take its place.
async fn give_name(
    server: &Server,
    temporary: &RemotePath,
    to: &RemotePath,
    exclusive: bool,
) -> Result<(), Failure> {
    if server.extensions.posix_rename && !exclusive {
        let body = Extension::PosixRename { from: server.wire(temporary), to: server.wire(to) };
        let what = format!("give the finished upload its name {to}");
        return server.requests.ask(RequestBody::Extended(body)).await?.done(&what);
    }
    let refusal = match rename(server, temporary, to).await {
        Err(refusal) if refusal.kind != FailureKind::Unavailable && !exclusive => refusal,
        outcome => return explained(server, outcome, to, Tried::Make).await,
    };
    let aside = temporary_name(to)?;
    if rename(server, to, &aside).await.is_err() {
        return Err(refusal);
    }
    if let Err(failure) = rename(server, temporary, to).await {
        if let Err(lost) = rename(server, &aside, to).await {
            tracing::error!(path = to.as_bytes(), aside = aside.as_bytes(), failure = %lost, "the old file stays aside");
        }
        return Err(failure);
    }
    let removed = server.requests.ask(RequestBody::Remove { path: server.wire(&aside) }).await;
    if let Err(failure) = removed.and_then(|answer| answer.done(format_args!("remove {aside}"))) {
        tracing::warn!(aside = aside.as_bytes(), %failure, "the replaced file stays aside");
    }
    Ok(())
}

async fn rename(server: &Server, from: &RemotePath, to: &RemotePath) -> Result<(), Failure> {
    let body = RequestBody::Rename { from: server.wire(from), to: server.wire(to) };
    server.requests.ask(body).await?.done(format_args!("rename {from} to {to}"))
}

/// Sends CLOSE with the call; when the server has answered it and `written` is well too, the file gets
/// its name, else it counts as cut. Goes on to its end when nobody waits for it any more.
pub(super) fn complete(
    handle: Handle,
    ending: Ending,
    written: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> impl Future<Output = Result<(), Failure>> + Send {
    let Closing { answer, held } = handle.close();
    let cleanups = handle.server().cleanups.clone();
    let completing = cleanups.spawn(async move {
        let (server, path) = (handle.server(), handle.path());
        let closed = answer.await;
        let closed = closed.and_then(|answer| answer.done(format_args!("close {path}")));
        // The first refusal is the writes'.
        let outcome = match written.await.and(closed) {
            Ok(()) => ending.whole(server, path).await,
            Err(failure) => Err(full::explained(server, ending.written(path), failure).await),
        };
        if outcome.is_err() {
            ending.cut(&handle, held.as_ref()).await;
        }
        drop(held);
        outcome
    });
    async { completing.await.unwrap_or_else(|_| Err(lost("the gateway is ending"))) }
}

/// Whether a file can be written where it was begun.
pub(super) enum Prepared {
    Here,
    /// Its name is a symlink: it is to be begun anew where that leads.
    Elsewhere(Ending),
}

/// `TemporaryName`: what is at the name that the upload will get. A file lends the new one its
/// permissions; where the upload can never get the name, it is taken away again.
pub(super) async fn prepare(
    handle: &Handle,
    ending: &Ending,
    there: Result<Attributes, Failure>,
) -> Result<Prepared, Failure> {
    let Ending::Renamed { temporary, leads_to, exclusive } = ending else {
        return Ok(Prepared::Here);
    };
    // Begun where a symlink leads: that name is the symlink's still.
    let Some(there) = there.ok().filter(|_| leads_to.is_none()) else { return Ok(Prepared::Here) };
    let (server, path) = (handle.server(), handle.path());
    let take_away = || {
        handle.give_up();
        server.requests.tell(RequestBody::Remove { path: server.wire(temporary) });
    };
    let mode = there.permissions.unwrap_or_default();
    let kind = match (exclusive, attributes::entry(b"", &there).kind) {
        (true, _) => FailureKind::AlreadyExists,
        (false, EntryKind::Directory) => FailureKind::IsADirectory,
        (false, EntryKind::Symlink(_)) => {
            take_away();
            let to = real_path(server, path).await?;
            if link_stat(server, &to).await.is_ok_and(|to| to.kind == EntryKind::Directory) {
                let kind = FailureKind::IsADirectory;
                let message = format_args!("cannot write {path}: {}", kind.sentence());
                return Err(Failure::backend(kind, message));
            }
            let temporary = temporary_name(&to)?;
            let ending = Ending::Renamed { temporary, leads_to: Some(to), exclusive: false };
            return Ok(Prepared::Elsewhere(ending));
        }
        (false, _) => {
            if there.permissions.is_some() {
                let permissions = Some(mode & 0o777);
                // Not all servers let them be set; the upload matters more.
                drop(handle.set_stat(Attributes { permissions, ..Attributes::default() }));
            }
            return Ok(Prepared::Here);
        }
    };
    take_away();
    Err(Failure::backend(kind, format_args!("cannot write {path}: {}", kind.sentence())))
}
