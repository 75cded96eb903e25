//! Open files (draft-ietf-secsh-filexfer-02 sections 6.3 to 6.9): what a client asks goes straight on.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::ahead::Ahead;
use super::attributes::{self, changes, needs_times};
use super::copy;
use super::ending::{self, Ending, Prepared};
use super::explain::{Tried, explained};
use super::handle::Handle;
use super::server::Server;
use super::status::{Expect, misunderstood, out_of_range, unsupported};
use crate::backend::{InFlight, OpenFile};
use crate::op::{
    Changes, Entry, Failure, FailureKind, FileSystem, OpenHandle, OpenMode, RemotePath,
};
use crate::wire::sftp::{self, Extension, OpenFlags, RequestBody};

/// The longest read that is answered whole, in bytes.
const LONGEST_READ: u32 = 1024 * 1024;

struct SftpFile {
    handle: Handle,
    /// `None` once it has ended one way or the other.
    ending: Mutex<Option<Ending>>,
    ahead: Arc<Mutex<Ahead>>,
    /// Nothing but reading was asked for with OPEN.
    only_read: bool,
}

pub(super) async fn open(
    server: &Arc<Server>,
    OpenHandle { path, mode }: &OpenHandle,
) -> Result<Arc<dyn OpenFile>, Failure> {
    let begins = mode.create && (mode.truncate || mode.exclusive) && mode.write && !mode.append;
    let ending = match begins {
        true => Ending::of_new(server, path, mode.exclusive)?,
        false => Ending::Stays,
    };
    open_with(server, path, mode, ending).await
}

async fn open_with(
    server: &Arc<Server>,
    path: &RemotePath,
    mode: &OpenMode,
    ending: Ending,
) -> Result<Arc<dyn OpenFile>, Failure> {
    let renamed = matches!(ending, Ending::Renamed { .. });
    let claim = match mode.write || mode.append || mode.truncate {
        true => ending.claim(server, path).await?,
        false => None,
    };
    // In one flight with OPEN: what has the name that the file is to get.
    let there =
        renamed.then(|| server.requests.ask(RequestBody::LinkStat { path: server.wire(path) }));
    let written = ending.written(path).clone();
    let handle = open_handle(server, &written, path, mode, renamed).await?;
    let handle = Handle::new(server.clone(), handle, path.clone(), claim);
    let file = SftpFile {
        handle,
        ending: Mutex::new(Some(ending.clone())),
        ahead: Arc::new(Mutex::new(Ahead::new())),
        only_read: mode.read && !(mode.write || mode.append || mode.create || mode.truncate),
    };
    if file.only_read {
        Ahead::begin(&file.ahead, &file.handle);
    }
    if let Some(there) = there {
        let there = there.await.and_then(|answer| answer.attributes("tell what is there"));
        let prepared = ending::prepare(&file.handle, &ending, there).await;
        if let Prepared::Elsewhere(ending) = prepared.inspect_err(|_| drop(file.take_ending()))? {
            file.take_ending();
            return Box::pin(open_with(server, path, mode, ending)).await;
        }
    }
    Ok(Arc::new(file))
}

/// `written`: the name that is opened, of the file that is `path` in the end.
async fn open_handle(
    server: &Arc<Server>,
    written: &RemotePath,
    path: &RemotePath,
    mode: &OpenMode,
    renamed: bool,
) -> Result<Bytes, Failure> {
    let attributes = sftp::Attributes { permissions: mode.permissions, ..Default::default() };
    let body =
        RequestBody::Open { path: server.wire(written), flags: flags(mode, renamed), attributes };
    if mode.truncate {
        server.changes.note_all();
    }
    let opened = server.requests.ask(body).await?.handle(format_args!("open {path}"));
    let tried = if mode.exclusive { Tried::Make } else { Tried::Open };
    explained(server, opened, written, tried).await
}

/// A temporary name is always a new one.
fn flags(mode: &OpenMode, renamed: bool) -> OpenFlags {
    let said = [
        (mode.read, OpenFlags::READ),
        (mode.write, OpenFlags::WRITE),
        (mode.append, OpenFlags::APPEND),
        (mode.create, OpenFlags::CREATE),
        (mode.truncate && !renamed, OpenFlags::TRUNCATE),
        (mode.exclusive || renamed, OpenFlags::EXCLUSIVE),
    ];
    let said = said.into_iter().filter(|(is, _)| *is);
    said.fold(OpenFlags::default(), |flags, (_, flag)| flags | flag)
}

