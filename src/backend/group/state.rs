//! Whether a server may get sessions: what its failures and its checks say.

use std::time::{Duration, Instant, SystemTime};

/// Of the first ejection. Each further one within [`CALM`] doubles it.
const BACK_OFF_MIN: Duration = Duration::from_secs(5);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// A server that was up for this long is as good as one that never failed.
const CALM: Duration = Duration::from_secs(600);
/// Checks in a row that a server must pass before it gets sessions again.
const CHECKS_TO_RETURN: u32 = 2;
/// Failures in a row, where the server answered, until it is down: it may only have been busy.
const REFUSALS_TO_FAIL: u32 = 3;
/// Within this time after its return, a server's share of new sessions grows to that of the others.
const RETURN_TIME: Duration = Duration::from_secs(30);

/// How a login or a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// The server cannot be reached, is silent, or is not the right one.
    Broken,
    /// It answered that it cannot serve now, as with 421.
    Busy,
}

/// The state of one server.
#[derive(Debug)]
pub(super) struct State {
    condition: Condition,
    /// Since when it is in this condition.
    since: SystemTime,
    /// Of the last failure, with its time.
    last_error: Option<(SystemTime, String)>,
    /// In this life of the server, until it has been calm.
    ejections: u32,
    changed: Instant,
    refusals: u32,
    /// Whether the last check failed. False before the first one.
    check_failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// `returned`: it was down before.
    Up { returned: bool },
    /// Not before `until`; `passed`: checks since then.
    Down { until: Instant, passed: u32 },
}

impl State {
    /// Up, until it fails.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            condition: Condition::Up { returned: false },
            since: SystemTime::now(),
            last_error: None,
            ejections: 0,
            changed: now,
            refusals: 0,
            check_failed: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.condition, Condition::Up { .. })
    }

    pub(super) fn since(&self) -> SystemTime {
        self.since
    }

    pub(super) fn last_error(&self) -> Option<&(SystemTime, String)> {
        self.last_error.as_ref()
    }

    /// Whether its last check failed.
    pub(super) fn check_failed(&self) -> bool {
        self.check_failed
    }

    /// The result of a check, beside [`State::failed`] or [`State::succeeded`].
    pub(super) fn checked(&mut self, failed: bool) {
        self.check_failed = failed;
    }

    /// Returns whether the server is down now, and was not.
    pub(super) fn failed(&mut self, how: Failed, error: String, now: Instant) -> bool {
        self.last_error = Some((SystemTime::now(), error));
        match &mut self.condition {
            Condition::Down { passed, .. } => {
                *passed = 0;
                false
            }
            Condition::Up { .. } => {
                self.refusals += 1;
                if how == Failed::Busy && self.refusals < REFUSALS_TO_FAIL {
                    return false;
                }
                if now.duration_since(self.changed) >= CALM {
                    self.ejections = 0;
                }
                let back_off = BACK_OFF_MIN.saturating_mul(1 << self.ejections.min(10));
                self.ejections += 1;
                let until = now + back_off.min(BACK_OFF_MAX);
                self.set(Condition::Down { until, passed: 0 }, now);
                true
            }
        }
    }

    /// A login or a check succeeded. Returns whether the server is up now, and was not.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        self.refusals = 0;
        let Condition::Down { until, passed } = &mut self.condition else { return false };
        if now < *until {
            return false;
        }
        *passed += 1;
        if *passed < CHECKS_TO_RETURN {
            return false;
        }
        self.set(Condition::Up { returned: true }, now);
        true
    }

    /// A login or a check succeeded at a server without `health`, which is always tried. Returns as
    /// [`State::succeeded`].
    pub(super) fn recovered(&mut self, now: Instant) -> bool {
        self.refusals = 0;
        let was_down = !self.is_up();
        if was_down {
            self.set(Condition::Up { returned: false }, now);
        }
        was_down
    }

    /// Its share of new sessions, from 0 to 1: less than 1 soon after its return.
    pub(super) fn share(&self, now: Instant) -> f64 {
        match self.condition {
            Condition::Down { .. } => 0.0,
            Condition::Up { returned: false } => 1.0,
            Condition::Up { returned: true } => {
                let up = now.saturating_duration_since(self.changed);
                (up.as_secs_f64() / RETURN_TIME.as_secs_f64()).min(1.0)
            }
        }
    }

    fn set(&mut self, condition: Condition, now: Instant) {
        self.condition = condition;
        self.changed = now;
        self.since = SystemTime::now();
        self.refusals = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_broken_server_is_down_until_it_passes_checks_after_its_back_off() {
        let start = Instant::now();
        let mut state = State::new(start);
        assert!((state.share(start) - 1.0).abs() < f64::EPSILON);
        assert!(state.failed(Failed::Broken, "no route".into(), start));
        assert!(!state.is_up());
        // Before the end of the back-off, no check counts.
        assert!(!state.succeeded(start + seconds(1)));
        assert!(!state.succeeded(start + seconds(6)));
        // One that fails between starts the count again.
        assert!(!state.failed(Failed::Broken, "no route".into(), start + seconds(7)));
        assert!(!state.succeeded(start + seconds(8)));
        assert!(state.succeeded(start + seconds(9)));
        assert!(state.is_up());
        assert!(state.share(start + seconds(9)) < 0.01);
        assert!((state.share(start + seconds(24)) - 0.5).abs() < 0.01);
        assert!((state.share(start + seconds(60)) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_busy_server_is_down_after_three_refusals_in_a_row() {
        let now = Instant::now();
        let mut state = State::new(now);
        for _ in 0..10 {
            assert!(!state.failed(Failed::Busy, "421".into(), now));
            assert!(!state.failed(Failed::Busy, "421".into(), now));
            assert!(!state.succeeded(now));
            assert!(state.is_up());
        }
        assert!(!state.failed(Failed::Busy, "421".into(), now));
        assert!(!state.failed(Failed::Busy, "421".into(), now));
        assert!(state.failed(Failed::Busy, "421".into(), now));
    }

    #[test]
    fn each_ejection_doubles_the_back_off_until_the_server_was_calm() {
        let mut now = Instant::now();
        let mut state = State::new(now);
        let mut eject = |now: &mut Instant| {
            assert!(state.failed(Failed::Broken, String::new(), *now));
            let down = *now;
            loop {
                *now += seconds(1);
                if state.succeeded(*now) {
                    return (*now - down).as_secs();
                }
            }
        };
        // The second of two checks, each a second after the other.
        let waits: Vec<_> = (0..8).map(|_| eject(&mut now)).collect();
        assert_eq!(waits, [6, 11, 21, 41, 81, 161, 301, 301]);
        now += CALM;
        assert_eq!(eject(&mut now), 6);
    }
}
