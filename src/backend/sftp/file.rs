//! Open files (draft-ietf-secsh-filexfer-02 sections 6.3 to 6.9). A client's requests are sent on at once.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::attributes::{self, changes, needs_times};
use super::copy;
use super::ending::{self, Ending, Prepared};
use super::explain::{Attempt, explain};
use super::read_ahead::ReadAhead;
use super::remote_file::RemoteFile;
use super::server::Server;
use super::status::{Expect, misunderstood, out_of_range, unsupported};
use crate::backend::{InFlight, OpenFile};
use crate::op::{
    Changes, Entry, Failure, FailureKind, FileSystem, OpenHandle, OpenMode, RemotePath,
};
use crate::wire::sftp::{self, Extension, OpenFlags, RequestBody};

/// The longest read that is answered in full, in bytes.
const MAX_READ: u32 = 1024 * 1024;

struct SftpFile {
    file: RemoteFile,
    /// `None` once the file is closed or aborted.
    ending: Mutex<Option<Ending>>,
    read_ahead: Arc<Mutex<ReadAhead>>,
    /// It was opened only for reading.
    only_read: bool,
}

pub(super) async fn open(
    server: &Arc<Server>,
    OpenHandle { path, mode }: &OpenHandle,
) -> Result<Arc<dyn OpenFile>, Failure> {
    let is_new = mode.create && (mode.truncate || mode.exclusive) && mode.write && !mode.append;
    let ending =
        if is_new { Ending::for_new_file(server, path, mode.exclusive)? } else { Ending::Keep };
    open_with(server, path, mode, ending).await
}

async fn open_with(
    server: &Arc<Server>,
    path: &RemotePath,
    mode: &OpenMode,
    ending: Ending,
) -> Result<Arc<dyn OpenFile>, Failure> {
    let is_renamed = matches!(ending, Ending::Rename { .. });
    let lease = if mode.write || mode.append || mode.truncate {
        ending.lease(server, path).await?
    } else {
        None
    };
    // In one flight with OPEN: what has the name that the file will get.
    let existing = is_renamed
        .then(|| server.requests.send(RequestBody::LinkStat { path: server.wire_path(path) }));
    let written = ending.written_path(path).clone();
    let handle = open_handle(server, &written, path, mode, is_renamed).await?;
    let file = SftpFile {
        file: RemoteFile::new(server.clone(), handle, path.clone(), lease),
        ending: Mutex::new(Some(ending.clone())),
        read_ahead: Arc::new(Mutex::new(ReadAhead::new())),
        only_read: mode.read && !(mode.write || mode.append || mode.create || mode.truncate),
    };
    if file.only_read {
        ReadAhead::prefetch(&file.read_ahead, &file.file);
    }
    if let Some(existing) = existing {
        let existing = existing.await;
        let existing = existing.and_then(|r| r.attributes("get the attributes of an older file"));
        let prepared = ending::prepare(&file.file, &ending, existing).await;
        if let Prepared::Elsewhere(ending) = prepared.inspect_err(|_| drop(file.take_ending()))? {
            file.take_ending();
            return Box::pin(open_with(server, path, mode, ending)).await;
        }
    }
    Ok(Arc::new(file))
}

/// `written`: the name to open; the file is renamed to `path` at the end.
async fn open_handle(
    server: &Arc<Server>,
    written: &RemotePath,
    path: &RemotePath,
    mode: &OpenMode,
    is_renamed: bool,
) -> Result<Bytes, Failure> {
    let attributes = sftp::Attributes { permissions: mode.permissions, ..Default::default() };
    let (path_bytes, flags) = (server.wire_path(written), flags(mode, is_renamed));
    let body = RequestBody::Open { path: path_bytes, flags, attributes };
    if mode.truncate {
        server.changes.note_all();
    }
    let opened = server.requests.send(body).await?.handle(format_args!("open {path}"));
    let attempt = if mode.exclusive { Attempt::Make } else { Attempt::Open };
    explain(server, opened, written, attempt).await
}

/// A temporary name is always a new one.
fn flags(mode: &OpenMode, is_renamed: bool) -> OpenFlags {
    let flags = [
        (mode.read, OpenFlags::READ),
        (mode.write, OpenFlags::WRITE),
        (mode.append, OpenFlags::APPEND),
        (mode.create, OpenFlags::CREATE),
        (mode.truncate && !is_renamed, OpenFlags::TRUNCATE),
        (mode.exclusive || is_renamed, OpenFlags::EXCLUSIVE),
    ];
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    set.fold(OpenFlags::default(), |flags, (_, flag)| flags | flag)
}

