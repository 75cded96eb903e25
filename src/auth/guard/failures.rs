//! Failed logins within a time, by source or by user, of a bounded number of them.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// The last failures of each key, at most `count_max` of them.
pub(super) struct Failures<K> {
    find_time: Duration,
    count_max: u32,
    keys_max: usize,
    of_key: HashMap<K, VecDeque<Instant>>,
}

impl<K: Copy + Eq + Hash> Failures<K> {
    /// Failures count for `find_time`. Of more than `keys_max` keys, those whose last failure is the oldest
    /// are forgotten.
    pub(super) fn new(find_time: Duration, count_max: u32, keys_max: usize) -> Self {
        Self { find_time, count_max, keys_max, of_key: HashMap::new() }
    }

    /// Failures count for `find_time` from now on, at most `count_max` of a key.
    pub(super) fn count_within(&mut self, find_time: Duration, count_max: u32) {
        (self.find_time, self.count_max) = (find_time, count_max);
    }

    /// Counts one more; returns how many there are.
    pub(super) fn add(&mut self, key: K) -> u32 {
        if self.of_key.len() >= self.keys_max && !self.of_key.contains_key(&key) {
            self.make_room();
        }
        let times = self.of_key.entry(key).or_default();
        while times.len() >= self.count_max as usize {
            times.pop_front();
        }
        times.push_back(Instant::now());
        self.count(&key)
    }

    /// How many there are, at most `count_max`.
    pub(super) fn count(&mut self, key: &K) -> u32 {
        let Some(times) = self.of_key.get_mut(key) else { return 0 };
        while times.front().is_some_and(|time| time.elapsed() >= self.find_time) {
            times.pop_front();
        }
        let count = times.len() as u32;
        if count == 0 {
            self.of_key.remove(key);
        }
        count
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.of_key.remove(key);
    }

    /// The times of each key, the oldest first; some may no longer count.
    pub(super) fn all(&self) -> impl Iterator<Item = (&K, &VecDeque<Instant>)> {
        self.of_key.iter()
    }

    /// Sets the times of a key, the oldest first, unless there are too many keys.
    pub(super) fn set(&mut self, key: K, mut times: VecDeque<Instant>) {
        let surplus = times.len().saturating_sub(self.count_max as usize);
        times.drain(..surplus);
        let has_room = self.of_key.len() < self.keys_max || self.of_key.contains_key(&key);
        if !times.is_empty() && has_room {
            self.of_key.insert(key, times);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.of_key.len()
    }

    /// Forgets a sixteenth, so that this is rare.
    fn make_room(&mut self) {
        let mut last: Vec<_> = self.of_key.values().filter_map(|it| it.back().copied()).collect();
        let nth = last.len() / 16;
        let (_, oldest, _) = last.select_nth_unstable(nth);
        let oldest = *oldest;
        let find_time = self.find_time;
        self.of_key.retain(|_, times| {
            times.back().is_some_and(|last| *last > oldest && last.elapsed() < find_time)
        });
    }
}
