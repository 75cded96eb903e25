//! A file opened for reads and writes at any offset: what RETR, STOR and APPE (RFC 959) with REST
//! (RFC 3659 section 5) can do of it. The rest is refused.
//!
//! A created file gets the server's own permissions: FTP has no way to give them beforehand.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::transfer::FtpRead;
use super::upload::FtpWrite;
use super::{FtpSession, OPEN, attributes, operations, transfer, upload};
use crate::backend::{OpenFile, ReadTransfer, WriteTransfer};
use crate::data::{
    Begin, Purpose, Sequenced, SequentialFile, SequentialRead, SequentialWrite, Sink, Source,
    WriteFrom,
};
use crate::op::{
    Changes, Entry, EntryKind, Failure, FailureKind, FileSystem, OpenMode, RemotePath,
    Representation, WriteMode,
};

/// What was known of a file when it was opened is told for so long.
const FRESH: Duration = Duration::from_secs(2);
/// How long a question beside a transfer waits for a control connection of its own.
const ASIDE: Duration = Duration::from_millis(100);

struct FtpFile {
    transfers: Arc<Transfers>,
    sequenced: Sequenced,
    /// What was known when it was opened.
    known: Option<(Entry, Instant)>,
    /// To be changed when what is being written has ended.
    later: Mutex<Changes>,
}

/// The file's transfers, one after the other; each holds a control connection.
struct Transfers {
    session: FtpSession,
    path: RemotePath,
    /// What is being written has another name until its end.
    temporary: AtomicBool,
}

pub(super) async fn open(
    session: FtpSession,
    path: RemotePath,
    mode: OpenMode,
) -> Result<impl OpenFile, Failure> {
    if path.is_root() {
        return Err(Failure::client(FailureKind::IsADirectory, "the root is a folder, not a file"));
    }
    let known = session.cache.get(&path, false, false).map(|entry| (entry, Instant::now()));
    let transfers = Arc::new(Transfers { session, path, temporary: AtomicBool::new(false) });
    let write = match mode.writes() {
        true => Some(transfers.begin(mode).await?),
        false => None,
    };
    let known = known.filter(|_| write.is_none());
    let purpose = Purpose { read: mode.read, write };
    let sequenced = Sequenced::open(transfers.clone(), purpose).await?;
    Ok(FtpFile { transfers, sequenced, known, later: Mutex::default() })
}

impl Transfers {
    /// What the mode means for this file. The server is asked only where it matters. Between the
    /// answer and the transfer somebody else may make the file: FTP cannot do both at once.
    async fn begin(&self, mode: OpenMode) -> Result<Begin, Failure> {
        let asked = mode.exclusive || !mode.create || !(mode.truncate || mode.append);
        let there = match asked {
            false => None,
            true if mode.create && mode.exclusive => {
                let mut turn = self.session.pool.turn(OPEN).await?;
                let there = operations::exists(&mut turn, &self.path).await;
                if there.map_err(|failure| self.session.pool.softened(failure))? {
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
        Ok(match (mode.append, mode.truncate, there) {
            (true, true, _) => {
                return Err(operations::unsupported(
                    "the backend server is reached by FTP, which cannot empty a file and append to it at once",
                ));
            }
            (true, false, _) => Begin::End,
            (false, false, Some(_)) => Begin::Existing,
            (false, _, _) => Begin::Start,
        })
    }
}

#[async_trait]
impl SequentialFile for Transfers {
    async fn open_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        let turn = self.session.pool.turn(OPEN).await?;
        let begun = transfer::begin(turn, &self.path, offset, Representation::Image).await;
        let read = begun.map_err(|failure| self.session.pool.softened(failure))?;
        Ok(Box::new(Reader(Box::new(read))))
    }

    async fn open_write(&self, from: WriteFrom) -> Result<Box<dyn SequentialWrite>, Failure> {
        let mode = match from {
            WriteFrom::Start => WriteMode::From { offset: 0 },
            WriteFrom::End => WriteMode::Append,
        };
        let turn = self.session.pool.turn(OPEN).await?;
        let writer = self.session.cache.writer();
        let begun = upload::begin(turn, writer, &self.path, mode, Representation::Image).await;
        let write = begun.map_err(|failure| self.session.pool.softened(failure))?;
        self.temporary.store(write.is_temporary(), Ordering::Release);
        Ok(Box::new(Writer(Box::new(write))))
    }

    async fn size(&self) -> Result<Option<u64>, Failure> {
        let mut turn = self.session.pool.turn(OPEN).await?;
        let size = operations::file_size(&mut turn, &self.path).await;
        size.map_err(|failure| self.session.pool.softened(failure))
    }
}

struct Reader(Box<FtpRead>);

#[async_trait]
impl SequentialRead for Reader {
    async fn read(&mut self, into: &mut BytesMut) -> Result<usize, Failure> {
        let limit = self.0.turn().settings.reply_timeout;
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

struct Writer(Box<FtpWrite>);

#[async_trait]
impl SequentialWrite for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        let limit = self.0.turn().settings.reply_timeout;
        let Sink::Socket(stream) = self.0.sink() else { return Err(cut("writing")) };
        match timeout(limit, stream.write_all(&data)).await {
            Ok(written) => written.map_err(|e| cut("writing").with_detail(e)),
            Err(_) => Err(stalled("writing")),
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
        let Transfers { session, path, temporary } = &*self.transfers;
        attributes::check(&session.pool.features(), &changes)?;
        let mut later = changes;
        if let Some(mode) = changes.permissions
            && !temporary.load(Ordering::Acquire)
            && let Ok(mut turn) = session.pool.turn(ASIDE).await
        {
            let set = attributes::set_permissions(&mut turn, path, mode).await;
            set.map_err(|failure| session.pool.softened(failure))?;
            later.permissions = None;
        }
        let mut all = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        all.permissions = later.permissions.or(all.permissions);
        all.modified = later.modified.or(all.modified);
        Ok(())
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
        let known = self.known.as_ref().filter(|(_, since)| since.elapsed() < FRESH);
        let known = known.map(|(entry, _)| entry.clone());
        if let Some(size) = self.sequenced.size() {
            let mut entry = known.unwrap_or_else(|| self.entry());
            entry.attributes.size = Some(size);
            return Ok(entry);
        }
        let Transfers { session, path, .. } = &*self.transfers;
        if let Some(entry) = known.or_else(|| session.cache.get(path, false, false)) {
            return Ok(entry);
        }
        // Without a free connection it is told without a size rather than with a wrong one.
        let Ok(mut turn) = session.pool.turn(ASIDE).await else { return Ok(self.entry()) };
        let asked = operations::stat(&mut turn, path).await;
        asked.map_err(|failure| session.pool.softened(failure))
    }

    async fn set_attributes(&self, changes: &Changes) -> Result<(), Failure> {
        attributes::check(&self.transfers.session.pool.features(), changes)?;
        if let Some(size) = changes.size {
            self.sequenced.truncate(size).await?;
        }
        let rest = Changes { size: None, ..*changes };
        match self.sequenced.is_unfinished() {
            _ if rest == Changes::default() => Ok(()),
            true => self.change_aside(rest).await,
            false => self.change(&rest).await,
        }
    }

    fn answers_for_path(&self) -> bool {
        self.sequenced.is_unfinished()
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
        let later = std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner));
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
