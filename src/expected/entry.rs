//! An entry of `expect` with what has arrived; and its lines in the log.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::carried::Arrival;
use super::expectation::Expectation;
use super::file_key::FileKey;
use super::saved::SavedTally;
use super::tally::{Overdue, State, Tally};
use super::view::ExpectedView;

/// An entry of the configuration in force.
pub(super) struct Entry {
    pub(super) expectation: Expectation,
    tally: Mutex<Tally>,
}

impl Entry {
    /// `before`: what was counted under this name by another configuration or before a restart. It goes on where
    /// the same files are counted.
    pub(super) fn new(
        expectation: Expectation,
        before: Option<SavedTally>,
        now: Timestamp,
    ) -> Self {
        let schedule = &expectation.schedule;
        let same = before.filter(|before| before.counts == expectation.counts);
        let tally = match same {
            None => Tally::begin(schedule, now),
            Some(SavedTally { schedule: text, mut tally, .. }) => {
                if text != schedule.to_string() {
                    tally.reschedule(schedule, now);
                }
                tally
            }
        };
        Self { expectation, tally: Mutex::new(tally) }
    }

    /// Reports what is overdue. Returns whether that, or a new window, has changed what is to be saved.
    pub(super) fn advance(&self, now: Timestamp) -> bool {
        let mut tally = self.lock();
        let window = tally.window;
        let overdue = self.advance_to(&mut tally, now);
        overdue || tally.window != window
    }

    /// Counts a file that has arrived or got another name; returns whether that has changed what is to be saved.
    pub(super) fn counted(&self, arrival: &Arrival<'_>) -> bool {
        let Arrival { key, from, path, at } = *arrival;
        match from {
            None => self.arrived(key, path, at),
            Some(from) => self.renamed(from, key, path, at),
        }
    }

    fn arrived(&self, key: FileKey, path: &[u8], now: Timestamp) -> bool {
        let mut tally = self.lock();
        self.advance_to(&mut tally, now);
        let (name, at_least) = (&self.expectation.name, self.expectation.at_least);
        let counted = tally.arrived(key, path, now);
        let arrived = tally.arrivals.len();
        if counted && arrived == at_least && tally.state(at_least, now) == State::Late {
            let due = self.local(tally.window.due);
            tracing::info!(name, due, arrived, "expected files have all arrived, late");
        }
        !tally.is_ahead
    }

    fn renamed(&self, from: FileKey, to: FileKey, path: &[u8], now: Timestamp) -> bool {
        let mut tally = self.lock();
        self.advance_to(&mut tally, now);
        tally.renamed(from, to, path);
        true
    }

    pub(super) fn saved(&self) -> SavedTally {
        let Expectation { name, counts, schedule, .. } = &self.expectation;
        SavedTally {
            name: name.clone(),
            counts: counts.clone(),
            schedule: schedule.to_string(),
            tally: self.lock().clone(),
        }
    }

    /// After [`Self::advance`].
    pub(super) fn view(&self, now: Timestamp) -> ExpectedView {
        let tally = self.lock();
        let Expectation { name, at_least, schedule, .. } = &self.expectation;
        ExpectedView {
            name: name.clone(),
            state: tally.state(*at_least, now),
            at_least: *at_least,
            arrived: tally.arrivals.len(),
            start: tally.window.start,
            due: tally.window.due,
            zone: schedule.zone.clone(),
            last: tally.last.clone(),
        }
    }

    /// Returns whether something was reported.
    fn advance_to(&self, tally: &mut Tally, now: Timestamp) -> bool {
        let Expectation { name, at_least, schedule, .. } = &self.expectation;
        let Some(Overdue { due, arrived }) = tally.advance(schedule, *at_least, now) else {
            return false;
        };
        let due = self.local(due);
        tracing::warn!(name, due, arrived, at_least, "expected files are overdue");
        true
    }

    fn local(&self, at: Timestamp) -> String {
        let zone: TimeZone = self.expectation.schedule.zone.clone();
        let local = at.to_zoned_datetime(zone).datetime();
        format!("{} {}", local.strftime("%Y-%m-%d %H:%M"), self.expectation.schedule.zone_name())
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