impl SftpFile {
    fn server(&self) -> &Arc<Server> {
        self.file.server()
    }

    fn read_ahead(&self) -> MutexGuard<'_, ReadAhead> {
        self.read_ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_ending(&self) -> Option<Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn extended(&self, body: Extension, what: &str) -> Result<Bytes, Failure> {
        let response = self.server().requests.send(RequestBody::Extended(body)).await?;
        response.extended(format_args!("{what} {}", self.file.path()))
    }
}

#[async_trait]
impl OpenFile for SftpFile {
    fn read_at(&self, offset: u64, length: u32) -> InFlight<Option<Bytes>> {
        InFlight::new(self.read_ahead().read(&self.file, offset, length.min(MAX_READ)))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()> {
        InFlight::new(self.file.write_all(offset, data))
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        let path = self.file.path();
        self.read_ahead().before_stat();
        let response = self.file.stat().await?;
        let attributes = response.attributes(format_args!("get the attributes of {path}"))?;
        self.read_ahead().set_reported_size(attributes.size.unwrap_or(0));
        Ok(attributes::entry(path.name().unwrap_or(b"/"), &attributes))
    }

    async fn size(&self) -> Option<u64> {
        self.file.stat().await.ok()?.attributes("get the size").ok()?.size
    }

    async fn set_attributes(&self, requested: &Changes) -> Result<(), Failure> {
        let what = format!("set the attributes of {}", self.file.path());
        let current = if needs_times(requested) {
            Some(self.file.stat().await?.attributes(&what)?)
        } else {
            None
        };
        let attributes = changes(requested, current.as_ref()).map_err(|_| out_of_range(&what))?;
        let set = self.file.set_stat(attributes).await?.done(&what);
        set.or_else(|failure| self.server().apply_attribute_policy(requested, failure))
    }

    fn answers_for_path(&self) -> bool {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*ending, Some(Ending::Rename { .. }))
    }

    async fn sync(&self) -> Result<(), Failure> {
        let what = format!("sync {}", self.file.path());
        if !self.server().extensions.file_sync {
            return Err(unsupported(&what, "fsync"));
        }
        let body = Extension::FileSync { handle: self.file.handle() };
        self.file.send(RequestBody::Extended(body)).await?.done(&what)
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        let what = "describe the file system of";
        let extensions = &self.server().extensions;
        let body = if extensions.file_stat_vfs {
            Extension::FileStatVfs { handle: self.file.handle() }
        } else if extensions.stat_vfs {
            Extension::StatVfs { path: self.server().wire_path(self.file.path()) }
        } else {
            return Err(unsupported(format_args!("{what} {}", self.file.path()), "statvfs"));
        };
        let decoded = sftp::FileSystem::decode(self.extended(body, what).await?);
        decoded.map(attributes::file_system).ok_or_else(|| misunderstood(what))
    }

    async fn copy_data(
        &self,
        offset: u64,
        length: u64,
        to: &Arc<dyn OpenFile>,
        to_offset: u64,
    ) -> Result<(), Failure> {
        let what = format!("copy from {}", self.file.path());
        let to = to.as_any().downcast_ref::<SftpFile>();
        let same = to.filter(|to| Arc::ptr_eq(to.server(), self.server()));
        let (true, Some(to)) = (self.server().extensions.copy_data, same) else {
            return Err(unsupported(&what, "copy-data"));
        };
        copy::copy(&self.file, offset, length, &to.file, to_offset).await
    }

    async fn close(&self) -> Result<(), Failure> {
        let path = self.file.path();
        let Some(ending) = self.take_ending() else {
            let message = format_args!("cannot close {path}: it is already closed");
            return Err(Failure::client(FailureKind::InvalidArgument, message));
        };
        self.read_ahead().clear();
        if self.only_read {
            self.file.close_read();
            return Ok(());
        }
        self.file.note_end();
        // The writes had their own responses; only a file that must be whole depends on them here.
        let must_be_whole = !matches!(ending, Ending::Keep);
        let file = self.file.clone();
        let written = async move {
            if must_be_whole && file.refused_from().is_some() {
                return Err(Failure::backend(
                    FailureKind::Internal,
                    format_args!("cannot close {}: some of its writes failed", file.path()),
                ));
            }
            Ok(())
        };
        ending::complete(self.file.clone(), ending, written).await
    }

    async fn abort(&self) {
        self.read_ahead().clear();
        if let Some(ending) = self.take_ending() {
            ending::abort(&self.file, ending).await;
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for SftpFile {
    fn drop(&mut self) {
        if let Some(ending) = self.take_ending() {
            ending::abort_in_background(self.file.clone(), ending);
        }
    }
}
