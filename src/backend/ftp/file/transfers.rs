//! The transfers of a file that is open: RETR, STOR and APPE (RFC 959), one after the other.

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
use crate::backend::ftp::upload::{FtpWrite, Part};
use crate::backend::ftp::{ConnectionGuard, FtpSession, OPEN_TIMEOUT};
use crate::backend::ftp::{attributes, failures, reply, stat, transfer, upload};
use crate::backend::{ReadTransfer, WriteTransfer};
use crate::data::{self, Progress, RelayError, Sink, Source};
use crate::op::{
    Attributes, Entry, Failure, FailureKind, OpenMode, RemotePath, Representation, Timestamp,
    WriteMode,
};

/// The file's transfers, one after the other; each holds a control connection.
pub(super) struct Transfers {
    pub(super) session: FtpSession,
    pub(super) path: RemotePath,
    /// It must be nobody else's at its end, too.
    pub(super) exclusive: bool,
    pub(super) reads_only: bool,
    /// As it was last seen.
    pub(super) version: Mutex<Option<Version>>,
    /// The file that was begun here, until it is whole.
    pub(super) part: Arc<Mutex<Option<Part>>>,
    /// The bytes of a file that is appended to, where the server told what was there.
    pub(super) appended: Arc<Mutex<Option<u64>>>,
    /// While the file is replaced: a connection that the rest of the old one can be read over.
    pub(super) aside: Arc<Mutex<Option<ConnectionGuard>>>,
}

/// By what a file is known for the same: FTP has nothing better.
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

    /// A file may grow while it is read.
    fn goes_on_as(&self, later: &Self) -> bool {
        let touched =
            self.modified.is_some() && later.modified.is_some() && self.modified != later.modified;
        later.size > self.size || (later.size == self.size && !touched)
    }
}

impl Transfers {
    /// What the mode means for this file, and what permissions it is to have if it is made. The server
    /// is asked only where it matters. Between the answer and the transfer somebody else may make the
    /// file: FTP cannot do both at once.
    pub(super) async fn begin(
        &self,
        mode: OpenMode,
    ) -> Result<(WriteAccess, Option<u32>), Failure> {
        let requested_at = mode.exclusive || !mode.create || !(mode.truncate || mode.append);
        let there = match requested_at {
            false => None,
            true if self.exclusive => {
                let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
                if !stat::is_absent(&mut guard, &self.path).await? {
                    return Err(Failure::backend(
                        FailureKind::AlreadyExists,
                        format!("{} exists already", self.path),
                    ));
                }
                None
            }
            true => {
                let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
                match stat::file_size(&mut guard, &self.path).await {
                    Err(denied) if mode.create && reply::denies_inspection(&denied) => {
                        guard.check()?;
                        self.note_unchecked(&guard, &denied);
                        None
                    }
                    told => told?,
                }
            }
        };
        if requested_at && there.is_none() && !mode.create {
            let message = format!("{}: no such file", self.path);
            return Err(Failure::backend(FailureKind::NotFound, message));
        }
        let narrow = mode
            .permissions
            .filter(|permissions| mode.create && attributes::is_restrictive(*permissions));
        let (begin, told) = match (mode.append, mode.truncate) {
            (true, true) => {
                return Err(failures::unsupported(
                    "the backend server is reached by FTP, which cannot empty a file and append to it at once",
                ));
            }
            (true, false) => {
                let told = self.base(there).await?;
                *lock(&self.appended) = told.map(|size| size.unwrap_or(0));
                (WriteAccess::Append, told)
            }
            (false, truncate) => {
                let told = match requested_at {
                    true => Some(there),
                    false if narrow.is_some() => self.reported_size().await?,
                    false => None,
                };
                let begin = match there {
                    Some(_) if !truncate => WriteAccess::Existing,
                    _ => WriteAccess::Create,
                };
                (begin, told)
            }
        };
        self.session.cache.forget_served(&self.path);
        let is_there = told.flatten().is_some();
        Ok((begin, narrow.filter(|_| !is_there)))
    }

    /// The account may write and not look: the file is written from its begin, as scp does it.
    fn note_unchecked(&self, guard: &ConnectionGuard, denied: &Failure) {
        if guard.server.unchecked_writes.note() {
            tracing::info!(
                backend = %guard.settings.name,
                server = %guard.server.address,
                path = self.path.as_bytes(),
                reason = denied.message,
                "whether there is a file already cannot be checked for this account; what SFTP clients \
                 open for writing is written from its begin"
            );
        }
    }

