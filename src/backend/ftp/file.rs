//! A file opened for reads and writes at any offset: what RETR, STOR and APPE (RFC 959) with REST
//! (RFC 3659 section 5) can do of it. The rest is refused.
//!
//! A created file has the server's own permissions until its end: FTP has no way to give them
//! beforehand.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::transfer::FtpRead;
use super::upload::{FtpWrite, Part};
use super::{FtpSession, OPEN, Turn, attributes, operations, transfer, upload};
use crate::backend::{OpenFile, ReadTransfer, WriteTransfer};
use crate::data::{
    self, Begin, Progress, Purpose, RelayError, Sequenced, SequentialFile, SequentialRead,
    SequentialWrite, Sink, Source, WriteFrom,
};
use crate::op::{
    Attributes, Changes, Entry, EntryKind, Failure, FailureKind, FileSystem, OpenMode, RemotePath,
    Representation, Timestamp, WriteMode,
};

struct FtpFile {
    transfers: Arc<Transfers>,
    sequenced: Sequenced,
    /// To be changed when what is being written has ended.
    later: Mutex<Changes>,
    /// What a file that was made here is to have by its end, narrower than [`USUAL_FILE`].
    narrow: Mutex<Option<u32>>,
}

/// What servers usually give a file.
const USUAL_FILE: u32 = 0o644;

/// The file's transfers, one after the other; each holds a control connection.
struct Transfers {
    session: FtpSession,
    path: RemotePath,
    /// It must be nobody else's at its end, too.
    exclusive: bool,
    reads_only: bool,
    /// As it was last seen.
    version: Mutex<Option<Version>>,
    /// The file that was begun here, until it is whole.
    part: Arc<Mutex<Option<Part>>>,
    /// The bytes of a file that is appended to, where the server told what was there.
    appended: Arc<Mutex<Option<u64>>>,
}

/// By what a file is known for the same: FTP has nothing better.
#[derive(Clone, Copy)]
struct Version {
    size: u64,
    modified: Option<Timestamp>,
}

impl Version {
    fn of(entry: &Entry) -> Option<Self> {
        let Attributes { size, modified, .. } = entry.attributes;
        size.map(|size| Self { size, modified })
    }

    /// A file may grow while it is read.
    fn goes_on_as(&self, later: &Self) -> bool {
        let touched =
            self.modified.is_some() && later.modified.is_some() && self.modified != later.modified;
        later.size > self.size || (later.size == self.size && !touched)
    }
}

pub(super) async fn open(
    session: FtpSession,
    path: RemotePath,
    mode: OpenMode,
) -> Result<impl OpenFile, Failure> {
    if path.is_root() {
        return Err(Failure::client(FailureKind::IsADirectory, "the root is a folder, not a file"));
    }
    let exclusive = mode.create && mode.exclusive;
    let early = session.early.clone();
    let reads_only = !mode.writes();
    // What is written changes by itself.
    let told = reads_only.then(|| session.cache.get(&path, false, true)).flatten();
    let version = Mutex::new(told.as_ref().and_then(Version::of));
    let (part, appended) = Default::default();
    let transfers = Transfers { session, path, exclusive, reads_only, version, part, appended };
    let transfers = Arc::new(transfers);
    let (write, narrow) = match reads_only {
        true => (None, None),
        false => {
            let (begin, narrow) = transfers.begin(mode).await?;
            (Some(begin), narrow)
        }
    };
    let purpose = Purpose { read: mode.read, write };
    let sequenced = Sequenced::open(transfers.clone(), purpose, early).await?;
    Ok(FtpFile { transfers, sequenced, later: Mutex::default(), narrow: Mutex::new(narrow) })
}

