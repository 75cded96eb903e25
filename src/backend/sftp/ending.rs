//! What becomes of a file that is written, at its end or when it is cut (`partial_uploads`).

use std::time::Duration;

use tokio::time::timeout;

use super::attributes;
use super::handle::Handle;
use super::operations::{Tried, explained};
use super::requests::lost;
use super::server::{Server, wire};
use super::status::Expect;
use crate::backend::{PartialUploads, temporary_name};
use crate::op::{EntryKind, Failure, FailureKind, RemotePath};
use crate::wire::sftp::{Attributes, Extension, RequestBody};

/// What a cut whose owner is gone may take.
const CLEANUP: Duration = Duration::from_secs(30);

/// How a file that this session began ends.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// Whole or cut, it stays as it is.
    Stays,
    /// Cut, it is deleted.
    Deleted,
    /// It is written under this name. Whole, it gets its own; cut, it stays under this one.
    Renamed {
        temporary: RemotePath,
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
                Self::Renamed { temporary: temporary_name(path)?, exclusive }
            }
        })
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
            Self::Stays | Self::Deleted => Ok(()),
            Self::Renamed { temporary, exclusive } => {
                server.changes.note_all();
                give_name(server, temporary, path, *exclusive).await
            }
        }
    }

    /// The file is closed and not whole.
    async fn cut(&self, handle: &Handle) {
        if matches!(self, Self::Deleted)
            && let Err(failure) = delete_part(handle).await
        {
            tracing::warn!(path = %handle.path(), %failure, "the part of a cut upload stays");
        }
    }
}

/// Deletes what the upload made, and nothing else that has the name by now: the client may have sent
/// the file again through another session, before the end of this one was noticed.
async fn delete_part(handle: &Handle) -> Result<(), Failure> {
    let (server, path) = (handle.server(), handle.path());
    let there = server.requests.ask(RequestBody::LinkStat { path: wire(path) }).await?;
    let there = there.attributes(format_args!("tell what {path} is"))?;
    let entry = attributes::entry(b"", &there);
    let size = there.size.filter(|size| handle.may_have_made(*size));
    if entry.kind != EntryKind::File || size.is_none() {
        let message = format_args!("{path} is not what this upload has written");
        return Err(Failure::backend(FailureKind::AlreadyExists, message));
    }
    server.changes.note_all();
    let removed = server.requests.ask(RequestBody::Remove { path: wire(path) }).await?;
    removed.done(format_args!("remove {path}"))
}

/// Closes a file that is not whole and does with it what is configured. CLOSE is sent with the call;
/// the rest goes on to its end when nobody waits for it.
pub(super) fn cut(handle: &Handle, ending: Ending) -> impl Future<Output = ()> + Send + use<> {
    let (closing, handle) = (handle.close(), handle.clone());
    let cleanups = handle.server().cleanups.clone();
    let cutting = cleanups.spawn(async move {
        let cutting = async {
            // Whatever the server says to the CLOSE: the file counts as a part.
            let _ = closing.await;
            ending.cut(&handle).await;
        };
        if timeout(CLEANUP, cutting).await.is_err() {
            tracing::warn!(path = %handle.path(), "a cut upload was not cleaned up in time");
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
    match matches!(ending, Ending::Deleted) && has_runtime {
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
        let body = Extension::PosixRename { from: wire(temporary), to: wire(to) };
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
            tracing::error!(path = %to, %aside, failure = %lost, "the old file stays aside");
        }
        return Err(failure);
    }
    let removed = server.requests.ask(RequestBody::Remove { path: wire(&aside) }).await;
    if let Err(failure) = removed.and_then(|answer| answer.done(format_args!("remove {aside}"))) {
        tracing::warn!(%aside, %failure, "the replaced file stays aside");
    }
    Ok(())
}

async fn rename(server: &Server, from: &RemotePath, to: &RemotePath) -> Result<(), Failure> {
    let body = RequestBody::Rename { from: wire(from), to: wire(to) };
    server.requests.ask(body).await?.done(format_args!("rename {from} to {to}"))
}

/// Sends CLOSE with the call; when the server has answered it and `written` is well too, the file gets
/// its name, else it counts as cut. Goes on to its end when nobody waits for it any more.
pub(super) fn complete(
    handle: Handle,
    ending: Ending,
    written: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> impl Future<Output = Result<(), Failure>> + Send {
    let closing = handle.close();
    let cleanups = handle.server().cleanups.clone();
    let completing = cleanups.spawn(async move {
        let (server, path) = (handle.server(), handle.path());
        let closed = closing.await;
        let closed = closed.and_then(|answer| answer.done(format_args!("close {path}")));
        // The first refusal is the writes'.
        let outcome = match written.await.and(closed) {
            Ok(()) => ending.whole(server, path).await,
            refused => refused,
        };
        if outcome.is_err() {
            ending.cut(&handle).await;
        }
        outcome
    });
    async { completing.await.unwrap_or_else(|_| Err(lost("the gateway is ending"))) }
}

/// `TemporaryName`: what is at the name that the upload will get. A file lends the new one its
/// permissions; where the upload can never get the name, it is taken away again.
pub(super) async fn prepare(
    handle: &Handle,
    ending: &Ending,
    there: Result<Attributes, Failure>,
) -> Result<(), Failure> {
    let Ending::Renamed { temporary, exclusive } = ending else { return Ok(()) };
    let Ok(there) = there else { return Ok(()) };
    let (server, path) = (handle.server(), handle.path());
    let mode = there.permissions.unwrap_or_default();
    let kind = match (exclusive, mode & 0o170000 == 0o040000) {
        (true, _) => FailureKind::AlreadyExists,
        (false, true) => FailureKind::IsADirectory,
        (false, false) => {
            if there.permissions.is_some() {
                let permissions = Some(mode & 0o777);
                // Not all servers let them be set; the upload matters more.
                drop(handle.set_stat(Attributes { permissions, ..Attributes::default() }));
            }
            return Ok(());
        }
    };
    handle.give_up();
    server.requests.tell(RequestBody::Remove { path: wire(temporary) });
    Err(Failure::backend(kind, format_args!("cannot write {path}: {}", kind.sentence())))
}
