//! What is expected under a clock that the tests set.

mod properties;
mod restarts;
mod windows;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::files::{ExpectedFiles, SessionFiles};
use super::schedule::Schedule;
use super::{Expectation, ExpectedView, State};
use crate::policy::{Names, PathPattern, PathPatterns, Protocol, SessionConditions, SessionFacts};

pub(super) fn facts(user: &str) -> SessionFacts {
    SessionFacts {
        user: user.into(),
        groups: Vec::new(),
        listener: "public".into(),
        backend: "warehouse".into(),
        protocol: Protocol::Ftp,
        encrypted: true,
        source: "192.0.2.1".parse().unwrap(),
    }
}

/// `from` and `by` as in "06:00".
fn schedule(from: &str, by: &str, days: &[Weekday], zone: &str) -> Schedule {
    let minutes = |text: &str| {
        let (hour, minute) = text.split_once(':').unwrap();
        hour.parse::<u16>().unwrap() * 60 + minute.parse::<u16>().unwrap()
    };
    let zone = TimeZone::get(zone).unwrap();
    Schedule { from: minutes(from), by: minutes(by), days: days.to_vec(), zone }
}

fn every_day() -> Vec<Weekday> {
    Weekday::Monday.cycle_forward().take(7).collect()
}

fn weekdays() -> Vec<Weekday> {
    Weekday::Monday.cycle_forward().take(5).collect()
}

/// An entry named `orders`.
fn expectation(path: &str, at_least: usize, schedule: Schedule) -> Expectation {
    let paths = PathPatterns::new(vec![PathPattern::new(path).unwrap()]).unwrap();
    Expectation {
        name: "orders".into(),
        matches: SessionConditions::default(),
        paths,
        counts: path.to_owned(),
        at_least,
        schedule,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn session(files: &Arc<ExpectedFiles>, user: &str) -> SessionFiles {
    files.of_session(facts(user), Names::Exact)
}

/// An entry alone, with a session of `acme`.
fn one(expectation: Expectation, now: &str) -> (Arc<ExpectedFiles>, SessionFiles) {
    let files = Arc::<ExpectedFiles>::default();
    files.put_in_force(vec![expectation], at(now));
    let acme = session(&files, "acme");
    (files, acme)
}

fn view(files: &ExpectedFiles, now: &str) -> ExpectedView {
    let [view] = &files.views(at(now))[..] else { panic!("one entry") };
    view.clone()
}

/// The state and how many have arrived.
fn shown(files: &ExpectedFiles, now: &str) -> (State, usize) {
    let view = view(files, now);
    (view.state, view.arrived)
}
