//! All entries of `expect`, for the whole process: a reload replaces the entries and goes on with what was
//! counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::carried::{Arrival, CarriedArrival, CarriedFiles};
use super::entry::Entry;
use super::expectation::Expectation;
use super::file_key::FileKey;
use super::saved::{SavedEntry, SavedTally};
use super::view::ExpectedView;
use crate::op::RemotePath;
use crate::policy::{Names, SessionFacts};

/// How late the log may tell that files are overdue.
const TICK: Duration = Duration::from_secs(1);
/// Arrivals that wait for the process that has taken over; it reads them every second. Further ones are lost,
/// so that it may tell files as overdue that have arrived, never the other way round.
const FORWARDED_MAX: usize = 10_000;

/// The entries of the configuration in force, with what has arrived.
#[derive(Default)]
pub struct ExpectedFiles {
    entries: RwLock<Vec<Entry>>,
    /// Something has changed since it was saved last.
    changed: AtomicBool,
    /// From before a restart, by name.
    restored: RwLock<HashMap<String, SavedTally>>,
    /// Another process has taken over, and counts what arrives here.
    forwarded: Mutex<Option<Vec<CarriedArrival>>>,
}

/// Counts the files of one session.
pub struct SessionFiles {
    files: Arc<ExpectedFiles>,
    facts: SessionFacts,
    names: Names,
}

impl ExpectedFiles {
    /// Replaces the entries. Those with a name from before go on if they count the same files.
    pub fn put_in_force(&self, expectations: Vec<Expectation>, now: Timestamp) {
        let mut restored = self.restored.write().unwrap_or_else(PoisonError::into_inner);
        // Held until the new entries have what the old ones counted.
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        restored
            .extend(entries.iter().map(|entry| (entry.expectation.name.clone(), entry.saved())));
        let new = expectations.into_iter().map(|expectation| {
            let before = restored.remove(&expectation.name);
            Entry::new(expectation, before, now)
        });
        *entries = new.collect();
        restored.clear();
        self.note_changed();
    }

    /// Counts for a session of an authenticated user. `names`: of its backend.
    pub fn of_session(self: &Arc<Self>, facts: SessionFacts, names: Names) -> SessionFiles {
        SessionFiles { files: self.clone(), facts, names }
    }

    /// All entries, in the order of the configuration.
    pub fn views(&self, now: Timestamp) -> Vec<ExpectedView> {
        self.advance(now);
        self.entries().iter().map(|entry| entry.view(now)).collect()
    }

    /// Tells in the log when files become overdue. Never ends.
    pub async fn watch(self: Arc<Self>) {
        loop {
            self.advance(Timestamp::now());
            tokio::time::sleep(TICK).await;
        }
    }

    pub(super) fn advance(&self, now: Timestamp) {
        self.change(|entry| entry.advance(now));
    }

    /// What was saved before a restart, for [`Self::put_in_force`].
    pub(super) fn go_on_with(&self, saved: Vec<SavedTally>) {
        let mut restored = self.restored.write().unwrap_or_else(PoisonError::into_inner);
        *restored = saved.into_iter().map(|saved| (saved.name.clone(), saved)).collect();
    }

    /// What is to be saved; `None`: the same as the last time.
    pub(super) fn take_changed(&self) -> Option<Vec<SavedTally>> {
        let changed = self.changed.swap(false, Ordering::Relaxed);
        changed.then(|| self.entries().iter().map(Entry::saved).collect())
    }

    /// There is something to save.
    pub(super) fn note_changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// What another process goes on with. From now on, arrivals are kept for [`Self::take_forwarded`].
    pub fn begin_forwarding(&self) -> Vec<CarriedFiles> {
        let mut forwarded = self.forwarded();
        *forwarded = Some(Vec::new());
        let entries = self.entries();
        entries.iter().map(|entry| CarriedFiles(SavedEntry::from(&entry.saved()))).collect()
    }

    /// The other process did not take over: this one counts again.
    pub fn end_forwarding(&self) {
        let mut forwarded = self.forwarded();
        let missed = forwarded.take().unwrap_or_default();
        self.count(&missed);
    }

