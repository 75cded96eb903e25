//! What was transferred today, for other processes of the gateway: one that takes over goes on with it, and
//! while sessions of the one before go on, each tells the other what it has counted.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::counters::{Counters, Key};
use super::quota::Day;
use super::quota_file::{decode_shared_by, encode_shared_by};

/// What one process has counted that another does not know yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedUse {
    limit: String,
    per: String,
    of: String,
    /// Negative: it was taken back.
    bytes: i64,
    files: i64,
    /// UTC, counted from 1970-01-01.
    day: i64,
}

/// What another process knows of the counters of this one.
#[derive(Debug, Clone, Default)]
pub struct KnownUse {
    day: Day,
    of_key: HashMap<Key, (i64, i64)>,
}

/// What was counted at one moment.
#[derive(Debug)]
pub struct UseNow(KnownUse);

impl CarriedUse {
    /// `None` for a session, which stays in its process.
    fn of(key: &Key, (bytes, files): (i64, i64), day: Day) -> Option<Self> {
        let (per, of) = encode_shared_by(&key.shared_by)?;
        Some(Self {
            limit: key.limit.to_string(),
            per: per.to_owned(),
            of,
            bytes,
            files,
            day: day.0,
        })
    }

    fn key(&self) -> Option<Key> {
        let shared_by = decode_shared_by(&self.per, &self.of)?;
        Some(Key { limit: self.limit.as_str().into(), shared_by })
    }
}

impl UseNow {
    /// Of the counters.
    pub fn of(counters: &Counters) -> Self {
        let day = Day::today();
        let used = counters.used(day).into_iter();
        let of_key = used.map(|(key, used)| (key, (used.bytes as i64, used.files as i64)));
        Self(KnownUse { day, of_key: of_key.collect() })
    }

    /// For a process that knows nothing yet.
    pub fn export(&self) -> Vec<CarriedUse> {
        self.unknown_to(&KnownUse::default())
    }

    /// What another process does not know of this.
    pub fn unknown_to(&self, known: &KnownUse) -> Vec<CarriedUse> {
        let Self(KnownUse { day, of_key }) = self;
        let new = of_key.iter().filter_map(|(key, (bytes, files))| {
            let (known_bytes, known_files) = known.on(*day, key);
            let new = (bytes.saturating_sub(known_bytes), files.saturating_sub(known_files));
            CarriedUse::of(key, new, *day).filter(|_| new != (0, 0))
        });
        new.collect()
    }

    /// What a process knows that knows this, but for what [`Self::unknown_to`] has returned.
    pub fn known_but(&self, unknown: Vec<CarriedUse>) -> KnownUse {
        let mut known = self.0.clone();
        for one in unknown.into_iter().filter(|one| one.day == known.day.0) {
            let Some(of_key) = one.key().and_then(|key| known.of_key.get_mut(&key)) else {
                continue;
            };
            *of_key = (of_key.0.saturating_sub(one.bytes), of_key.1.saturating_sub(one.files));
        }
        known
    }

    /// What a process knows that knows all of this.
    pub fn into_known(self) -> KnownUse {
        self.0
    }
}

impl KnownUse {
    /// What the other process does not know, at most `max` of them; knows it from now on.
    pub fn updates(&mut self, counters: &Counters, max: usize) -> Vec<CarriedUse> {
        let today = Day::today();
        self.begin(today);
        let mut updates = Vec::new();
        for (key, used) in counters.used(today) {
            let now = (used.bytes as i64, used.files as i64);
            let known = self.on(today, &key);
            if now == known || updates.len() >= max {
                continue;
            }
            let new = (now.0.saturating_sub(known.0), now.1.saturating_sub(known.1));
            if let Some(one) = CarriedUse::of(&key, new, today) {
                updates.push(one);
                self.of_key.insert(key, now);
            }
        }
        updates
    }

    fn on(&self, day: Day, key: &Key) -> (i64, i64) {
        let known = self.of_key.get(key).filter(|_| self.day == day);
        known.copied().unwrap_or_default()
    }

    /// Counts what the other process has counted, which it need not be told again.
    pub fn learn(&mut self, updates: Vec<CarriedUse>, counters: &Counters) {
        let today = Day::today();
        self.begin(today);
        for one in updates.into_iter().filter(|one| one.day == today.0) {
            let Some(key) = one.key() else { continue };
            let CarriedUse { bytes, files, .. } = one;
            let known = self.of_key.entry(key.clone()).or_default();
            *known = (known.0.saturating_add(bytes), known.1.saturating_add(files));
            counters.add_used(key, bytes, files, today);
        }
    }

    fn begin(&mut self, today: Day) {
        if self.day != today {
            (self.day, self.of_key) = (today, HashMap::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::counters::SharedBy;
    use super::*;

    fn key(user: &str) -> Key {
        Key { limit: "daily".into(), shared_by: SharedBy::user(user.as_bytes()) }
    }

    fn used(counters: &Counters, user: &str) -> (u64, u64) {
        let used = counters.find(&key(user)).map(|(_, counter)| counter.today.used(Day::today()));
        used.map_or((0, 0), |used| (used.bytes, used.files))
    }

    #[test]
    fn three_processes_count_the_same_and_nothing_twice() {
        let [old, new, older] = [(); 3].map(|()| Arc::new(Counters::default()));
        let today = Day::today();
        // `new` talks to both others.
        let (mut of_old, mut of_new) = (KnownUse::default(), KnownUse::default());
        let (mut of_older, mut of_new_at_older) = (KnownUse::default(), KnownUse::default());
        let mut exchange = || {
            for _ in 0..2 {
                of_new.learn(of_old.updates(&old, 1000), &new);
                of_new_at_older.learn(of_older.updates(&older, 1000), &new);
                of_old.learn(of_new.updates(&new, 1000), &old);
                of_older.learn(of_new_at_older.updates(&new, 1000), &older);
            }
        };
        old.add_used(key("a"), 100, 1, today);
        older.add_used(key("a"), 10, 1, today);
        exchange();
        for counters in [&old, &new, &older] {
            assert_eq!(used(counters, "a"), (110, 2));
        }
        new.add_used(key("b"), 5, 0, today);
        older.add_used(key("a"), -10, -1, today);
        exchange();
        exchange();
        for counters in [&old, &new, &older] {
            assert_eq!((used(counters, "a"), used(counters, "b")), ((100, 1), (5, 0)));
        }
        // `newest` takes over from `new`, and goes on with what `old` knows; `new` knows all of it.
        new.add_used(key("a"), 3, 1, today);
        old.add_used(key("b"), 2, 1, today);
        of_new.learn(of_old.updates(&old, 1000), &new);
        let newest = Arc::new(Counters::default());
        let now = UseNow::of(&new);
        let unknown = now.unknown_to(&of_new);
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        new.add_used(key("a"), 1000, 1, today);
        let mut of_newest_at_new = KnownUse::default();
        of_newest_at_new.learn(now.export(), &newest);
        let mut of_newest_at_old = UseNow::of(&newest).known_but(unknown);
        of_old.learn(of_newest_at_old.updates(&newest, 1000), &old);
        for counters in [&old, &newest] {
            assert_eq!((used(counters, "a"), used(counters, "b")), ((103, 2), (7, 1)));
        }
        let mut of_new_by_newest = now.into_known();
        of_newest_at_new.learn(of_new_by_newest.updates(&new, 1000), &newest);
        assert_eq!(used(&newest, "a"), (1103, 3));
        assert!(of_newest_at_new.updates(&newest, 1000).is_empty());
    }
}
