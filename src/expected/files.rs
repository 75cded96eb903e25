//! All entries of `expect`, for the whole process: a reload replaces the entries and goes on with what was
//! counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::entry::Entry;
use super::expectation::Expectation;
use super::file_key::FileKey;
use super::saved::SavedTally;
use super::view::ExpectedView;
use crate::op::RemotePath;
use crate::policy::{Names, SessionFacts};

/// How late the log may tell that files are overdue.
const TICK: Duration = Duration::from_secs(1);

/// The entries of the configuration in force, with what has arrived.
#[derive(Default)]
pub struct ExpectedFiles {
    entries: RwLock<Vec<Entry>>,
    /// Something has changed since it was saved last.
    changed: AtomicBool,
    /// From before a restart, by name.
    restored: RwLock<HashMap<String, SavedTally>>,
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
        self.changed.store(true, Ordering::Relaxed);
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

    pub(super) fn restore(&self, saved: Vec<SavedTally>) {
        let mut restored = self.restored.write().unwrap_or_else(PoisonError::into_inner);
        *restored = saved.into_iter().map(|saved| (saved.name.clone(), saved)).collect();
    }

    /// What is to be saved; `None`: the same as the last time.
    pub(super) fn take_changed(&self) -> Option<Vec<SavedTally>> {
        let changed = self.changed.swap(false, Ordering::Relaxed);
        changed.then(|| self.entries().iter().map(Entry::saved).collect())
    }

    /// What [`Self::take_changed`] has returned could not be saved.
    pub(super) fn note_unsaved(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    fn change(&self, change: impl Fn(&Entry) -> bool) {
        // Each of them.
        let changed = self.entries().iter().filter(|entry| change(entry)).count();
        if changed > 0 {
            self.note_unsaved();
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
        self.files.change(|entry| {
            entry.expectation.covers(&self.facts, self.names, &spelled)
                && entry.arrived(key, path, now)
        });
    }

    pub(super) fn renamed_at(&self, from: &[u8], to: &[u8], now: Timestamp) {
        if self.files.entries().is_empty() {
            return;
        }
        let (Some(old), Some(new)) = (self.spelled(from), self.spelled(to)) else { return };
        let keys = [&old, &new].map(|path| FileKey::new(&self.facts, path));
        self.files.change(|entry| {
            let covers = |path: &[u8]| entry.expectation.covers(&self.facts, self.names, path);
            match (covers(&old), covers(&new)) {
                (_, false) => false,
                (false, true) => entry.arrived(keys[1], to, now),
                (true, true) => entry.renamed(keys[0], keys[1], to, now),
            }
        });
    }

    fn spelled(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = RemotePath::resolve(&RemotePath::root(), path).ok()?;
        Some(self.names.spelled(&path).as_bytes().to_vec())
    }
}
