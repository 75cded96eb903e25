//! What is counted for each limit, and for each user (or listener, backend, session) that it applies to.
//! It holds no setting: a new configuration goes on with the counters of the old one.

use std::collections::{HashMap, hash_map};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bucket::Bucket;
use super::quota::{DailyUse, Day, Used};

/// Counters kept without an open session, for what was transferred today. Those with open sessions are
/// bounded by `limits.sessions`.
const IDLE_MAX: usize = 100_000;
/// Bytes of a user's name that distinguish its counters, so that their memory is bounded. Longer names
/// share one.
const NAME_MAX: usize = 255;

/// All counters; shared by consecutive configurations.
#[derive(Default)]
pub struct Counters(Mutex<Table>);

#[derive(Default)]
struct Table {
    counters: HashMap<Key, Entry>,
    /// Those without an open session.
    idle: usize,
    /// The last day on which those of the day before were dropped.
    swept: Day,
}

#[derive(Default)]
struct Entry {
    sessions: usize,
    counter: Arc<Counter>,
}

/// Which counter: by the limit's name in the configuration and by those who share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) limit: Arc<str>,
    pub(super) shared_by: SharedBy,
}

/// Those who share a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum SharedBy {
    User(Vec<u8>),
    Session(u64),
    Listener(String),
    Backend(String),
    All,
}

/// What a limit counts.
#[derive(Default)]
pub(super) struct Counter {
    /// Uploads and downloads together.
    pub(super) bandwidth: Bucket,
    pub(super) upload: Bucket,
    pub(super) download: Bucket,
    pub(super) operations: Bucket,
    pub(super) today: DailyUse,
    transfers: AtomicUsize,
}

/// Counts a session until dropped.
pub(super) struct SessionCount {
    counters: Arc<Counters>,
    key: Key,
    counter: Arc<Counter>,
}

/// Counts a transfer until dropped.
pub(super) struct TransferCount(Arc<Counter>);

impl SharedBy {
    pub(super) fn user(name: &[u8]) -> Self {
        Self::User(name[..name.len().min(NAME_MAX)].to_vec())
    }
}

impl Counters {
    /// Counts a session, unless there are `max` already.
    pub(super) fn add_session(
        self: &Arc<Self>,
        key: Key,
        max: Option<u32>,
    ) -> Option<SessionCount> {
        let mut table = self.lock();
        table.drop_past_days(Day::today());
        let Table { counters, idle, .. } = &mut *table;
        let entry = match counters.entry(key.clone()) {
            hash_map::Entry::Vacant(free) => free.insert(Entry::default()),
            hash_map::Entry::Occupied(known) => {
                let entry = known.into_mut();
                if max.is_some_and(|max| entry.sessions >= max as usize) {
                    return None;
                }
                *idle -= usize::from(entry.sessions == 0);
                entry
            }
        };
        entry.sessions += 1;
        let counter = entry.counter.clone();
        Some(SessionCount { counters: self.clone(), key, counter })
    }

    /// The open sessions and the counter, if there are any.
    pub(super) fn find(&self, key: &Key) -> Option<(usize, Arc<Counter>)> {
        let table = self.lock();
        table.counters.get(key).map(|entry| (entry.sessions, entry.counter.clone()))
    }

    /// Calls `see` with each counter and its open sessions.
    pub(super) fn for_each(&self, mut see: impl FnMut(&Key, usize, &Counter)) {
        let table = self.lock();
        for (key, entry) in &table.counters {
            see(key, entry.sessions, &entry.counter);
        }
    }

    /// What was used today, for each counter that has any.
    pub(super) fn used(&self, today: Day) -> Vec<(Key, Used)> {
        let table = self.lock();
        let used = table.counters.iter().map(|(key, entry)| (key, entry.counter.today.used(today)));
        let used = used.filter(|(_, used)| used.bytes > 0 || used.files > 0);
        used.map(|(key, used)| (key.clone(), used)).collect()
    }

    /// Continues with what was used before a restart; to be called before the first session.
    pub(super) fn go_on_with(&self, used: impl IntoIterator<Item = (Key, Used)>) {
        let mut table = self.lock();
        for (key, used) in used.into_iter().take(IDLE_MAX) {
            let today = DailyUse::starting_with(used);
            let counter = Arc::new(Counter { today, ..Counter::default() });
            table.counters.insert(key, Entry { sessions: 0, counter });
        }
        table.idle = table.counters.len();
    }

