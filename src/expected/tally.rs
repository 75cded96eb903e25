//! What has arrived in a window, and what that means at a time. The clock is an argument.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::file_key::FileKey;
use super::schedule::{Schedule, Window};

/// The most files of a window that are told apart; further ones are not counted.
pub const FILES_MAX: usize = 10_000;
/// A window begins at most a week after it is chosen. One that begins later was chosen with a wrong clock.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(8 * 24);

/// What the files of the present window are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not all have arrived, and they are not due yet.
    Waiting,
    /// They have arrived in time.
    Complete,
    /// They were due, and have not all arrived.
    Overdue,
    /// They have all arrived, and not all in time.
    Late,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Complete, Self::Overdue, Self::Late];

    /// As in `lockgate expected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Complete => "complete",
            Self::Overdue => "overdue",
            Self::Late => "late",
        }
    }
}

/// A file that has arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct LastFile {
    /// When.
    pub at: Timestamp,
    /// As the client sees it.
    pub path: Vec<u8>,
}

/// Files that were due and have not arrived, to be reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overdue {
    pub(super) due: Timestamp,
    pub(super) arrived: usize,
}

/// The files of the present window.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tally {
    pub(super) window: Window,
    /// When each file arrived first.
    pub(super) arrivals: HashMap<FileKey, Timestamp>,
    /// Of this window or an earlier one.
    pub(super) last: Option<LastFile>,
    /// The log has that they are overdue.
    pub(super) reported: bool,
    /// The window was chosen before its start; files do not count yet.
    pub(super) is_ahead: bool,
}

impl Tally {
    /// Begins to count. Where the present window's files are due already, it is not known what has arrived: then
    /// the next window is the first.
    pub(super) fn begin(schedule: &Schedule, now: Timestamp) -> Self {
        let current = schedule.current(now);
        let window = if now < current.due { current } else { schedule.next(now) };
        Self { is_ahead: window.start > now, ..Self::of(window) }
    }

    pub(super) fn of(window: Window) -> Self {
        Self { window, arrivals: HashMap::new(), last: None, reported: false, is_ahead: false }
    }

    /// Goes on under another schedule with what has arrived since its window began.
    pub(super) fn reschedule(&mut self, schedule: &Schedule, now: Timestamp) {
        if self.is_ahead {
            *self = Self { last: self.last.take(), ..Self::begin(schedule, now) };
            return;
        }
        self.window = schedule.current(now);
        self.arrivals.retain(|_, at| *at >= self.window.start);
        (self.reported, self.is_ahead) = (false, false);
    }

    /// Begins the next window at its time. Returns what is overdue, if that was not reported before. A clock that is
    /// set back begins no earlier window.
    pub(super) fn advance(
        &mut self,
        schedule: &Schedule,
        at_least: usize,
        now: Timestamp,
    ) -> Option<Overdue> {
        self.is_ahead &= now < self.window.start;
        let current = schedule.current(now);
        let is_from_wrong_clock = self.window.start.duration_since(now) > AHEAD_MAX;
        if is_from_wrong_clock {
            *self = Self { last: self.last.take(), ..Self::begin(schedule, now) };
            return None;
        }
        let overdue = self.overdue(at_least, now);
        if current.start > self.window.start {
            *self = Self { last: self.last.take(), ..Self::of(current) };
        }
        overdue
    }

    fn overdue(&mut self, at_least: usize, now: Timestamp) -> Option<Overdue> {
        if self.reported || self.state(at_least, now) != State::Overdue {
            return None;
        }
        self.reported = true;
        Some(Overdue { due: self.window.due, arrived: self.arrivals.len() })
    }

    /// Counts a file, once in a window. Returns whether it was counted.
    pub(super) fn arrived(&mut self, key: FileKey, path: &[u8], now: Timestamp) -> bool {
        if self.is_ahead {
            return false;
        }
        self.last = Some(LastFile { at: now, path: path.to_vec() });
        let is_new = !self.arrivals.contains_key(&key) && self.arrivals.len() < FILES_MAX;
        if is_new {
            self.arrivals.insert(key, now);
        }
        is_new
    }

    /// A file that may have been counted has another name: it is not counted again.
    pub(super) fn renamed(&mut self, from: FileKey, to: FileKey, path: &[u8]) {
        // Where both have been counted, one has replaced the other, and both have arrived.
        if !self.arrivals.contains_key(&to)
            && let Some(at) = self.arrivals.remove(&from)
        {
            self.arrivals.insert(to, at);
            // A file that arrived since then stays the last one.
            if self.last.as_ref().is_none_or(|last| at >= last.at) {
                self.last = Some(LastFile { at, path: path.to_vec() });
            }
        }
    }

    pub(super) fn state(&self, at_least: usize, now: Timestamp) -> State {
        if self.arrivals.len() < at_least {
            return if now < self.window.due { State::Waiting } else { State::Overdue };
        }
        let in_time = self.arrivals.values().filter(|at| **at < self.window.due).count();
        if in_time < at_least { State::Late } else { State::Complete }
    }
}
