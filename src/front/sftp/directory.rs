//! Open directories: OPENDIR, READDIR (draft-ietf-secsh-filexfer-02 section 6.7).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::names;
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath, Timestamp};
use crate::session::{DirectoryListing, Session};
use crate::wire::sftp::Name;

const NAMES_PER_RESPONSE_MAX: usize = 128;
/// In bytes.
pub(super) const RESPONSE_SIZE_MAX: usize = 64 * 1024;

/// Open directories of one connection, in all its channels: asyncssh's `rmtree` reads this many,
/// others one for each level of a tree.
pub(super) const OPEN_DIRECTORIES_MAX: usize = 128;
/// Bytes of names that all directories of a connection have fetched and not returned yet; above it,
/// no other directory is opened.
const BUFFERED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Above it, no more names are fetched. More than [`BUFFERED_BYTES_MAX`], since a listing that breaks off
/// is worse than one that does not start.
const BUFFERED_BY_READS_MAX: usize = 8 * 1024 * 1024;
/// Directories of one connection that are opened at the same time, and those that fetch more names.
const CONCURRENT_FETCHES_MAX: usize = 8;

/// The limits that the open directories of a connection share, in all its channels.
pub(super) struct OpenDirectories {
    /// Bytes.
    buffered: AtomicUsize,
    slots: Arc<Semaphore>,
    opens: Semaphore,
    /// Separate from `opens`: an OPENDIR may need the backend connection of a directory that is
    /// still being read.
    reads: Semaphore,
}

pub(super) struct Directory {
    /// READDIRs of one handle wait for each other.
    state: Mutex<State>,
    _slot: OwnedSemaphorePermit,
}

struct State {
    /// For the log.
    path: RemotePath,
    /// `None` once it has ended.
    listing: Option<DirectoryListing>,
    names: Names,
    /// `.` and `..`, unless the backend has listed them.
    missing: Vec<&'static [u8]>,
    /// Names that SFTP cannot represent.
    skipped: usize,
    /// Why the listing is incomplete. Every further READDIR reports it, so that no client takes the
    /// listing for complete.
    failed: Option<Failure>,
}

/// Names that were fetched and not returned yet.
struct Names {
    names: VecDeque<Name>,
    buffered: usize,
    directories: Arc<OpenDirectories>,
}

impl OpenDirectories {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            buffered: AtomicUsize::new(0),
            slots: Arc::new(Semaphore::new(OPEN_DIRECTORIES_MAX)),
            opens: Semaphore::new(CONCURRENT_FETCHES_MAX),
            reads: Semaphore::new(CONCURRENT_FETCHES_MAX),
        })
    }

    fn reserve(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.slots.clone().try_acquire_owned().map_err(|_| {
            let reason = format!(
                "{OPEN_DIRECTORIES_MAX} directories are open on this connection; close one first"
            );
            Failure::client(FailureKind::Busy, reason)
        })
    }

    /// Fails where more than `max` bytes are buffered.
    fn check_buffered(&self, max: usize) -> Result<(), Failure> {
        if self.buffered.load(Ordering::Relaxed) <= max {
            return Ok(());
        }
        let reason = "too many large directories are open; read one to its end, or close one";
        Err(Failure::client(FailureKind::Busy, reason))
    }
}

impl Directory {
    /// Opens a directory and fetches the first entries: OPENDIR reports errors.
    pub(super) async fn open(
        session: &Session,
        directories: Arc<OpenDirectories>,
        path: RemotePath,
    ) -> Result<Self, Failure> {
        let slot = directories.reserve()?;
        let _permit = directories.opens.acquire().await;
        directories.check_buffered(BUFFERED_BYTES_MAX)?;
        let listing = session.list(path.clone()).await?;
        let mut state = State {
            path,
            listing: Some(listing),
            names: Names::new(directories.clone()),
            missing: vec![b".", b".."],
            skipped: 0,
            failed: None,
        };
        state.fetch().await?;
        Ok(Self { state: Mutex::new(state), _slot: slot })
    }

    /// The next names; empty at the end.
    pub(super) async fn next(&self) -> Result<Vec<Name>, Failure> {
        let mut state = self.state.lock().await;
        while state.names.is_empty() && state.listing.is_some() {
            let directories = state.names.directories.clone();
            let _permit = directories.reads.acquire().await;
            directories.check_buffered(BUFFERED_BY_READS_MAX)?;
            // `state.failed` keeps an error, which is returned below.
            let _ = state.fetch().await;
        }
        if state.names.is_empty()
            && let Some(failure) = &state.failed
        {
            return Err(failure.clone());
        }
        let (mut returned, mut length) = (Vec::new(), 0);
        while returned.len() < NAMES_PER_RESPONSE_MAX
            && let Some(name) = state.names.front()
            && (returned.is_empty() || length + name.encoded_len() <= RESPONSE_SIZE_MAX)
        {
            length += name.encoded_len();
            returned.extend(state.names.pop());
        }
        Ok(returned)
    }

