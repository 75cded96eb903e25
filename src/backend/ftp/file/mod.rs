//! A file opened for reads and writes at any offset: what RETR, STOR and APPE (RFC 959) with REST
//! (RFC 3659 section 5) can do of it, and a file that is replaced under another name. The rest is
//! refused.
//!
//! A created file has the server's own permissions until its end: FTP has no way to give them
//! beforehand.

mod replace;
mod transfers;

use std::any::Any;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use super::FtpSession;
use crate::backend::ftp::sequenced::{Access, Sequenced};
use crate::backend::ftp::{attributes, failures, times};
use crate::backend::unsupported::Attribute;
use crate::backend::{InFlight, OpenFile};
use crate::op::{
    Changes, Entry, EntryKind, Failure, FailureKind, FileSystem, OpenMode, RemotePath,
};
use transfers::{Transfers, Version, lock};

struct FtpFile {
    transfers: Arc<Transfers>,
    sequenced: Sequenced,
    /// To be changed when what is being written has ended.
    later: Mutex<Changes>,
    /// What a file that was made here is to have by its end, narrower than is usual.
    narrow: Mutex<Option<u32>>,
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
    let queue_budget = session.queue_budget.clone();
    let reads_only = !mode.writes();
    // What is written changes by itself.
    let told = reads_only.then(|| session.cache.get(&path, false, true)).flatten();
    let version = Mutex::new(told.as_ref().and_then(Version::of));
    let (part, appended, aside) = Default::default();
    let transfers =
        Transfers { session, path, exclusive, reads_only, version, part, appended, aside };
    let transfers = Arc::new(transfers);
    let (write, narrow) = if reads_only {
        (None, None)
    } else {
        let (begin, narrow) = transfers.begin(mode).await?;
        (Some(begin), narrow)
    };
    let access = Access { read: mode.read, write };
    let sequenced = Sequenced::open(transfers.clone(), access, queue_budget).await?;
    Ok(FtpFile { transfers, sequenced, later: Mutex::default(), narrow: Mutex::new(narrow) })
}

impl FtpFile {
    /// The permissions over a connection of their own, while a transfer holds this file's; where
    /// there is none, or the file has another name yet, they wait for the end.
    async fn change_aside(&self, changes: Changes) -> Result<(), Failure> {
        let Transfers { session, path, .. } = &*self.transfers;
        let policy = session.pool.attributes();
        let (mut later, mut timed) = (changes, Ok(()));
        if let Err(failure) = self.check_times(&changes).await {
            timed = policy.judge(Attribute::Times, failure);
            later.modified = None;
        }
        if let Some(mode) = changes.permissions
            && self.transfers.temporary().is_none()
            && let Some(mut guard) = session.pool.try_acquire().await
        {
            let set = attributes::set_permissions(&mut guard, path, mode).await;
            if let Err(failure) = set {
                policy.judge(Attribute::Permissions, failure)?;
            }
            later.permissions = None;
        }
        let mut all = lock(&self.later);
        all.permissions = later.permissions.or(all.permissions);
        all.modified = later.modified.or(all.modified);
        timed
    }

    /// Whether the time can be set, before that is left to the end, where a refusal would make an upload
    /// that is whole fail: on a server of which it is not known yet, it is set now, too.
    async fn check_times(&self, changes: &Changes) -> Result<(), Failure> {
        let Transfers { session, .. } = &*self.transfers;
        attributes::check_times(&session.pool, changes)?;
        let unknown = session.pool.sets_times().is_none() && !session.pool.attributes().ignores();
        let Some(seconds) = changes.modified.filter(|_| unknown) else { return Ok(()) };
        let Some(mut guard) = session.pool.try_acquire().await else { return Ok(()) };
        match times::set_while_writing(&mut guard, &self.transfers.place(), seconds).await {
            Err(failure) if failure.kind == FailureKind::Unsupported => Err(failure),
            // It may not be there for others yet; the end will tell.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A server that cannot do that, or does not allow it, still has the whole file.
    async fn give_narrow(&self, mode: u32) {
        let Transfers { session, path, .. } = &*self.transfers;
        let _write_guard = session.cache.write_guard();
        let set = async {
            let mut guard = session.acquire().await?;
            attributes::set_permissions(&mut guard, path, mode & 0o777).await
        };
        if let Err(failure) = set.await {
            tracing::warn!(path = path.as_bytes(), mode = format!("{mode:03o}"), %failure, "a new file keeps the backend's own permissions, wider than the client's");
        }
    }

    async fn change(&self, changes: &Changes) -> Result<(), Failure> {
        let Transfers { session, path, .. } = &*self.transfers;
        let _write_guard = session.cache.write_guard();
        let mut guard = session.acquire().await?;
        let set = attributes::set(&mut guard, path, changes).await;
        set.map(drop)
    }

    fn entry(&self) -> Entry {
        Entry::new(self.transfers.path.name().unwrap_or(b"/"), EntryKind::File)
    }
}

#[async_trait]
impl OpenFile for FtpFile {
    fn read_at(&self, offset: u64, length: u32) -> InFlight<Option<Bytes>> {
        InFlight::new(self.sequenced.read_at(offset, length))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()> {
        InFlight::new(self.sequenced.write_at(offset, data))
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        let session = &self.transfers.session;
        if !self.transfers.reads_only {
            self.sequenced.wait_for_writes().await;
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
        let Some(mut guard) = session.pool.try_acquire().await else {
            return Ok(sized(self.entry()));
        };
        let requested_at = session.ask_stat(&mut guard, &place).await?;
        let mut version = lock(&self.transfers.version);
        *version = version.or(Version::of(&requested_at));
        drop(version);
        Ok(sized(Entry { name: self.entry().name, ..requested_at }))
    }

    async fn size(&self) -> Option<u64> {
        let version = || lock(&self.transfers.version).as_ref().map(Version::size);
        match self.sequenced.size().or_else(version) {
            None => self.stat().await.ok()?.attributes.size,
            size => size,
        }
    }

    async fn set_attributes(&self, changes: &Changes) -> Result<(), Failure> {
        let changes = &attributes::possible(&self.transfers.session.pool, changes)?;
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
        Err(failures::no_file_system())
    }

    async fn copy_data(
        &self,
        _offset: u64,
        _length: u64,
        _to: &Arc<dyn OpenFile>,
        _to_offset: u64,
    ) -> Result<(), Failure> {
        Err(failures::unsupported(
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
        if later == Changes::default() { Ok(()) } else { self.change(&later).await }
    }

    async fn abort(&self) {
        self.sequenced.abort().await;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
