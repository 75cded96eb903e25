//! A file that is open for reads and writes at any offset, by RETR, STOR and APPE (RFC 959) with
//! REST (RFC 3659 section 5), and a file that is replaced under a temporary name. Anything else is
//! refused.
//!
//! A created file has the server's default permissions until it is closed: FTP cannot set them
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
    /// Changes to make once the file is complete.
    deferred: Mutex<Changes>,
    /// The mode of a created file, if more restrictive than the default.
    restricted: Mutex<Option<u32>>,
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
    // A file that is written changes its size.
    let cached = reads_only.then(|| session.cache.get(&path, false, true)).flatten();
    let version = Mutex::new(cached.as_ref().and_then(Version::of));
    let (part, appended, second) = Default::default();
    let transfers =
        Transfers { session, path, exclusive, reads_only, version, part, appended, second };
    let transfers = Arc::new(transfers);
    let (write, restricted) = if reads_only {
        (None, None)
    } else {
        let (access, restricted) = transfers.prepare(mode).await?;
        (Some(access), restricted)
    };
    let access = Access { read: mode.read, write };
    let sequenced = Sequenced::open(transfers.clone(), access, queue_budget).await?;
    Ok(FtpFile {
        transfers,
        sequenced,
        deferred: Mutex::default(),
        restricted: Mutex::new(restricted),
    })
}

impl FtpFile {
    /// Changes during a write: the permissions at once over another connection, if there is one and
    /// the file has its final name; the rest after the end.
    async fn change_during_write(&self, changes: Changes) -> Result<(), Failure> {
        let Transfers { session, path, .. } = &*self.transfers;
        let policy = session.pool.attributes();
        let (mut deferred, mut timed) = (changes, Ok(()));
        if let Err(failure) = self.check_times(&changes).await {
            timed = policy.judge(Attribute::Times, failure);
            deferred.modified = None;
        }
        if let Some(mode) = changes.permissions
            && self.transfers.temporary().is_none()
            && let Some(mut guard) = session.pool.try_acquire().await
        {
            let set = attributes::set_permissions(&mut guard, path, mode).await;
            if let Err(failure) = set {
                policy.judge(Attribute::Permissions, failure)?;
            }
            deferred.permissions = None;
        }
        let mut all = lock(&self.deferred);
        all.permissions = deferred.permissions.or(all.permissions);
        all.modified = deferred.modified.or(all.modified);
        timed
    }

    /// Whether the time can be set. A refusal at the end would make a complete upload fail, so a
    /// server of which this is unknown gets the command now, too.
    async fn check_times(&self, changes: &Changes) -> Result<(), Failure> {
        let Transfers { session, .. } = &*self.transfers;
        attributes::check_times(&session.pool, changes)?;
        let unknown = session.pool.sets_times().is_none() && !session.pool.attributes().ignores();
        let Some(seconds) = changes.modified.filter(|_| unknown) else { return Ok(()) };
        let Some(mut guard) = session.pool.try_acquire().await else { return Ok(()) };
        match times::set_while_writing(&mut guard, &self.transfers.current_path(), seconds).await {
            Err(failure) if failure.kind == FailureKind::Unsupported => Err(failure),
            // The server may not show the file yet; the end decides.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Restricts the permissions of a new file. If the server refuses, the upload still succeeds.
    async fn restrict(&self, mode: u32) {
        let Transfers { session, path, .. } = &*self.transfers;
        let _write_guard = session.cache.write_guard();
        let set = async {
            let mut guard = session.acquire().await?;
            attributes::set_permissions(&mut guard, path, mode & 0o777).await
        };
        if let Err(failure) = set.await {
            tracing::warn!(path = path.as_bytes(), mode = format!("{mode:03o}"), %failure, "the permissions of a new file could not be restricted as the client requested");
        }
    }

    async fn change(&self, changes: &Changes) -> Result<(), Failure> {
        let Transfers { session, path, .. } = &*self.transfers;
        let _write_guard = session.cache.write_guard();
        let mut guard = session.acquire().await?;
        attributes::set(&mut guard, path, changes).await.map(drop)
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
        let current_path = self.transfers.current_path();
        if let Some(entry) = session.cached(&current_path, false) {
            return Ok(sized(entry));
        }
        // The size of a file being written is known here only; without a free connection, no size
        // is better than a wrong one.
        if size.is_some() && self.sequenced.is_unfinished() {
            return Ok(sized(self.entry()));
        }
        let Some(mut guard) = session.pool.try_acquire().await else {
            return Ok(sized(self.entry()));
        };
        let entry = session.stat_at_server(&mut guard, &current_path).await?;
        let mut version = lock(&self.transfers.version);
        *version = version.or(Version::of(&entry));
        drop(version);
        Ok(sized(Entry { name: self.entry().name, ..entry }))
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
            *lock(&self.restricted) = None;
        }
        if rest == Changes::default() {
            Ok(())
        } else if self.answers_for_path() {
            self.change_during_write(rest).await
        } else {
            self.change(&rest).await
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
            "the backend server is reached by FTP, which cannot copy data at the server",
        ))
    }

    async fn close(&self) -> Result<(), Failure> {
        self.sequenced.close().await?;
        self.transfers.rename_synced().await?;
        let restricted = lock(&self.restricted).take();
        if let Some(mode) = restricted {
            self.restrict(mode).await;
        }
        let deferred = std::mem::take(&mut *lock(&self.deferred));
        if deferred == Changes::default() { Ok(()) } else { self.change(&deferred).await }
    }

    async fn abort(&self) {
        self.sequenced.abort().await;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