    pub(super) async fn close(&self) {
        let reason = "the client closed the directory before the end of the listing";
        self.abandon(&Failure::client(FailureKind::Aborted, reason)).await;
    }

    /// Aborts a listing that was not read to its end.
    pub(super) async fn abandon(&self, failure: &Failure) {
        let listing = self.state.lock().await.listing.take();
        if let Some(listing) = listing {
            listing.abort(failure).await;
        }
    }

    /// A directory without entries.
    #[cfg(test)]
    pub(super) fn finished() -> Self {
        let directories = OpenDirectories::new();
        let slot = directories.reserve().unwrap();
        let state = State {
            path: RemotePath::root(),
            listing: None,
            names: Names::new(directories),
            missing: Vec::new(),
            skipped: 0,
            failed: None,
        };
        Self { state: Mutex::new(state), _slot: slot }
    }
}

impl State {
    async fn fetch(&mut self) -> Result<(), Failure> {
        let Some(listing) = &mut self.listing else { return Ok(()) };
        match listing.next().await {
            Ok(Some(entries)) => self.add_entries(entries),
            Ok(None) => {
                self.add_missing();
                self.log_skipped();
                if let Some(listing) = self.listing.take() {
                    listing.finish();
                }
            }
            Err(failure) => {
                if let Some(listing) = self.listing.take() {
                    listing.abort(&failure).await;
                }
                self.failed = Some(failure.clone());
                return Err(failure);
            }
        }
        Ok(())
    }

    fn add_entries(&mut self, entries: Vec<Entry>) {
        let now = Timestamp::now();
        for entry in entries {
            if matches!(&entry.name[..], b"." | b"..") {
                let index = self.missing.iter().position(|name| *name == &entry.name[..]);
                // The root must not show what is above it.
                let above_root = self.path.is_root() && entry.name == b"..";
                let Some(at) = index.filter(|_| !above_root) else { continue };
                self.missing.remove(at);
            }
            match names::listed(entry, now) {
                Some(name) => self.names.push(name),
                None => self.skipped += 1,
            }
        }
    }

    /// Clients expect both, and many backends send neither.
    fn add_missing(&mut self) {
        let now = Timestamp::now();
        for name in self.missing.drain(..) {
            let made_up = names::listed(Entry::new(name, EntryKind::Directory), now);
            made_up.into_iter().for_each(|name| self.names.push(name));
        }
    }

    fn log_skipped(&self) {
        if self.skipped > 0 {
            tracing::warn!(
                path = self.path.as_bytes(),
                names = self.skipped,
                "names omitted from a listing: empty, or with a slash or NUL"
            );
        }
    }
}

impl Names {
    fn new(directories: Arc<OpenDirectories>) -> Self {
        Self { names: VecDeque::new(), buffered: 0, directories }
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn front(&self) -> Option<&Name> {
        self.names.front()
    }

    fn push(&mut self, name: Name) {
        let size = size(&name);
        self.buffered += size;
        self.directories.buffered.fetch_add(size, Ordering::Relaxed);
        self.names.push_back(name);
    }

    fn pop(&mut self) -> Option<Name> {
        let name = self.names.pop_front()?;
        let size = size(&name);
        self.buffered -= size;
        self.directories.buffered.fetch_sub(size, Ordering::Relaxed);
        if self.names.is_empty() {
            // The client may not read on for a long time.
            self.names = VecDeque::new();
        }
        Some(name)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.directories.buffered.fetch_sub(self.buffered, Ordering::Relaxed);
    }
}

/// Approximate memory use.
fn size(name: &Name) -> usize {
    size_of::<Name>() + name.name.len() + name.longname.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returned_names_use_no_memory() {
        let directories = OpenDirectories::new();
        let mut names = Names::new(directories.clone());
        for _ in 0..2 {
            for n in 0..NAMES_PER_RESPONSE_MAX {
                let entry = Entry::new(n.to_string(), EntryKind::File);
                names.push(names::listed(entry, 0).unwrap());
            }
            assert!(
                directories.buffered.load(Ordering::Relaxed)
                    > NAMES_PER_RESPONSE_MAX * size_of::<Name>()
            );
            while names.pop().is_some() {}
            assert_eq!(
                (directories.buffered.load(Ordering::Relaxed), names.names.capacity()),
                (0, 0)
            );
        }
    }
}