impl SftpFile {
    fn server(&self) -> &Arc<Server> {
        self.handle.server()
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_ending(&self) -> Option<Ending> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn extended(&self, body: Extension, what: &str) -> Result<Bytes, Failure> {
        let answer = self.server().requests.ask(RequestBody::Extended(body)).await?;
        answer.extended(format_args!("{what} {}", self.handle.path()))
    }
}

#[async_trait]
impl OpenFile for SftpFile {
    fn read_at(&self, offset: u64, length: u32) -> InFlight<Option<Bytes>> {
        InFlight::new(self.ahead().read(&self.handle, offset, length.min(LONGEST_READ)))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()> {
        InFlight::new(self.handle.write_all(offset, data))
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        let path = self.handle.path();
        self.ahead().about_to_tell();
        let said = self.handle.stat().await?.attributes(format_args!("tell what {path} is"))?;
        self.ahead().told(said.size.unwrap_or(0));
        Ok(attributes::entry(path.name().unwrap_or(b"/"), &said))
    }

    async fn size(&self) -> Option<u64> {
        self.handle.stat().await.ok()?.attributes("tell the size").ok()?.size
    }

    async fn set_attributes(&self, wanted: &Changes) -> Result<(), Failure> {
        let what = format!("set the attributes of {}", self.handle.path());
        let now = match needs_times(wanted) {
            true => Some(self.handle.stat().await?.attributes(&what)?),
            false => None,
        };
        let attributes = changes(wanted, now.as_ref()).map_err(|_| out_of_range(&what))?;
        let set = self.handle.set_stat(attributes).await?.done(&what);
        set.or_else(|failure| self.server().judge(wanted, failure))
    }

    fn answers_for_path(&self) -> bool {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*ending, Some(Ending::Renamed { .. }))
    }

    async fn sync(&self) -> Result<(), Failure> {
        let what = format!("sync {}", self.handle.path());
        if !self.server().extensions.file_sync {
            return Err(unsupported(&what, "fsync"));
        }
        let body = Extension::FileSync { handle: self.handle.bytes() };
        self.handle.ask(RequestBody::Extended(body)).await?.done(&what)
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        let what = "tell the file system of";
        let offers = &self.server().extensions;
        let body = match (offers.file_stat_vfs, offers.stat_vfs) {
            (true, _) => Extension::FileStatVfs { handle: self.handle.bytes() },
            (false, true) => Extension::StatVfs { path: self.server().wire(self.handle.path()) },
            (false, false) => {
                return Err(unsupported(format_args!("{what} {}", self.handle.path()), "statvfs"));
            }
        };
        let said = sftp::FileSystem::decode(self.extended(body, what).await?);
        said.map(attributes::file_system).ok_or_else(|| misunderstood(what))
    }

    async fn copy_data(
        &self,
        offset: u64,
        length: u64,
        to: &Arc<dyn OpenFile>,
        to_offset: u64,
    ) -> Result<(), Failure> {
        let what = format!("copy from {}", self.handle.path());
        let to = to.as_any().downcast_ref::<SftpFile>();
        let same = to.filter(|to| Arc::ptr_eq(to.server(), self.server()));
        let (true, Some(to)) = (self.server().extensions.copy_data, same) else {
            return Err(unsupported(&what, "copy-data"));
        };
        copy::copy(&self.handle, offset, length, &to.handle, to_offset).await
    }

    async fn close(&self) -> Result<(), Failure> {
        let path = self.handle.path();
        let Some(ending) = self.take_ending() else {
            let message = format_args!("cannot close {path}: it is closed already");
            return Err(Failure::client(FailureKind::InvalidArgument, message));
        };
        self.ahead().forget();
        if self.only_read {
            self.handle.close_read();
            return Ok(());
        }
        self.handle.note_end();
        // A plain file's CLOSE speaks for itself; its writes had their own answers.
        let plain = matches!(ending, Ending::Stays);
        let handle = self.handle.clone();
        let written = async move {
            match handle.refused().is_some() && !plain {
                true => Err(Failure::backend(
                    FailureKind::Internal,
                    format_args!("cannot close {}: not all of it could be written", handle.path()),
                )),
                false => Ok(()),
            }
        };
        ending::complete(self.handle.clone(), ending, written).await
    }

    async fn abort(&self) {
        self.ahead().forget();
        if let Some(ending) = self.take_ending() {
            ending::cut(&self.handle, ending).await;
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for SftpFile {
    fn drop(&mut self) {
        if let Some(ending) = self.take_ending() {
            ending::cut_behind(self.handle.clone(), ending);
        }
    }
}
