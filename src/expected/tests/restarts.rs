//! Reloads, restarts, and clocks that jump.

use std::fs;
use std::path::Path;

use super::*;
use crate::files::StateFile;

fn orders(path: &str, at_least: usize, by: &str) -> Expectation {
    expectation(path, at_least, schedule("00:00", by, &every_day(), "UTC"))
}

#[test]
fn an_entry_that_is_new_after_the_due_time_waits_for_the_next_window() {
    let (files, acme) = one(orders("/in/*", 1, "06:00"), "2026-12-01T07:00:00Z");
    assert_eq!(view(&files, "2026-12-01T07:00:00Z").due, at("2026-12-02T06:00:00Z"));
    assert_eq!(shown(&files, "2026-12-01T07:00:00Z"), (State::Waiting, 0));
    // Due at another time of the same day: that it waits does not change.
    files.put_in_force(vec![orders("/in/*", 1, "06:30")], at("2026-12-01T07:00:00Z"));
    assert_eq!(shown(&files, "2026-12-01T07:00:00Z"), (State::Waiting, 0));
    files.put_in_force(vec![orders("/in/*", 1, "06:00")], at("2026-12-01T07:00:00Z"));
    // It counts for a day that is not looked at any more.
    acme.arrived_at(b"/in/a", at("2026-12-01T08:00:00Z"));
    assert_eq!(shown(&files, "2026-12-02T00:00:00Z"), (State::Waiting, 0));
    assert_eq!(shown(&files, "2026-12-02T06:00:00Z"), (State::Overdue, 0));
    acme.arrived_at(b"/in/a", at("2026-12-02T08:00:00Z"));
    assert_eq!(shown(&files, "2026-12-02T08:00:00Z"), (State::Late, 1));
}

#[test]
fn a_reload_goes_on_with_what_has_arrived_where_the_same_files_count() {
    let (files, acme) = one(orders("/in/*", 2, "06:00"), "2026-12-01T01:00:00Z");
    acme.arrived_at(b"/in/a", at("2026-12-01T02:00:00Z"));
    // A session from before the reload counts for the entry of now.
    files.put_in_force(vec![orders("/in/*", 3, "06:00")], at("2026-12-01T03:00:00Z"));
    acme.arrived_at(b"/in/b", at("2026-12-01T03:00:00Z"));
    assert_eq!(shown(&files, "2026-12-01T03:00:00Z"), (State::Waiting, 2));
    // Due later, or only on other days: what has arrived in the new window is kept.
    files.put_in_force(vec![orders("/in/*", 2, "07:00")], at("2026-12-01T06:30:00Z"));
    assert_eq!(shown(&files, "2026-12-01T06:30:00Z"), (State::Complete, 2));
    let later = schedule("02:30", "07:00", &every_day(), "UTC");
    files.put_in_force(vec![expectation("/in/*", 2, later)], at("2026-12-01T06:30:00Z"));
    assert_eq!(shown(&files, "2026-12-01T06:30:00Z"), (State::Waiting, 1));
    // Other files: it begins anew.
    files.put_in_force(vec![orders("/other/*", 1, "07:00")], at("2026-12-01T06:30:00Z"));
    assert_eq!(shown(&files, "2026-12-01T06:59:59Z"), (State::Waiting, 0));
    files.put_in_force(Vec::new(), at("2026-12-01T06:30:00Z"));
    assert!(files.views(at("2026-12-01T07:00:00Z")).is_empty());
}

#[test]
fn a_clock_that_is_set_back_begins_no_earlier_window() {
    let (files, acme) = one(orders("/in/*", 1, "06:00"), "2026-12-01T01:00:00Z");
    assert_eq!(shown(&files, "2026-12-02T00:00:01Z"), (State::Waiting, 0));
    acme.arrived_at(b"/in/a", at("2026-12-01T23:59:59Z"));
    assert_eq!(shown(&files, "2026-12-01T23:59:59Z"), (State::Complete, 1));
    assert_eq!(shown(&files, "2026-12-02T07:00:00Z"), (State::Complete, 1));
    // It was wrong by months: what was counted then is worth nothing.
    assert_eq!(shown(&files, "2027-06-01T07:00:00Z"), (State::Overdue, 0));
    assert_eq!(shown(&files, "2026-12-03T01:00:00Z"), (State::Waiting, 0));
    acme.arrived_at(b"/in/a", at("2026-12-03T02:00:00Z"));
    assert_eq!(shown(&files, "2026-12-03T07:00:00Z"), (State::Complete, 1));
    // Forward over some windows.
    assert_eq!(shown(&files, "2026-12-09T05:00:00Z"), (State::Waiting, 0));
}

#[test]
fn each_window_is_told_once_also_if_it_was_over_meanwhile() {
    let schedule = schedule("00:00", "06:00", &every_day(), "UTC");
    let mut tally = super::super::tally::Tally::begin(&schedule, at("2026-12-01T01:00:00Z"));
    let mut told = |now: &str| tally.advance(&schedule, 1, at(now)).map(|overdue| overdue.due);
    assert_eq!(told("2026-12-01T05:59:59Z"), None);
    assert_eq!(told("2026-12-01T06:00:00Z"), Some(at("2026-12-01T06:00:00Z")));
    assert_eq!(told("2026-12-01T05:59:59Z"), None);
    assert_eq!(told("2026-12-01T06:00:00Z"), None);
    // Asleep from the second to the third.
    assert_eq!(told("2026-12-02T01:00:00Z"), None);
    assert_eq!(told("2026-12-03T07:00:00Z"), Some(at("2026-12-02T06:00:00Z")));
    assert_eq!(told("2026-12-03T07:00:00Z"), Some(at("2026-12-03T06:00:00Z")));
    assert_eq!(told("2026-12-03T07:00:00Z"), None);
}

