//! Files written from start to end: OPEN, WRITEs that wait for no response, CLOSE
//! (draft-ietf-secsh-filexfer-02 sections 6.3 and 6.4).

use std::sync::Arc;

use async_trait::async_trait;

use super::disk_full;
use super::ending::{self, Ending, Prepared};
use super::explain::{Attempt, explain};
use super::first_error::FirstError;
use super::remote_file::RemoteFile;
use super::server::Server;
use super::status::{Expect, is_stat_denied};
use super::write_stream::{PendingWrites, WriteStream};
use crate::backend::path_leases::PathLease;
use crate::backend::{PartialUploads, WriteTransfer};
use crate::data::{FromCrlf, Sink};
use crate::op::{
    Failure, FailureKind, PeerReply, RemotePath, Representation, WriteFile, WriteMode,
};
use crate::wire::sftp::{Attributes, OpenFlags, RequestBody};

/// How many names for `Unique` are tried; each has 128 random bits.
const MAX_UNIQUE_TRIES: usize = 3;
/// Bytes whose responses may be awaited together with the one to CLOSE.
const LAST_FLIGHT_MAX: usize = 256 * 1024;

struct SftpWrite {
    sink: Sink,
    pending_writes: PendingWrites,
    first_error: FirstError,
    upload: OpenUpload,
}

/// A file that is open for writing. Dropped before its end, it counts as aborted.
struct OpenUpload {
    file: RemoteFile,
    ending: Option<Ending>,
    /// An older file is truncated to this size before the first byte; unchanged until then.
    truncate_to: Option<u64>,
}

impl OpenUpload {
    fn take_ending(&mut self) -> Option<Ending> {
        let ending = self.ending.take()?;
        Some(if self.truncate_to.is_some() { Ending::Keep } else { ending })
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        if let Some(ending) = self.take_ending() {
            ending::abort_in_background(self.file.clone(), ending);
        }
    }
}

pub(super) async fn open(
    server: &Arc<Server>,
    action: &WriteFile,
) -> Result<Box<dyn WriteTransfer>, Failure> {
    let WriteFile { path, mode, representation } = action;
    let (upload, offset) = match mode {
        WriteMode::From { offset: 0 } => (replace(server, path).await?, 0),
        WriteMode::From { offset } => {
            (continue_at(server, path, *offset, *representation).await?, *offset)
        }
        WriteMode::Append => append(server, path).await?,
        WriteMode::New => (create(server, path).await?, 0),
        WriteMode::Unique => (unique(server, path).await?, 0),
    };
    let first_error = FirstError::default();
    let (stream, pending_writes) =
        WriteStream::new(upload.file.clone(), offset, first_error.clone());
    let sink = match representation {
        Representation::Image => Sink::Writer(Box::new(stream)),
        Representation::Ascii => Sink::Writer(Box::new(FromCrlf::new(stream))),
    };
    Ok(Box::new(SftpWrite { sink, pending_writes, first_error, upload }))
}

const WRITE: OpenFlags = OpenFlags::WRITE;

async fn replace(server: &Arc<Server>, path: &RemotePath) -> Result<OpenUpload, Failure> {
    let ending = Ending::for_new_file(server, path, false)?;
    match ending {
        Ending::Rename { .. } => replace_by_rename(server, path, ending).await,
        _ => replace_in_place(server, path, ending.for_stream()).await,
    }
}

/// Servers with OpenSSH's fsync store real files, and can truncate one that is open.
async fn replace_in_place(
    server: &Arc<Server>,
    path: &RemotePath,
    ending: Ending,
) -> Result<OpenUpload, Failure> {
    let flags = WRITE | OpenFlags::CREATE;
    if !server.extensions.file_sync {
        return open_file(server, path, path, flags | OpenFlags::TRUNCATE, ending).await;
    }
    let lease = ending.lease(server, path).await?;
    // In one flight with OPEN: whether there is anything to truncate.
    let existing = server.requests.send(RequestBody::Stat { path: server.wire_path(path) });
    let mut upload = open_leased(server, path, path, flags, ending, lease).await?;
    let existing = existing.await.and_then(|r| r.attributes("get the attributes of an older file"));
    upload.truncate_to = match existing {
        Ok(existing) if existing.size == Some(0) => None,
        Err(failure) if failure.kind == FailureKind::NotFound => None,
        _ => Some(0),
    };
    Ok(upload)
}