impl Transfers {
    /// What the mode means for this file, and what permissions it is to have if it is made. The server
    /// is asked only where it matters. Between the answer and the transfer somebody else may make the
    /// file: FTP cannot do both at once.
    async fn begin(&self, mode: OpenMode) -> Result<(Begin, Option<u32>), Failure> {
        let asked = mode.exclusive || !mode.create || !(mode.truncate || mode.append);
        let there = match asked {
            false => None,
            true if self.exclusive => {
                let mut turn = self.session.pool.turn(OPEN).await?;
                let absent = operations::is_absent(&mut turn, &self.path).await;
                if !absent.map_err(|failure| self.session.pool.softened(failure))? {
                    return Err(Failure::backend(
                        FailureKind::AlreadyExists,
                        format!("{} exists already", self.path),
                    ));
                }
                None
            }
            true => self.size().await?,
        };
        if asked && there.is_none() && !mode.create {
            let message = format!("{}: no such file", self.path);
            return Err(Failure::backend(FailureKind::NotFound, message));
        }
        let is_narrow = |wanted: &u32| wanted & USUAL_FILE != USUAL_FILE;
        let narrow = mode.permissions.filter(|wanted| mode.create && is_narrow(wanted));
        let (begin, told) = match (mode.append, mode.truncate) {
            (true, true) => {
                return Err(operations::unsupported(
                    "the backend server is reached by FTP, which cannot empty a file and append to it at once",
                ));
            }
            (true, false) => {
                let told = self.base(there).await?;
                *lock(&self.appended) = told.map(|size| size.unwrap_or(0));
                (Begin::End, told)
            }
            (false, truncate) => {
                let told = match asked {
                    true => Some(there),
                    false if narrow.is_some() => self.told_size().await?,
                    false => None,
                };
                let begin = match there {
                    Some(_) if !truncate => Begin::Existing,
                    _ => Begin::Start,
                };
                (begin, told)
            }
        };
        self.session.cache.forget_recalled(&self.path);
        let is_there = told.flatten().is_some();
        Ok((begin, narrow.filter(|_| !is_there)))
    }

    /// What will be appended to; `None` where the server does not tell it.
    async fn base(&self, known: Option<u64>) -> Result<Option<Option<u64>>, Failure> {
        if self.session.cache.recalled_size(&self.path).is_some() {
            let mut turn = self.session.pool.turn(OPEN).await?;
            return Ok(Some(self.session.check_recalled(&mut turn, &self.path).await?));
        }
        match known {
            Some(size) => Ok(Some(Some(size))),
            None => self.told_size().await,
        }
    }

    async fn told_size(&self) -> Result<Option<Option<u64>>, Failure> {
        let mut turn = self.session.pool.turn(OPEN).await?;
        match operations::told_size(&mut turn, &self.path).await {
            Ok(size) => Ok(Some(size)),
            Err(failure) => match turn.check() {
                Ok(()) => Ok(None),
                Err(_) => Err(self.session.pool.softened(failure)),
            },
        }
    }