/// A process with the state in `folder`.
fn process(
    folder: &Path,
    orders: Expectation,
    now: Timestamp,
) -> (Arc<ExpectedFiles>, Arc<StateFile<ExpectedFiles>>) {
    let files = Arc::<ExpectedFiles>::default();
    let state = Arc::new(StateFile::open(folder, files.clone()));
    files.put_in_force(vec![orders], now);
    (files, state)
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_has_arrived_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let orders = || orders("/in/*", 2, "06:00");
    let (files, state) = process(folder.path(), orders(), at("2026-12-01T01:00:00Z"));
    session(&files, "acme").arrived_at(b"/in/a", at("2026-12-01T02:00:00Z"));
    session(&files, "acme").arrived_at(b"/in/\xff", at("2026-12-01T02:00:01Z"));
    let before = view(&files, "2026-12-01T03:00:00Z");
    state.clone().save().await;
    assert_eq!(names(folder.path()), ["expected.json"]);
    // Nothing has changed: nothing is written.
    fs::remove_file(folder.path().join("expected.json")).unwrap();
    state.clone().save().await;
    assert!(names(folder.path()).is_empty());
    session(&files, "acme").arrived_at(b"/in/\xff", at("2026-12-01T02:00:01Z"));
    state.save().await;

    // Also after the due time: nothing is overdue.
    let (files, state) = process(folder.path(), orders(), at("2026-12-01T07:00:00Z"));
    let after = view(&files, "2026-12-01T07:00:00Z");
    assert_eq!((after.state, after.arrived), (State::Complete, 2));
    assert_eq!((after.start, after.due, after.last), (before.start, before.due, before.last));
    // A file of before counts once.
    session(&files, "acme").arrived_at(b"/in/a", at("2026-12-01T07:00:00Z"));
    assert_eq!(shown(&files, "2026-12-01T07:00:00Z"), (State::Complete, 2));
    state.save().await;

    // Down for a whole window: the files could not come, and are missing.
    let (files, _) = process(folder.path(), orders(), at("2026-12-03T07:00:00Z"));
    assert_eq!(shown(&files, "2026-12-03T07:00:00Z"), (State::Overdue, 0));
    // Another entry of this name.
    let other = expectation("/x", 1, schedule("00:00", "06:00", &every_day(), "UTC"));
    let (files, _) = process(folder.path(), other, at("2026-12-01T07:00:00Z"));
    assert_eq!(view(&files, "2026-12-01T07:00:00Z").due, at("2026-12-02T06:00:00Z"));
}

#[tokio::test]
async fn a_gateway_that_expects_nothing_writes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let orders = orders("/in/*", 1, "06:00");
    let now = at("2026-12-01T01:00:00Z");
    let (files, state) = process(folder.path(), orders.clone(), now);
    files.put_in_force(Vec::new(), now);
    state.clone().save().await;
    assert!(names(folder.path()).is_empty());
    // What was saved before is not kept for entries that are no more.
    files.put_in_force(vec![orders], now);
    session(&files, "acme").arrived_at(b"/in/a", now);
    state.clone().save().await;
    files.put_in_force(Vec::new(), now);
    state.save().await;
    let content = fs::read_to_string(folder.path().join("expected.json")).unwrap();
    assert_eq!(content, "{\"version\":1,\"expected\":[]}\n");
}

#[tokio::test]
async fn a_broken_file_is_kept_and_does_not_stop_the_start() {
    let entry = r#"{"name":"orders","counts":"/in/*","schedule":"","window_start":1,"due":2,"told":false,"arrived":[["00",1]],"last":null}"#;
    let with_entry = format!("{{\"version\":1,\"expected\":[{entry}]}}");
    let incomplete = with_entry.replace(",\"told\":false", "");
    for broken in ["", "{", "[]", r#"{"version":2,"expected":[]}"#, &with_entry, &incomplete] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("expected.json"), broken).unwrap();
        let now = at("2026-12-01T01:00:00Z");
        let (files, state) = process(folder.path(), orders("/in/*", 1, "06:00"), now);
        assert_eq!(names(folder.path()), ["expected.json.broken"], "{broken:?}");
        assert_eq!(shown(&files, "2026-12-01T01:00:00Z"), (State::Waiting, 0));
        state.save().await;
        assert_eq!(names(folder.path()), ["expected.json", "expected.json.broken"]);
    }
    // A folder that does not exist: it is tried again.
    let now = at("2026-12-01T01:00:00Z");
    let nowhere = Path::new("/nonexistent/lockgate");
    let (files, state) = process(nowhere, orders("/in/*", 1, "06:00"), now);
    state.save().await;
    assert!(files.take_changed().is_some());
}
