//! The transfers of an open file, one after the other: RETR, STOR and APPE (RFC 959).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::replace;
use crate::backend::ftp::sequenced::{
    SequentialFile, SequentialRead, SequentialWrite, StoreMode, WriteAccess,
};
use crate::backend::ftp::transfer::FtpRead;
use crate::backend::ftp::upload::{FtpWrite, PartialFile};
use crate::backend::ftp::{ConnectionGuard, FtpSession, OPEN_TIMEOUT};
use crate::backend::ftp::{attributes, failures, reply, stat, transfer, upload};
use crate::backend::{ReadTransfer, WriteTransfer};
use crate::data::{self, Progress, RelayError, Sink, Source};
use crate::op::{
    Attributes, Entry, Failure, FailureKind, OpenMode, RemotePath, Representation, Timestamp,
    WriteMode,
};

/// The transfers of one open file; each holds a control connection.
pub(super) struct Transfers {
    pub(super) session: FtpSession,
    pub(super) path: RemotePath,
    /// No other file may have the name at the end, either.
    pub(super) exclusive: bool,
    pub(super) reads_only: bool,
    /// The version that was seen last.
    pub(super) version: Mutex<Option<Version>>,
    /// The file that is being written, until it is complete.
    pub(super) part: Arc<Mutex<Option<PartialFile>>>,
    /// The size of a file that is appended to, if the server reports it.
    pub(super) appended: Arc<Mutex<Option<u64>>>,
    /// While the file is replaced: the connection for reading the tail of the original.
    pub(super) second: Arc<Mutex<Option<ConnectionGuard>>>,
}

/// Identifies a version of a file, as far as FTP can.
#[derive(Clone, Copy)]
pub(super) struct Version {
    size: u64,
    modified: Option<Timestamp>,
}

impl Version {
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let Attributes { size, modified, .. } = entry.attributes;
        size.map(|size| Self { size, modified })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether `later` is the same file, which may have grown.
    fn is_continued_by(&self, later: &Self) -> bool {
        let touched =
            self.modified.is_some() && later.modified.is_some() && self.modified != later.modified;
        later.size > self.size || (later.size == self.size && !touched)
    }
}

impl Transfers {
    /// Checks the mode against the existing file. Returns how the first write starts, and the mode
    /// that a created file needs. Commands are sent only if the result matters. Another client may create
    /// the file between the check and the transfer: FTP cannot do both at once.
    pub(super) async fn prepare(
        &self,
        mode: OpenMode,
    ) -> Result<(WriteAccess, Option<u32>), Failure> {
        let is_checked = mode.exclusive || !mode.create || !(mode.truncate || mode.append);
        let current_size = if !is_checked {
            None
        } else if self.exclusive {
            let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
            if !stat::is_absent(&mut guard, &self.path).await? {
                return Err(Failure::backend(
                    FailureKind::AlreadyExists,
                    format!("{} exists already", self.path),
                ));
            }
            None
        } else {
            let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
            match stat::file_size(&mut guard, &self.path).await {
                Err(denied) if mode.create && reply::denies_inspection(&denied) => {
                    guard.check()?;
                    self.log_unchecked(&guard, &denied);
                    None
                }
                reported => reported?,
            }
        };
        if is_checked && current_size.is_none() && !mode.create {
            let message = format!("{}: no such file", self.path);
            return Err(Failure::backend(FailureKind::NotFound, message));
        }
        let restricted = mode
            .permissions
            .filter(|permissions| mode.create && attributes::is_restrictive(*permissions));
        let (access, reported) = match (mode.append, mode.truncate) {
            (true, true) => {
                return Err(failures::unsupported(
                    "the backend server is reached by FTP, which cannot open a file for both truncating and appending",
                ));
            }
            (true, false) => {
                let reported = self.append_base(current_size).await?;
                *lock(&self.appended) = reported.map(|size| size.unwrap_or(0));
                (WriteAccess::Append, reported)
            }
            (false, truncate) => {
                let reported = if is_checked {
                    Some(current_size)
                } else if restricted.is_some() {
                    self.reported_size().await?
                } else {
                    None
                };
                let access = match current_size {
                    Some(_) if !truncate => WriteAccess::Existing,
                    _ => WriteAccess::Create,
                };
                (access, reported)
            }
        };
        self.session.cache.forget_served(&self.path);
        let exists = reported.flatten().is_some();
        Ok((access, restricted.filter(|_| !exists)))
    }