async fn replace_by_rename(
    server: &Arc<Server>,
    path: &RemotePath,
    ending: Ending,
) -> Result<OpenUpload, Failure> {
    // In one flight with OPEN: what will be replaced.
    let existing = server.requests.send(RequestBody::LinkStat { path: server.wire_path(path) });
    let flags = WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let written = ending.written_path(path).clone();
    let mut upload = open_file(server, &written, path, flags, ending).await?;
    let existing = existing.await.and_then(|r| r.attributes("get the attributes of an older file"));
    if let Some(ending) = upload.ending.take() {
        match ending::prepare(&upload.file, &ending, existing).await? {
            Prepared::Here => upload.ending = Some(ending),
            Prepared::Elsewhere(ending) => {
                return Box::pin(replace_by_rename(server, path, ending)).await;
            }
        }
    }
    Ok(upload)
}

/// The name must be free.
async fn create(server: &Arc<Server>, path: &RemotePath) -> Result<OpenUpload, Failure> {
    let ending = Ending::for_new_file(server, path, true)?;
    if let Ending::Rename { .. } = ending {
        return replace_by_rename(server, path, ending).await;
    }
    let flags = WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    open_file(server, path, path, flags, ending.for_stream()).await
}

async fn continue_at(
    server: &Arc<Server>,
    path: &RemotePath,
    offset: u64,
    representation: Representation,
) -> Result<OpenUpload, Failure> {
    let what = format!("continue {path} at byte {offset}");
    if representation == Representation::Ascii {
        let message =
            format_args!("cannot {what}: the offset in TYPE A is not that in the file; use TYPE I");
        return Err(Failure::client(FailureKind::Unsupported, message));
    }
    let mut upload = open_file(server, path, path, WRITE, Ending::Keep.for_stream()).await?;
    let length = upload.file.stat().await?.attributes(&what)?.size;
    match length {
        Some(length) if length < offset => {
            let message = format_args!("cannot {what}: it is only {length} bytes long");
            Err(Failure::client(FailureKind::InvalidArgument, message))
        }
        Some(length) if length == offset => Ok(upload),
        _ => {
            upload.truncate_to = Some(offset);
            Ok(upload)
        }
    }
}

/// With the offset of the end: some servers ignore APPEND.
async fn append(server: &Arc<Server>, path: &RemotePath) -> Result<(OpenUpload, u64), Failure> {
    let flags = WRITE | OpenFlags::APPEND | OpenFlags::CREATE;
    let ending = Ending::Keep.for_stream();
    let lease = ending.lease(server, path).await?;
    // In one flight with OPEN: whether the upload creates the file.
    let existing = server.requests.send(RequestBody::Stat { path: server.wire_path(path) });
    let mut upload = open_leased(server, path, path, flags, ending, lease).await?;
    let length = upload.file.stat().await?.attributes(format_args!("append to {path}"))?.size;
    let end = length.ok_or_else(|| {
        let message =
            format_args!("cannot append to {path}: the backend server does not report its size");
        Failure::backend(FailureKind::Unsupported, message)
    })?;
    let existing = existing.await.and_then(|r| r.attributes("get the attributes of an older file"));
    let is_new = end == 0 && existing.is_err_and(|failure| failure.kind == FailureKind::NotFound);
    if is_new && server.settings.partial_uploads == PartialUploads::Delete {
        upload.ending = Some(Ending::Delete);
    }
    Ok((upload, end))
}

async fn unique(server: &Arc<Server>, folder: &RemotePath) -> Result<OpenUpload, Failure> {
    let flags = WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let mut tries = 0;
    loop {
        tries += 1;
        let name = format!("upload-{:032x}", rand::random::<u128>());
        let path = RemotePath::resolve(folder, name.as_bytes())
            .map_err(|e| Failure::client(FailureKind::NameRefused, e))?;
        let ending = Ending::for_new_file(server, &path, true)?.for_stream();
        let written = ending.written_path(&path).clone();
        match open_file(server, &written, &path, flags, ending).await {
            Err(taken) if taken.kind == FailureKind::AlreadyExists && tries < MAX_UNIQUE_TRIES => {}
            opened => return opened,
        }
    }
}

