//! What listings and stats told a moment ago, so that a client's stats of what it has just listed
//! cost nothing. Never the base of a resume: sizes for that are asked, and one that a client has from
//! here is compared before something is written behind it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::op::{Entry, EntryKind, RemotePath};

/// How old what is told may be.
pub(super) const ENTRY_TTL: Duration = Duration::from_secs(2);
/// Of so many files it is known that the client has their size from here.
const RECALLED: usize = 64;
/// The most that is remembered, in bytes, as estimated by [`weight`].
const MOST: usize = 4 * 1024 * 1024;

#[derive(Default)]
pub(super) struct Cache {
    table: Mutex<Table>,
    /// Of the account: clients have several sessions, and see in one what they have done in another.
    changes: Arc<AtomicU64>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Arc<[u8]>, Told>,
    /// Oldest first; a path that was told again is in it more than once.
    order: VecDeque<(Arc<[u8]>, Instant)>,
    bytes: usize,
    /// Goes on with everything that may change what is there.
    generation: u64,
    /// Files being written.
    writers: usize,
    /// Sizes that the client has from here, the newest last.
    record_served: VecDeque<(RemotePath, u64)>,
    sweeping: bool,
}

struct Told {
    entry: Entry,
    since: Instant,
    changes: u64,
    exact: bool,
}

/// When something was asked, and what the files were then.
#[derive(Clone, Copy)]
pub(super) struct RequestedAt {
    generation: u64,
    changes: u64,
    since: Instant,
}

/// While it is there, something is being written, and nothing is remembered.
pub(super) struct WriteGuard(Arc<Cache>);

impl Cache {
    /// `changes`: of the account.
    pub(super) fn new(changes: Arc<AtomicU64>) -> Self {
        Self { table: Mutex::default(), changes }
    }

    /// To be called before something is asked that will be remembered.
    pub(super) fn asked(&self) -> RequestedAt {
        let changes = self.changes.load(Ordering::Acquire);
        RequestedAt { generation: self.lock().generation, changes, since: Instant::now() }
    }

    /// The client has this size of a file from here.
    pub(super) fn record_served(&self, path: &RemotePath, size: u64) {
        let mut table = self.lock();
        table.record_served.retain(|(known, _)| known != path);
        table.record_served.push_back((path.clone(), size));
        if table.record_served.len() > RECALLED {
            table.record_served.pop_front();
        }
    }

    /// The size that the client was last told, where it came from here.
    pub(super) fn served_size(&self, path: &RemotePath) -> Option<u64> {
        let table = self.lock();
        table.record_served.iter().find(|(known, _)| known == path).map(|(_, size)| *size)
    }

    /// The client knows better: it has asked, or has itself changed what is there or beneath.
    pub(super) fn forget_served(&self, path: &RemotePath) {
        let is_beneath = |known: &RemotePath| known.strip_root(path).is_some();
        self.lock().record_served.retain(|(known, _)| !is_beneath(known));
    }

    /// `exact`: times are known to the second, and so on. Forgotten at once where something has
    /// changed since it was asked.
    pub(super) fn put(
        self: &Arc<Self>,
        RequestedAt { generation, changes, since }: RequestedAt,
        folder: &[u8],
        entries: &[Entry],
        exact: bool,
    ) {
        let mut table = self.lock();
        let table = &mut *table;
        let slash: &[u8] = if folder.ends_with(b"/") { b"" } else { b"/" };
        let paths = entries.iter().map(|entry| [folder, slash, &entry.name].concat());
        if !table.record_served.is_empty() {
            // What is told now is newer.
            let told: HashSet<Vec<u8>> = paths.clone().collect();
            table.record_served.retain(|(known, _)| !told.contains(known.as_bytes()));
        }
        if table.generation != generation || table.writers > 0 {
            return;
        }
        for (entry, path) in entries.iter().zip(paths) {
            let path: Arc<[u8]> = path.into();
            table.bytes += weight(&path);
            table.order.push_back((path.clone(), since));
            table.entries.insert(path, Told { entry: entry.clone(), since, changes, exact });
        }
        while table.bytes > MOST {
            table.drop_oldest();
        }
        if !table.order.is_empty() && !std::mem::replace(&mut table.sweeping, true) {
            tokio::spawn(sweep(self.clone()));
        }
    }

    /// `link`: a symlink itself is meant. `exact`: as it was put.
    pub(super) fn get(&self, path: &RemotePath, link: bool, exact: bool) -> Option<Entry> {
        let table = self.lock();
        let told = table.entries.get(path.as_bytes())?;
        let fresh = told.since.elapsed() < ENTRY_TTL
            && told.changes == self.changes.load(Ordering::Acquire)
            && (told.exact || !exact);
        let itself = match told.entry.kind {
            EntryKind::File => {
                told.entry.attributes.size.is_some()
                    && (link || !may_be_link(&told.entry, told.exact))
            }
            EntryKind::Directory => true,
            EntryKind::Symlink(_) | EntryKind::Other => link,
        };
        (fresh && itself).then(|| told.entry.clone())
    }

    /// Something changes, or may.
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
        self.bytes = self.bytes.saturating_sub(weight(&path));
        if self.entries.get(&path).is_some_and(|told| told.since == since) {
            self.entries.remove(&path);
        }
    }
}

/// An idle session keeps nothing.
async fn sweep(cache: Arc<Cache>) {
    loop {
        tokio::time::sleep(ENTRY_TTL).await;
        let mut table = cache.lock();
        while table.order.front().is_some_and(|(_, since)| since.elapsed() >= ENTRY_TTL) {
            table.drop_oldest();
        }
        if table.order.is_empty() {
            (table.entries, table.order) = Default::default();
            table.sweeping = false;
            return;
        }
    }
}

/// A path and what is told of it, in bytes, roughly.
fn weight(path: &[u8]) -> usize {
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

/// Whether it may be a link, although the server told something else: ProFTPD's MLST tells a link's own
/// length and its mode, 0777, but what it leads to for its kind.
pub(super) fn may_be_link(entry: &Entry, by_facts: bool) -> bool {
    match entry.kind {
        EntryKind::Symlink(_) => true,
        EntryKind::File => by_facts && entry.attributes.permissions == Some(0o777),
        EntryKind::Directory | EntryKind::Other => false,
    }
}