    /// The account may write but not see files: the file is written from its start, as by scp.
    fn log_unchecked(&self, guard: &ConnectionGuard, denied: &Failure) {
        if guard.server.unchecked_writes.note() {
            tracing::info!(
                server = %guard.server.address,
                path = self.path.as_bytes(),
                reason = denied.message,
                "this account may not check whether a file exists; files that SFTP clients open for \
                 writing are written from their start"
            );
        }
    }

    /// The size that data is appended to; `None` if the server does not report it.
    async fn append_base(&self, previous: Option<u64>) -> Result<Option<Option<u64>>, Failure> {
        if self.session.cache.served_size(&self.path).is_some() {
            let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
            return Ok(Some(self.session.check_served_size(&mut guard, &self.path).await?));
        }
        match previous {
            Some(size) => Ok(Some(Some(size))),
            None => self.reported_size().await,
        }
    }

    async fn reported_size(&self) -> Result<Option<Option<u64>>, Failure> {
        let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        match stat::reported_size(&mut guard, &self.path).await {
            Ok(size) => Ok(Some(size)),
            Err(failure) => match guard.check() {
                Ok(()) => Ok(None),
                Err(_) => Err(failure),
            },
        }
    }

    /// A transfer from the middle must read the version that the reader started with.
    async fn check_version(&self, guard: &mut ConnectionGuard) -> Result<(), Failure> {
        let Ok(entry) = stat::stat_followed(guard, &self.path).await else {
            return guard.check();
        };
        let Some(now) = Version::of(&entry) else { return Ok(()) };
        let before = lock(&self.version).replace(now);
        if before.is_none_or(|before| before.is_continued_by(&now)) {
            return Ok(());
        }
        let message =
            format!("{} was changed while it was read: read it again from its start", self.path);
        Err(Failure::backend(FailureKind::TransferCut, message))
    }

    /// The existing file stays until the new one is complete.
    async fn start_replacement(&self) -> Result<Box<dyn SequentialWrite>, Failure> {
        let (write, second) = replace::prepare(&self.session, &self.path).await?;
        *lock(&self.second) = Some(second);
        Ok(Box::new(self.writer(write)))
    }

    fn writer(&self, write: FtpWrite) -> Writer {
        let mut write = Box::new(write);
        write.add_bytes(0);
        *self.part() = write.part();
        let (part, appended) = (self.part.clone(), self.appended.clone());
        Writer { write, part, appended, second: self.second.clone() }
    }

    fn part(&self) -> MutexGuard<'_, Option<PartialFile>> {
        lock(&self.part)
    }

    /// The temporary name of a file that is being written.
    pub(super) fn temporary(&self) -> Option<RemotePath> {
        self.part().as_ref().and_then(|part| part.temporary.clone())
    }

    /// The path that currently has the file's bytes.
    pub(super) fn current_path(&self) -> RemotePath {
        self.temporary().unwrap_or_else(|| self.path.clone())
    }

    /// Renames a file that was complete at its last sync.
    pub(super) async fn rename_synced(&self) -> Result<(), Failure> {
        let part = self.part().take();
        let Some(part) = part.filter(|part| part.temporary.is_some()) else { return Ok(()) };
        let _write_guard = self.session.cache.write_guard();
        let mut guard = self.session.acquire().await?;
        part.rename_to_final(&mut guard, &self.path).await
    }
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl SequentialFile for Transfers {
    async fn start_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        let guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        let read =
            transfer::start(guard, &self.current_path(), offset, Representation::Image).await?;
        Ok(Box::new(Reader(Box::new(read))))
    }

    async fn start_write(&self, from: StoreMode) -> Result<Box<dyn SequentialWrite>, Failure> {
        let mode = match from {
            StoreMode::Create => WriteMode::From { offset: 0 },
            StoreMode::Append => WriteMode::Append,
            StoreMode::Replace => return self.start_replacement().await,
        };
        let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        let write_guard = self.session.cache.write_guard();
        let previous = self.part().clone();
        let part = match (previous, from) {
            (Some(part), StoreMode::Append) => Some(part),
            (Some(part), _) => Some(part.restarted()),
            (None, StoreMode::Append) => None,
            (None, _) => Some(PartialFile::new(&mut guard, &self.path, self.exclusive).await?),
        };
        let image = Representation::Image;
        let write = upload::start(guard, write_guard, &self.path, mode, image, part).await?;
        Ok(Box::new(self.writer(write)))
    }

    async fn size(&self) -> Result<Option<u64>, Failure> {
        let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        stat::file_size(&mut guard, &self.current_path()).await
    }

    async fn check_unchanged(&self) -> Result<(), Failure> {
        if !self.reads_only {
            return Ok(());
        }
        let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        self.check_version(&mut guard).await
    }

    async fn connection_requested(&self) {
        self.session.pool.connection_requested().await;
    }

    async fn start_read_original(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Box<dyn SequentialRead>, Failure> {
        replace::check_tail_size(&self.session.pool, to - from)?;
        let guard = lock(&self.second).take();
        let read = replace::start_tail(&self.session.pool, guard, &self.path, from).await?;
        Ok(Box::new(Reader(Box::new(read))))
    }

    async fn release_original(&self) {
        drop(lock(&self.second).take());
    }

    async fn abandon(&self) {
        self.release_original().await;
        let Some(part) = self.part().take() else { return };
        let _write_guard = self.session.cache.write_guard();
        if let Ok(mut guard) = self.session.pool.acquire(OPEN_TIMEOUT).await {
            part.delete_if_own(&mut guard, &self.path, Some(0)).await;
        }
    }
}

