//! What was transferred today.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::op::Timestamp;

const SECONDS_PER_DAY: i64 = 86_400;

/// A day of UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(pub(super) i64);

impl Day {
    pub(super) fn today() -> Self {
        Self(Timestamp::now().div_euclid(SECONDS_PER_DAY))
    }
}

/// What was transferred on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) day: Day,
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// Counts a day's transfers; starts again with each day.
#[derive(Debug, Default)]
pub(super) struct DailyUse(Mutex<Used>);

impl DailyUse {
    pub(super) fn starting_with(used: Used) -> Self {
        Self(Mutex::new(used))
    }

    /// Counts `bytes`, unless there would be more than `max`. Returns whether they were counted.
    pub(super) fn add_bytes(&self, bytes: u64, max: u64, today: Day) -> bool {
        let mut used = self.on(today);
        let sum = used.bytes.saturating_add(bytes);
        if sum > max {
            return false;
        }
        used.bytes = sum;
        true
    }

    /// Takes back what [`DailyUse::add_bytes`] has counted.
    pub(super) fn return_bytes(&self, bytes: u64, today: Day) {
        let mut used = self.on(today);
        used.bytes = used.bytes.saturating_sub(bytes);
    }

    /// Counts a file, unless there are `max` already. Returns whether it was counted.
    pub(super) fn add_file(&self, max: u64, today: Day) -> bool {
        let mut used = self.on(today);
        if used.files >= max {
            return false;
        }
        used.files += 1;
        true
    }

    /// Takes back a file that was not transferred after all; nothing on another day than it was counted.
    pub(super) fn return_file(&self, counted: Day, today: Day) {
        if counted == today {
            let mut used = self.on(today);
            used.files = used.files.saturating_sub(1);
        }
    }

    /// What another process has counted, or taken back.
    pub(super) fn add_signed(&self, bytes: i64, files: i64, today: Day) {
        let mut used = self.on(today);
        used.bytes = used.bytes.saturating_add_signed(bytes);
        used.files = used.files.saturating_add_signed(files);
    }

    pub(super) fn used(&self, today: Day) -> Used {
        *self.on(today)
    }

    pub(super) fn is_unused(&self, today: Day) -> bool {
        let used = self.used(today);
        used.bytes == 0 && used.files == 0
    }

    fn on(&self, today: Day) -> MutexGuard<'_, Used> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is corrected shortly after midnight does not start the day again; one that was
        // wrong by more does.
        if today != used.day && today.0 + 1 != used.day.0 {
            *used = Used { day: today, ..Used::default() };
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_are_counted_up_to_their_maximum() {
        let (quota, day) = (DailyUse::default(), Day(20_000));
        assert!(quota.add_bytes(60, 100, day));
        assert!(!quota.add_bytes(41, 100, day), "nothing is counted");
        assert!(quota.add_bytes(40, 100, day));
        assert!(!quota.add_bytes(1, 100, day));
        assert!(!quota.add_bytes(u64::MAX, 100, day));
        quota.return_bytes(40, day);
        assert!(quota.add_file(1, day) && !quota.add_file(1, day));
        quota.return_file(day, day);
        assert!(quota.add_file(1, day));
        assert_eq!(quota.used(day), Used { day, bytes: 60, files: 1 });
    }

    #[test]
    fn each_day_starts_with_nothing_used() {
        let (quota, day) = (DailyUse::default(), Day(20_000));
        assert!(quota.add_bytes(100, 100, day) && quota.add_file(1, day));
        assert!(!quota.is_unused(day));
        assert!(!quota.add_bytes(1, 100, Day(19_999)), "the clock is set back over midnight");
        assert!(quota.used(day).bytes == 100);
        let next = Day(20_001);
        assert!(quota.is_unused(next));
        assert!(quota.add_file(1, next));
        quota.return_file(day, next);
        assert!(!quota.add_file(1, next), "yesterday's file does not come back today");
        assert!(quota.add_bytes(100, 100, next));
        assert!(quota.is_unused(Day(10_000)), "the clock was wrong by years");
    }
}
