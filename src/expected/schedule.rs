//! When files are due, and the windows in which they may arrive.

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Days on which a window is looked for: a week, and one to each side for a window that begins the day before.
const DAYS: i32 = 9;

/// Times of day in a time zone, on some days. Each day's window begins at `from`, and ends when the next one
/// begins; files that arrive from `by` on are late.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// In minutes after midnight, below 1440. From `by` on it is that of the day before.
    pub from: u16,
    /// In minutes after midnight, up to 1440, the end of the day.
    pub by: u16,
    /// The days on which files are due; at least one.
    pub days: Vec<Weekday>,
    /// Of the times and days.
    pub zone: TimeZone,
}

/// From the first moment that counts to the moment when files are due, which is never before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: Timestamp,
    pub(super) due: Timestamp,
}

impl Schedule {
    /// The window that has begun last.
    pub(super) fn current(&self, now: Timestamp) -> Window {
        let begun = |window: &Window| window.start <= now;
        self.windows(now, (-DAYS..=2).rev()).find(begun).unwrap_or_else(|| unlikely(now))
    }

    /// The first window that begins after `now`.
    pub(super) fn next(&self, now: Timestamp) -> Window {
        let ahead = |window: &Window| window.start > now;
        self.windows(now, -1..=DAYS).find(ahead).unwrap_or_else(|| unlikely(now))
    }

    /// Of these days, counted from today.
    fn windows(
        &self,
        now: Timestamp,
        days: impl Iterator<Item = i32>,
    ) -> impl Iterator<Item = Window> {
        let today = now.to_zoned_datetime(self.zone.clone()).date();
        let days = days.filter_map(move |offset| today.checked_add(offset.days()).ok());
        days.filter(|day| self.days.contains(&day.weekday())).filter_map(|day| self.of(day))
    }

    fn of(&self, due_day: Date) -> Option<Window> {
        let from_day = if self.from < self.by { due_day } else { due_day.yesterday().ok()? };
        // A time that the clocks skip or have twice: as early as possible, and for the due time as jiff and
        // others understand it: later by what is skipped, and the first of two.
        let start = self.moment(from_day, self.from)?.earlier().ok()?;
        let due = self.moment(due_day, self.by)?.compatible().ok()?;
        Some(Window { start: start.min(due), due })
    }

    fn moment(&self, day: Date, minutes: u16) -> Option<jiff::tz::AmbiguousTimestamp> {
        let midnight = day.to_datetime(Time::midnight());
        let local = midnight.checked_add(i64::from(minutes).minutes()).ok()?;
        Some(self.zone.to_ambiguous_timestamp(local))
    }

    /// The zone's name.
    pub(super) fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }
}

/// At the ends of the calendar, or without a day.
fn unlikely(now: Timestamp) -> Window {
    Window { start: now, due: Timestamp::MAX }
}

/// To notice that it has changed.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut days: Vec<i8> = self.days.iter().map(|day| day.to_monday_one_offset()).collect();
        days.sort_unstable();
        days.dedup();
        write!(f, "{} to {} on {days:?}, {}", self.from, self.by, self.zone_name())
    }
}