    /// A transfer that begins in the middle must be of the file that the reader began with.
    async fn check_version(&self, turn: &mut Turn) -> Result<(), Failure> {
        let Ok(entry) = operations::stat_followed(turn, &self.path).await else {
            return turn.check();
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

    fn part(&self) -> MutexGuard<'_, Option<Part>> {
        lock(&self.part)
    }

    /// What is being written has another name until its end.
    fn temporary(&self) -> Option<RemotePath> {
        self.part().as_ref().and_then(|part| part.temporary.clone())
    }

    /// Where the file's bytes are now.
    fn place(&self) -> RemotePath {
        self.temporary().unwrap_or_else(|| self.path.clone())
    }

    /// A file that was whole at its last sync already gets its name.
    async fn settle(&self) -> Result<(), Failure> {
        let part = self.part().take();
        let Some(part) = part.filter(|part| part.temporary.is_some()) else { return Ok(()) };
        let _writer = self.session.cache.writer();
        let mut turn = self.session.turn().await?;
        let named = part.give_name(&mut turn, &self.path).await;
        named.map_err(|failure| self.session.pool.softened(failure))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl SequentialFile for Transfers {
    async fn open_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        let turn = self.session.pool.turn(OPEN).await?;
        let begun = transfer::begin(turn, &self.place(), offset, Representation::Image).await;
        let read = begun.map_err(|failure| self.session.pool.softened(failure))?;
        Ok(Box::new(Reader(Box::new(read))))
    }

    async fn open_write(&self, from: WriteFrom) -> Result<Box<dyn SequentialWrite>, Failure> {
        let mode = match from {
            WriteFrom::Start => WriteMode::From { offset: 0 },
            WriteFrom::End => WriteMode::Append,
        };
        let mut turn = self.session.pool.turn(OPEN).await?;
        let writer = self.session.cache.writer();
        let softened = |failure| self.session.pool.softened(failure);
        let known = self.part().clone();
        let part = match (known, from) {
            (Some(part), WriteFrom::End) => Some(part),
            (Some(part), WriteFrom::Start) => Some(part.anew()),
            (None, WriteFrom::End) => None,
            (None, WriteFrom::Start) => {
                Some(Part::new(&mut turn, &self.path, self.exclusive).await.map_err(softened)?)
            }
        };
        let image = Representation::Image;
        let begun = upload::begin(turn, writer, &self.path, mode, image, part).await;
        let mut write = Box::new(begun.map_err(softened)?);
        write.count(0);
        *self.part() = write.part();
        let (part, appended) = (self.part.clone(), self.appended.clone());
        Ok(Box::new(Writer { write, part, appended }))
    }

    async fn size(&self) -> Result<Option<u64>, Failure> {
        let mut turn = self.session.pool.turn(OPEN).await?;
        let size = operations::file_size(&mut turn, &self.place()).await;
        size.map_err(|failure| self.session.pool.softened(failure))
    }

    async fn check_same(&self) -> Result<(), Failure> {
        if !self.reads_only {
            return Ok(());
        }
        let mut turn = self.session.pool.turn(OPEN).await?;
        let checked = self.check_version(&mut turn).await;
        checked.map_err(|failure| self.session.pool.softened(failure))
    }

    async fn wanted(&self) {
        self.session.pool.wanted().await;
    }

    async fn abandon(&self) {
        let Some(part) = self.part().take() else { return };
        let _writer = self.session.cache.writer();
        if let Ok(mut turn) = self.session.pool.turn(OPEN).await {
            part.delete(&mut turn, &self.path, Some(0)).await;
        }
    }
}

struct Reader(Box<FtpRead>);

#[async_trait]
impl SequentialRead for Reader {
    async fn read(&mut self, into: &mut BytesMut) -> Result<usize, Failure> {
        let limit = self.0.turn().settings.stall_timeout;
        let Source::Socket(stream) = self.0.source() else { return Ok(0) };
        match timeout(limit, stream.read_buf(into)).await {
            Ok(read) => read.map_err(|e| cut("reading").with_detail(e)),
            Err(_) => Err(stalled("reading")),
        }
    }

    async fn finish(self: Box<Self>) -> Result<(), Failure> {
        let pool = self.0.turn().pool().clone();
        self.0.finish().await.map(drop).map_err(|failure| pool.softened(failure))
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        let pool = self.0.turn().pool().clone();
        self.0.abort().await.map(|failure| pool.softened(failure))
    }
}

struct Writer {
    write: Box<FtpWrite>,
    part: Arc<Mutex<Option<Part>>>,
    appended: Arc<Mutex<Option<u64>>>,
}

#[async_trait]
impl SequentialWrite for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        let limit = self.write.turn().settings.stall_timeout;
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
        let pool = self.write.turn().pool().clone();
        let sent = self.write.counted();
        self.write.end(whole).await.map_err(|failure| pool.softened(failure))?;
        let mut part = lock(&self.part);
        match whole {
            true => *part = None,
            false => part.iter_mut().for_each(|part| part.synced += sent),
        }
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        let pool = self.write.turn().pool().clone();
        self.write.abort().await.map(|failure| pool.softened(failure))
    }
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

impl FtpFile {
    /// The permissions over a connection of their own, while a transfer holds this file's; where
    /// there is none, or the file has another name yet, they wait for the end.
    async fn change_aside(&self, changes: Changes) -> Result<(), Failure> {
        let Transfers { session, path, .. } = &*self.transfers;
        let timed = attributes::check_times(&session.pool.features(), &changes);
        let mut later = match timed {
            Ok(()) => changes,
            Err(_) => Changes { modified: None, ..changes },
        };
        if let Some(mode) = changes.permissions
            && self.transfers.temporary().is_none()
            && let Some(mut turn) = session.pool.turn_aside().await
        {
            let set = attributes::set_permissions(&mut turn, path, mode).await;
            set.map_err(|failure| session.pool.softened(failure))?;
            later.permissions = None;
        }
        let mut all = lock(&self.later);
        all.permissions = later.permissions.or(all.permissions);
        all.modified = later.modified.or(all.modified);
        timed
    }