    /// What has arrived since the last time, for the process that has taken over: at most `max`, the oldest
    /// first.
    pub fn take_forwarded(&self, max: usize) -> Vec<CarriedArrival> {
        let mut forwarded = self.forwarded();
        let Some(forwarded) = &mut *forwarded else { return Vec::new() };
        forwarded.drain(..max.min(forwarded.len())).collect()
    }

    /// Goes on with what has arrived in another process, at [`Self::put_in_force`].
    pub fn import(&self, carried: CarriedFiles) {
        let mut restored = self.restored.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(saved) = carried.0.tally(Timestamp::now()) {
            restored.insert(saved.name.clone(), saved);
        }
    }

    /// Counts what has arrived in a process before this one.
    pub fn learn(&self, arrivals: Vec<CarriedArrival>) {
        match &mut *self.forwarded() {
            Some(forwarded) => forwarded.extend(arrivals),
            None => self.count(&arrivals),
        }
    }

    fn count(&self, arrivals: &[CarriedArrival]) {
        for carried in arrivals {
            if let Some(arrival) = carried.decode() {
                self.change(|entry| {
                    entry.expectation.name == carried.name && entry.counted(&arrival)
                });
            }
        }
    }

    /// Counts a file for the entries that `what` returns an arrival for, or keeps it for the process that does.
    fn note<'a>(&self, what: impl Fn(&Entry) -> Option<Arrival<'a>>) {
        let mut forwarded = self.forwarded();
        let Some(forwarded) = &mut *forwarded else {
            self.change(|entry| what(entry).is_some_and(|arrival| entry.counted(&arrival)));
            return;
        };
        let entries = self.entries();
        let arrivals = entries.iter().filter_map(|entry| {
            what(entry).map(|arrival| CarriedArrival::new(&entry.expectation.name, &arrival))
        });
        forwarded.extend(arrivals.take(FORWARDED_MAX.saturating_sub(forwarded.len())));
    }

    fn forwarded(&self) -> MutexGuard<'_, Option<Vec<CarriedArrival>>> {
        self.forwarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl Fn(&Entry) -> bool) {
        // Each of them.
        let changed = self.entries().iter().filter(|entry| change(entry)).count();
        if changed > 0 {
            self.note_changed();
        }
    }

    fn entries(&self) -> RwLockReadGuard<'_, Vec<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionFiles {
    /// A file was stored, whole, under this path of the client.
    pub fn arrived(&self, path: &[u8]) {
        self.arrived_at(path, Timestamp::now());
    }

    /// A file or folder has got another name.
    pub fn renamed(&self, from: &[u8], to: &[u8]) {
        self.renamed_at(from, to, Timestamp::now());
    }

    pub(super) fn arrived_at(&self, path: &[u8], now: Timestamp) {
        if self.files.entries().is_empty() {
            return;
        }
        let Some(spelled) = self.spelled(path) else { return };
        let key = FileKey::new(&self.facts, &spelled);
        self.files.note(|entry| {
            let covers = entry.expectation.covers(&self.facts, self.names, &spelled);
            covers.then_some(Arrival { key, from: None, path, at: now })
        });
    }

    pub(super) fn renamed_at(&self, from: &[u8], to: &[u8], now: Timestamp) {
        if self.files.entries().is_empty() {
            return;
        }
        let (Some(old), Some(new)) = (self.spelled(from), self.spelled(to)) else { return };
        let keys = [&old, &new].map(|path| FileKey::new(&self.facts, path));
        self.files.note(|entry| {
            let covers = |path: &[u8]| entry.expectation.covers(&self.facts, self.names, path);
            let from = covers(&old).then_some(keys[0]);
            covers(&new).then_some(Arrival { key: keys[1], from, path: to, at: now })
        });
    }

    fn spelled(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = RemotePath::resolve(&RemotePath::root(), path).ok()?;
        Some(self.names.spelled(&path).as_bytes().to_vec())
    }
}