    /// What will be appended to; `None` where the server does not tell it.
    async fn base(&self, known: Option<u64>) -> Result<Option<Option<u64>>, Failure> {
        if self.session.cache.served_size(&self.path).is_some() {
            let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
            return Ok(Some(self.session.check_served_size(&mut guard, &self.path).await?));
        }
        match known {
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

    /// A transfer that begins in the middle must be of the file that the reader began with.
    async fn check_version(&self, guard: &mut ConnectionGuard) -> Result<(), Failure> {
        let Ok(entry) = stat::stat_followed(guard, &self.path).await else {
            return guard.check();
        };
        let Some(now) = Version::of(&entry) else { return Ok(()) };
        let before = lock(&self.version).replace(now);
        if before.is_none_or(|before| before.goes_on_as(&now)) {
            return Ok(());
        }
        let message =
            format!("{} was changed while it was read: read it again from its begin", self.path);
        Err(Failure::backend(FailureKind::TransferCut, message))
    }

    /// The file that is there stays until the new one is whole.
    async fn open_over(&self) -> Result<Box<dyn SequentialWrite>, Failure> {
        let replacing = replace::begin(&self.session, &self.path).await?;
        let (write, aside) = replacing;
        *lock(&self.aside) = Some(aside);
        Ok(Box::new(self.write_guard(write)))
    }

    fn write_guard(&self, write: FtpWrite) -> WriteGuard {
        let mut write = Box::new(write);
        write.count(0);
        *self.part() = write.part();
        let (part, appended) = (self.part.clone(), self.appended.clone());
        WriteGuard { write, part, appended, aside: self.aside.clone() }
    }

    fn part(&self) -> MutexGuard<'_, Option<Part>> {
        lock(&self.part)
    }

    /// What is being written has another name until its end.
    pub(super) fn temporary(&self) -> Option<RemotePath> {
        self.part().as_ref().and_then(|part| part.temporary.clone())
    }

    /// Where the file's bytes are now.
    pub(super) fn place(&self) -> RemotePath {
        self.temporary().unwrap_or_else(|| self.path.clone())
    }

    /// A file that was whole at its last sync already gets its name.
    pub(super) async fn settle(&self) -> Result<(), Failure> {
        let part = self.part().take();
        let Some(part) = part.filter(|part| part.temporary.is_some()) else { return Ok(()) };
        let _write_guard = self.session.cache.write_guard();
        let mut guard = self.session.acquire().await?;
        part.give_name(&mut guard, &self.path).await
    }
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl SequentialFile for Transfers {
    async fn start_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        let guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        let read = transfer::begin(guard, &self.place(), offset, Representation::Image).await?;
        Ok(Box::new(Reader(Box::new(read))))
    }

    async fn start_write(&self, from: StoreMode) -> Result<Box<dyn SequentialWrite>, Failure> {
        let mode = match from {
            StoreMode::Create => WriteMode::From { offset: 0 },
            StoreMode::Append => WriteMode::Append,
            StoreMode::Replace => return self.open_over().await,
        };
        let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        let write_guard = self.session.cache.write_guard();
        let known = self.part().clone();
        let part = match (known, from) {
            (Some(part), StoreMode::Append) => Some(part),
            (Some(part), _) => Some(part.anew()),
            (None, StoreMode::Append) => None,
            (None, _) => Some(Part::new(&mut guard, &self.path, self.exclusive).await?),
        };
        let image = Representation::Image;
        let write = upload::begin(guard, write_guard, &self.path, mode, image, part).await?;
        Ok(Box::new(self.write_guard(write)))
    }

    async fn size(&self) -> Result<Option<u64>, Failure> {
        let mut guard = self.session.pool.acquire(OPEN_TIMEOUT).await?;
        stat::file_size(&mut guard, &self.place()).await
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
        replace::check_tail(&self.session.pool, to - from)?;
        let guard = lock(&self.aside).take();
        let read = replace::open_tail(&self.session.pool, guard, &self.path, from).await?;
        Ok(Box::new(Reader(Box::new(read))))
    }

    async fn release_original(&self) {
        drop(lock(&self.aside).take());
    }

    async fn abandon(&self) {
        self.release_original().await;
        let Some(part) = self.part().take() else { return };
        let _write_guard = self.session.cache.write_guard();
        if let Ok(mut guard) = self.session.pool.acquire(OPEN_TIMEOUT).await {
            part.delete(&mut guard, &self.path, Some(0)).await;
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
            Ok(read) => read.map_err(|e| cut("reading").with_detail(e)),
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

struct WriteGuard {
    write: Box<FtpWrite>,
    part: Arc<Mutex<Option<Part>>>,
    appended: Arc<Mutex<Option<u64>>>,
    aside: Arc<Mutex<Option<ConnectionGuard>>>,
}

#[async_trait]
impl SequentialWrite for WriteGuard {
    async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        let limit = self.write.connection().settings.stall_timeout;
        self.write.count(data.len());
        lock(&self.appended).iter_mut().for_each(|size| *size += data.len() as u64);
        let Sink::Socket(stream) = self.write.sink() else { return Err(cut("writing")) };
        match data::send(stream, &data, &Progress::default(), limit).await {
            Ok(()) => Ok(()),
            Err(RelayError::Stalled { .. }) => Err(stalled("writing")),
            Err(broken) => Err(cut("writing").with_detail(broken)),
        }
    }

    async fn finish(self: Box<Self>, whole: bool) -> Result<(), Failure> {
        let sent = self.write.counted();
        if whole {
            drop(lock(&self.aside).take());
        }
        let ended = self.write.end(whole).await;
        if ended.is_err() {
            forget_replacing(&self.part);
        }
        ended?;
        let mut part = lock(&self.part);
        if whole {
            *part = None
        } else {
            part.iter_mut().for_each(|part| part.synced += sent)
        }
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        drop(lock(&self.aside).take());
        forget_replacing(&self.part);
        self.write.abort().await
    }
}

/// What was to replace the file is deleted: by its name, the old one is meant again.
fn forget_replacing(part: &Mutex<Option<Part>>) {
    let mut part = lock(part);
    *part = part.take().filter(|part| part.replaces.is_none());
}

fn cut(doing: &str) -> Failure {
    Failure::backend(
        FailureKind::TransferCut,
        format!("{doing} the file: the backend server ended the transfer before its end"),
    )
}

fn stalled(doing: &str) -> Failure {
    Failure::backend(
        FailureKind::TimedOut,
        format!("{doing} the file: nothing moved at the backend server for too long"),
    )
}