/// `written`: the name to open; the file is renamed to `path` at the end.
async fn open_file(
    server: &Arc<Server>,
    written: &RemotePath,
    path: &RemotePath,
    flags: OpenFlags,
    ending: Ending,
) -> Result<OpenUpload, Failure> {
    let lease = ending.lease(server, path).await?;
    open_leased(server, written, path, flags, ending, lease).await
}

async fn open_leased(
    server: &Arc<Server>,
    written: &RemotePath,
    path: &RemotePath,
    flags: OpenFlags,
    ending: Ending,
    lease: Option<PathLease>,
) -> Result<OpenUpload, Failure> {
    let attributes = Attributes::default();
    let body = RequestBody::Open { path: server.wire_path(written), flags, attributes };
    server.changes.note_all();
    let opened = server.requests.send(body).await?.handle(format_args!("open {path} for writing"));
    let is_exclusive = flags.contains(OpenFlags::EXCLUSIVE);
    let attempt = if is_exclusive { Attempt::Make } else { Attempt::Open };
    let handle = explain(server, opened, written, attempt).await?;
    let file = RemoteFile::new(server.clone(), handle, path.clone(), lease);
    Ok(OpenUpload { file, ending: Some(ending), truncate_to: None })
}

#[async_trait]
impl WriteTransfer for SftpWrite {
    fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    fn path(&self) -> &RemotePath {
        self.upload.file.path()
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        if let Some(length) = self.upload.truncate_to {
            truncate(&self.upload.file, length).await?;
            self.upload.truncate_to = None;
        }
        Ok(())
    }

    /// The responses to the last WRITE and to CLOSE are awaited together: that saves small files a round
    /// trip. `finish` reports a refused WRITE.
    async fn settle(&mut self) -> Result<(), Failure> {
        self.begin().await?;
        if self.sink.shutdown().await.is_ok() {
            let _ = self.pending_writes.wait(LAST_FLIGHT_MAX).await;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.begin().await?;
        let sent = self.sink.shutdown().await;
        let Self { pending_writes, first_error, mut upload, .. } = *self;
        let cut = move |error: std::io::Error| {
            let message = format_args!("the upload was cut: {error}");
            first_error
                .take()
                .unwrap_or_else(|| Failure::backend(FailureKind::TransferCut, message))
        };
        let written = async move {
            match sent {
                Ok(()) => pending_writes.wait(0).await.map_err(cut),
                Err(error) => Err(cut(error)),
            }
        };
        let Some(ending) = upload.ending.take() else { return Ok(None) };
        ending::complete(upload.file.clone(), ending, written).await.map(|()| None)
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        let Some(ending) = self.upload.take_ending() else { return self.first_error.take() };
        let file = &self.upload.file;
        file.cancel_writes();
        let failure = match self.first_error.take() {
            // Before the partial file that fills the disk is deleted.
            Some(failure) => {
                let written = ending.written_path(file.path());
                Some(disk_full::explain(file.server(), written, failure).await)
            }
            None => None,
        };
        ending::abort(file, ending).await;
        failure
    }
}

/// Truncates an older file.
async fn truncate(file: &RemoteFile, length: u64) -> Result<(), Failure> {
    let what = format!("truncate {} to {length} bytes", file.path());
    let attributes = Attributes { size: Some(length), ..Attributes::default() };
    match file.set_stat(attributes).await?.done(&what) {
        Err(refusal)
            if length == 0
                && matches!(
                    refusal.kind,
                    FailureKind::PermissionDenied | FailureKind::Unsupported
                ) =>
        {
            truncate_by_open(file, refusal).await
        }
        outcome => outcome,
    }
}

/// Some servers do not allow attributes to be set, but accept TRUNCATE in OPEN.
async fn truncate_by_open(file: &RemoteFile, refusal: Failure) -> Result<(), Failure> {
    let (server, path) = (file.server(), file.path());
    let (flags, attributes) = (WRITE | OpenFlags::TRUNCATE, Attributes::default());
    let body = RequestBody::Open { path: server.wire_path(path), flags, attributes };
    let what = format!("truncate {path}");
    let handle = server.requests.send(body).await?.handle(&what)?;
    server.requests.send_and_forget(RequestBody::Close { handle });
    // Another file may have the name by now.
    match file.stat().await?.attributes(&what) {
        Ok(now) if now.size == Some(0) => Ok(()),
        Err(denied) if is_stat_denied(&denied) => Ok(()),
        _ => Err(refusal),
    }
}