    /// A server that cannot do that, or does not allow it, still has the whole file.
    async fn give_narrow(&self, mode: u32) {
        if let Err(failure) = self.change(&Changes::permissions(mode & 0o777)).await {
            let path = &self.transfers.path;
            tracing::warn!(%path, mode = format!("{mode:03o}"), %failure, "a new file keeps the backend's own permissions, wider than the client's");
        }
    }

    async fn change(&self, changes: &Changes) -> Result<(), Failure> {
        let Transfers { session, path, .. } = &*self.transfers;
        let _writer = session.cache.writer();
        let mut turn = session.turn().await?;
        let set = attributes::set(&mut turn, path, changes).await;
        set.map(drop).map_err(|failure| session.pool.softened(failure))
    }

    fn entry(&self) -> Entry {
        Entry::new(self.transfers.path.name().unwrap_or(b"/"), EntryKind::File)
    }
}

#[async_trait]
impl OpenFile for FtpFile {
    fn read_at(
        &self,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'static, Result<Option<Bytes>, Failure>> {
        self.sequenced.read_at(offset, length)
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'static, Result<(), Failure>> {
        self.sequenced.write_at(offset, data)
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        let session = &self.transfers.session;
        if !self.transfers.reads_only {
            self.sequenced.reached().await;
        }
        let size = self.sequenced.size().or(*lock(&self.transfers.appended));
        let sized = |mut entry: Entry| {
            entry.attributes.size = size.or(entry.attributes.size);
            entry
        };
        let place = self.transfers.place();
        if let Some(entry) = session.remembered(&place, false) {
            return Ok(sized(entry));
        }
        // What is being written is known here only; and without a free connection it is told
        // without a size rather than with a wrong one.
        if size.is_some() && self.sequenced.is_unfinished() {
            return Ok(sized(self.entry()));
        }
        let Some(mut turn) = session.pool.turn_aside().await else {
            return Ok(sized(self.entry()));
        };
        let asked = session.ask_stat(&mut turn, &place).await?;
        let mut version = lock(&self.transfers.version);
        *version = version.or(Version::of(&asked));
        drop(version);
        Ok(sized(Entry { name: self.entry().name, ..asked }))
    }

    async fn set_attributes(&self, changes: &Changes) -> Result<(), Failure> {
        attributes::check(&self.transfers.session.pool.features(), changes)?;
        if let Some(size) = changes.size {
            self.sequenced.truncate(size).await?;
        }
        let rest = Changes { size: None, ..*changes };
        if rest.permissions.is_some() {
            *lock(&self.narrow) = None;
        }
        match self.sequenced.is_unfinished() {
            _ if rest == Changes::default() => Ok(()),
            true => self.change_aside(rest).await,
            false if self.transfers.temporary().is_some() => self.change_aside(rest).await,
            false => self.change(&rest).await,
        }
    }

    fn answers_for_path(&self) -> bool {
        self.sequenced.is_unfinished() || self.transfers.temporary().is_some()
    }

    async fn sync(&self) -> Result<(), Failure> {
        self.sequenced.sync().await
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        Err(operations::no_file_system())
    }

    async fn copy_data(
        &self,
        _offset: u64,
        _length: u64,
        _to: &Arc<dyn OpenFile>,
        _to_offset: u64,
    ) -> Result<(), Failure> {
        Err(operations::unsupported(
            "the backend server is reached by FTP, which cannot copy data by itself",
        ))
    }

    async fn close(&self) -> Result<(), Failure> {
        self.sequenced.close().await?;
        self.transfers.settle().await?;
        let narrow = lock(&self.narrow).take();
        if let Some(mode) = narrow {
            self.give_narrow(mode).await;
        }
        let later = std::mem::take(&mut *lock(&self.later));
        match later == Changes::default() {
            true => Ok(()),
            false => self.change(&later).await,
        }
    }

    async fn abort(&self) {
        self.sequenced.abort().await;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