struct Reader(Box<FtpRead>);

#[async_trait]
impl SequentialRead for Reader {
    async fn read(&mut self, into: &mut BytesMut) -> Result<usize, Failure> {
        let limit = self.0.connection().settings.stall_timeout;
        let Source::Socket(stream) = self.0.source() else { return Ok(0) };
        match timeout(limit, stream.read_buf(into)).await {
            Ok(read) => read.map_err(|e| cut_off("reading").with_detail(e)),
            Err(_) => Err(stalled("reading")),
        }
    }

    async fn finish(self: Box<Self>) -> Result<(), Failure> {
        self.0.finish().await.map(drop)
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        self.0.abort().await
    }
}

struct Writer {
    write: Box<FtpWrite>,
    part: Arc<Mutex<Option<PartialFile>>>,
    appended: Arc<Mutex<Option<u64>>>,
    second: Arc<Mutex<Option<ConnectionGuard>>>,
}

#[async_trait]
impl SequentialWrite for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        let limit = self.write.connection().settings.stall_timeout;
        self.write.add_bytes(data.len());
        lock(&self.appended).iter_mut().for_each(|size| *size += data.len() as u64);
        let Sink::Socket(stream) = self.write.sink() else { return Err(cut_off("writing")) };
        match data::send(stream, &data, &Progress::default(), limit).await {
            Ok(()) => Ok(()),
            Err(RelayError::Stalled { .. }) => Err(stalled("writing")),
            Err(broken) => Err(cut_off("writing").with_detail(broken)),
        }
    }

    async fn finish(self: Box<Self>, whole: bool) -> Result<(), Failure> {
        let bytes_sent = self.write.bytes_sent();
        if whole {
            drop(lock(&self.second).take());
        }
        let ended = self.write.end(whole).await;
        if ended.is_err() {
            forget_replacement(&self.part);
        }
        ended?;
        let mut part = lock(&self.part);
        if whole {
            *part = None;
        } else {
            part.iter_mut().for_each(|part| part.synced_bytes += bytes_sent);
        }
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        drop(lock(&self.second).take());
        forget_replacement(&self.part);
        self.write.abort().await
    }
}

/// The replacement was deleted: the name refers to the original again.
fn forget_replacement(part: &Mutex<Option<PartialFile>>) {
    let mut part = lock(part);
    *part = part.take().filter(|part| part.replaces.is_none());
}

fn cut_off(doing: &str) -> Failure {
    Failure::backend(
        FailureKind::TransferCut,
        format!("{doing} the file: the backend server cut the transfer"),
    )
}

fn stalled(doing: &str) -> Failure {
    Failure::backend(
        FailureKind::TimedOut,
        format!(
            "{doing} the file: the transfer to the backend server stalled (`limits.stall_timeout`)"
        ),
    )
}