    /// Changes what was used today: another process has counted it.
    pub(super) fn add_used(&self, key: Key, bytes: i64, files: i64, today: Day) {
        let mut table = self.lock();
        let Table { counters, idle, .. } = &mut *table;
        let is_full = *idle >= IDLE_MAX;
        let counter = match counters.entry(key) {
            hash_map::Entry::Vacant(_) if is_full => return,
            hash_map::Entry::Vacant(free) => {
                *idle += 1;
                free.insert(Entry::default()).counter.clone()
            }
            hash_map::Entry::Occupied(known) => known.get().counter.clone(),
        };
        drop(table);
        counter.today.add_signed(bytes, files, today);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn drop_past_days(&mut self, today: Day) {
        if self.swept != today {
            self.swept = today;
            self.counters
                .retain(|_, entry| entry.sessions > 0 || !entry.counter.today.is_unused(today));
            self.idle = self.counters.values().filter(|entry| entry.sessions == 0).count();
        }
    }

    fn end_session(&mut self, key: &Key, today: Day, max: usize) {
        let Some(entry) = self.counters.get_mut(key) else { return };
        entry.sessions = entry.sessions.saturating_sub(1);
        if entry.sessions > 0 {
            return;
        }
        if entry.counter.today.is_unused(today) {
            self.counters.remove(key);
            return;
        }
        self.idle += 1;
        if self.idle > max {
            self.drop_least_used(today, max / 8 + 1);
        }
    }

    /// Many names that were used once are more likely than as many users.
    fn drop_least_used(&mut self, today: Day, count: usize) {
        let idle = self.counters.iter().filter(|(_, entry)| entry.sessions == 0);
        let mut idle: Vec<_> = idle
            .map(|(key, entry)| {
                let used = entry.counter.today.used(today);
                (used.bytes, used.files, key.clone())
            })
            .collect();
        idle.sort_unstable_by_key(|(bytes, files, _)| (*bytes, *files));
        idle.truncate(count);
        self.idle -= idle.len();
        tracing::warn!(
            dropped = idle.len(),
            "daily quotas of too many users: those that have used least today start again"
        );
        for (_, _, key) in idle {
            self.counters.remove(&key);
        }
    }
}

impl Counter {
    /// Counts a transfer, unless there are `max` already.
    pub(super) fn add_transfer(self: &Arc<Self>, max: Option<u32>) -> Option<TransferCount> {
        let max = max.map_or(usize::MAX, |max| max as usize);
        let more = |open: usize| (open < max).then_some(open + 1);
        let added = self.transfers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        added.is_ok().then(|| TransferCount(self.clone()))
    }

    /// The transfers that are running.
    pub(super) fn transfers(&self) -> usize {
        self.transfers.load(Ordering::Relaxed)
    }
}

impl SessionCount {
    pub(super) fn counter(&self) -> &Arc<Counter> {
        &self.counter
    }
}

impl Drop for SessionCount {
    fn drop(&mut self) {
        self.counters.lock().end_session(&self.key, Day::today(), IDLE_MAX);
    }
}

impl Drop for TransferCount {
    fn drop(&mut self) {
        self.0.transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> Key {
        Key { limit: "partners".into(), shared_by: SharedBy::user(user.as_bytes()) }
    }

    fn kept(counters: &Counters) -> usize {
        counters.lock().counters.len()
    }

    #[test]
    fn sessions_are_counted_up_to_the_maximum_and_what_is_unused_is_dropped() {
        let counters = Arc::new(Counters::default());
        let first = counters.add_session(key("a"), Some(2)).unwrap();
        let second = counters.add_session(key("a"), Some(2)).unwrap();
        assert!(counters.add_session(key("a"), Some(2)).is_none());
        assert!(counters.add_session(key("b"), Some(2)).is_some(), "another user's is dropped");
        assert_eq!(counters.find(&key("a")).unwrap().0, 2);
        drop(first);
        assert!(counters.add_session(key("a"), Some(2)).is_some());
        drop(second);
        assert_eq!(kept(&counters), 0);
    }

    #[test]
    fn what_was_used_today_outlives_the_session() {
        let (counters, today) = (Arc::new(Counters::default()), Day::today());
        let session = counters.add_session(key("a"), None).unwrap();
        assert!(session.counter().today.add_file(10, today));
        drop(session);
        let (sessions, counter) = counters.find(&key("a")).unwrap();
        assert_eq!((sessions, counter.today.used(today).files), (0, 1));
        // A restart.
        let after = Arc::new(Counters::default());
        after.go_on_with(counters.used(today));
        assert_eq!(after.used(today), counters.used(today));
        let session = after.add_session(key("a"), None).unwrap();
        assert!(!session.counter().today.add_file(1, today));
        // The next day.
        drop(session);
        after.lock().drop_past_days(Day(today.0 + 1));
        assert_eq!(kept(&after), 0);
    }

    #[test]
    fn idle_counters_are_bounded_and_those_of_who_used_most_are_kept() {
        let (counters, today) = (Arc::new(Counters::default()), Day::today());
        let open = counters.add_session(key("open"), None).unwrap();
        for bytes in 1..=19 {
            let session = counters.add_session(key(&bytes.to_string()), None).unwrap();
            assert!(session.counter().today.add_bytes(bytes, 1000, today));
            let mut table = counters.lock();
            table.end_session(&session.key, today, 16);
            // As if it had been dropped.
            drop(table);
            std::mem::forget(session);
        }
        // With the seventeenth, three were dropped.
        assert_eq!((kept(&counters), counters.lock().idle), (17, 16));
        assert!(counters.find(&key("3")).is_none() && counters.find(&key("4")).is_some());
        drop(open);
        assert_eq!(kept(&counters), 16);
        // An idle one that is used again.
        let again = counters.add_session(key("19"), None).unwrap();
        assert_eq!(counters.lock().idle, 15);
        drop(again);
        assert_eq!(counters.lock().idle, 16);
    }

    #[test]
    fn transfers_are_counted_until_their_end() {
        let counter = Arc::new(Counter::default());
        let first = counter.add_transfer(Some(2)).unwrap();
        let _second = counter.add_transfer(Some(2)).unwrap();
        assert!(counter.add_transfer(Some(2)).is_none());
        drop(first);
        assert!(counter.add_transfer(Some(2)).is_some());
        assert_eq!(counter.transfers(), 1);
    }

    #[test]
    fn names_that_are_too_long_share_a_counter() {
        let (long, longer) = (vec![b'a'; 300], vec![b'a'; 301]);
        assert_eq!(SharedBy::user(&long), SharedBy::user(&longer));
        assert_ne!(SharedBy::user(&long), SharedBy::user(b"a"));
    }
}
