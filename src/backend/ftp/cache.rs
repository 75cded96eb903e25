//! Caches entries of listings and stats for a moment, so that a client's stats after a listing cost
//! nothing. Resumes never rely on it: a size that was served from here is compared with the
//! server's before data is appended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::op::{Entry, EntryKind, RemotePath};
use crate::task;

/// The maximum age of an entry.
pub(super) const ENTRY_TTL: Duration = Duration::from_secs(2);
/// The most files whose served sizes are remembered.
const SERVED_MAX: usize = 64;
/// The most bytes, as estimated by [`entry_size`].
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Cache {
    table: Mutex<Table>,
    /// Changes by any session of the account: clients have several sessions.
    changes: Arc<AtomicU64>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Arc<[u8]>, CachedEntry>,
    /// Oldest first; a path may occur more than once.
    order: VecDeque<(Arc<[u8]>, Instant)>,
    bytes: usize,
    /// Incremented by everything that may change files.
    generation: u64,
    /// Files being written.
    writers: usize,
    /// Sizes that the client was given from the cache, the newest last.
    served: VecDeque<(RemotePath, u64)>,
    expiring: bool,
}

struct CachedEntry {
    entry: Entry,
    since: Instant,
    changes: u64,
    exact: bool,
}

/// The state of the cache when a command was sent.
#[derive(Clone, Copy)]
pub(super) struct Snapshot {
    generation: u64,
    changes: u64,
    since: Instant,
}

/// While it exists, files are being changed and nothing is cached.
pub(super) struct WriteGuard(Arc<Cache>);

impl Cache {
    /// `changes`: those of the account.
    pub(super) fn new(changes: Arc<AtomicU64>) -> Self {
        Self { table: Mutex::default(), changes }
    }

    /// To be called before a command whose reply will be cached.
    pub(super) fn snapshot(&self) -> Snapshot {
        let changes = self.changes.load(Ordering::Acquire);
        Snapshot { generation: self.lock().generation, changes, since: Instant::now() }
    }

    /// Notes that the client was given this size from the cache.
    pub(super) fn record_served(&self, path: &RemotePath, size: u64) {
        let mut table = self.lock();
        table.served.retain(|(other, _)| other != path);
        table.served.push_back((path.clone(), size));
        if table.served.len() > SERVED_MAX {
            table.served.pop_front();
        }
    }

    /// The size that the client was last given, if from the cache.
    pub(super) fn served_size(&self, path: &RemotePath) -> Option<u64> {
        let table = self.lock();
        table.served.iter().find(|(other, _)| other == path).map(|(_, size)| *size)
    }

    /// Forgets served sizes at and below the path: the client has got the size from the server, or has changed
    /// files itself.
    pub(super) fn forget_served(&self, path: &RemotePath) {
        let is_beneath = |other: &RemotePath| other.strip_root(path).is_some();
        self.lock().served.retain(|(other, _)| !is_beneath(other));
    }

    /// `exact`: with times to the second. Discarded if anything has changed since the request.
    pub(super) fn put(
        self: &Arc<Self>,
        Snapshot { generation, changes, since }: Snapshot,
        folder: &[u8],
        entries: &[Entry],
        exact: bool,
    ) {
        let mut table = self.lock();
        let table = &mut *table;
        let slash: &[u8] = if folder.ends_with(b"/") { b"" } else { b"/" };
        let paths = entries.iter().map(|entry| [folder, slash, &entry.name].concat());
        if !table.served.is_empty() {
            // The client gets newer sizes now.
            let cached: HashSet<Vec<u8>> = paths.clone().collect();
            table.served.retain(|(other, _)| !cached.contains(other.as_bytes()));
        }
        if table.generation != generation || table.writers > 0 {
            return;
        }
        for (entry, path) in entries.iter().zip(paths) {
            let path: Arc<[u8]> = path.into();
            table.bytes += entry_size(&path);
            table.order.push_back((path.clone(), since));
            table.entries.insert(path, CachedEntry { entry: entry.clone(), since, changes, exact });
        }
        while table.bytes > BYTES_MAX {
            table.drop_oldest();
        }
        if !table.order.is_empty() && !std::mem::replace(&mut table.expiring, true) {
            task::spawn(expire(self.clone()));
        }
    }

    /// `link`: of a symlink itself. `exact`: as passed to [`Cache::put`].
    pub(super) fn get(&self, path: &RemotePath, link: bool, exact: bool) -> Option<Entry> {
        let table = self.lock();
        let cached = table.entries.get(path.as_bytes())?;
        let fresh = cached.since.elapsed() < ENTRY_TTL
            && cached.changes == self.changes.load(Ordering::Acquire)
            && (cached.exact || !exact);
        let applies = match cached.entry.kind {
            EntryKind::File => {
                cached.entry.attributes.size.is_some()
                    && (link || !may_be_link(&cached.entry, cached.exact))
            }
            EntryKind::Directory => true,
            EntryKind::Symlink(_) | EntryKind::Other => link,
        };
        (fresh && applies).then(|| cached.entry.clone())
    }

    /// Files are about to change.
    pub(super) fn write_guard(self: &Arc<Self>) -> WriteGuard {
        let mut table = self.lock();
        self.changes.fetch_add(1, Ordering::AcqRel);
        table.forget();
        table.writers += 1;
        WriteGuard(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self) {
        self.generation += 1;
        (self.entries, self.order, self.bytes) = Default::default();
    }

    fn drop_oldest(&mut self) {
        let Some((path, since)) = self.order.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(entry_size(&path));
        if self.entries.get(&path).is_some_and(|cached| cached.since == since) {
            self.entries.remove(&path);
        }
    }
}

/// Removes expired entries, so that idle sessions hold no memory.
async fn expire(cache: Arc<Cache>) {
    loop {
        tokio::time::sleep(ENTRY_TTL).await;
        let mut table = cache.lock();
        while table.order.front().is_some_and(|(_, since)| since.elapsed() >= ENTRY_TTL) {
            table.drop_oldest();
        }
        if table.order.is_empty() {
            (table.entries, table.order) = Default::default();
            table.expiring = false;
            return;
        }
    }
}

/// Estimated size of an entry, in bytes.
fn entry_size(path: &[u8]) -> usize {
    2 * path.len() + size_of::<Entry>() + 128
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        let mut table = self.0.lock();
        table.forget();
        table.writers -= 1;
    }
}

/// Whether the entry may be of a link although it has another kind: for a link, MLST of ProFTPD has
/// the length and mode (0777) of the link, but the type of its target.
pub(super) fn may_be_link(entry: &Entry, by_facts: bool) -> bool {
    match entry.kind {
        EntryKind::Symlink(_) => true,
        EntryKind::File => by_facts && entry.attributes.permissions == Some(0o777),
        EntryKind::Directory | EntryKind::Other => false,
    }
}
