//! Windows by days, zones and summer time; what counts in them.

use super::super::tally::FILES_MAX;
use super::*;

#[track_caller]
fn window(schedule: &Schedule, now: &str, start: &str, due: &str) {
    let found = schedule.current(at(now));
    assert_eq!((found.start, found.due), (at(start), at(due)), "{now}");
}

#[test]
fn a_window_is_the_day_up_to_the_next_expected_one() {
    // 2026-11-27 is a Friday.
    let plain = schedule("00:00", "06:00", &weekdays(), "UTC");
    window(&plain, "2026-11-27T00:00:00Z", "2026-11-27T00:00:00Z", "2026-11-27T06:00:00Z");
    window(&plain, "2026-11-26T23:59:59Z", "2026-11-26T00:00:00Z", "2026-11-26T06:00:00Z");
    // Friday's lasts over the weekend.
    window(&plain, "2026-11-29T23:59:59Z", "2026-11-27T00:00:00Z", "2026-11-27T06:00:00Z");
    window(&plain, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-11-30T06:00:00Z");
    // Over the ends of a month and a year.
    window(&plain, "2026-12-01T05:00:00Z", "2026-12-01T00:00:00Z", "2026-12-01T06:00:00Z");
    window(&plain, "2027-01-01T12:00:00Z", "2027-01-01T00:00:00Z", "2027-01-01T06:00:00Z");
    let leap = schedule("00:00", "06:00", &every_day(), "UTC");
    window(&leap, "2028-02-29T01:00:00Z", "2028-02-29T00:00:00Z", "2028-02-29T06:00:00Z");
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_files_are_due() {
    let night = schedule("22:00", "06:00", &weekdays(), "Europe/Berlin");
    // Monday's begins on Sunday evening; 22:00 in Berlin is 21:00 in UTC.
    window(&night, "2026-11-29T21:00:00Z", "2026-11-29T21:00:00Z", "2026-11-30T05:00:00Z");
    window(&night, "2026-11-29T20:59:59Z", "2026-11-26T21:00:00Z", "2026-11-27T05:00:00Z");
    window(&night, "2026-12-01T01:00:00Z", "2026-11-30T21:00:00Z", "2026-12-01T05:00:00Z");
    let day_end = schedule("12:00", "24:00", &every_day(), "UTC");
    window(&day_end, "2026-12-31T23:59:59Z", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z");
    window(&day_end, "2027-01-01T11:59:59Z", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z");
}

#[test]
fn times_that_the_clocks_skip_are_later_and_of_two_the_first_counts() {
    // Berlin: 2026-03-29 02:00 is 03:00 (01:00 UTC); 2026-10-25 03:00 is 02:00 (01:00 UTC).
    let berlin = schedule("00:00", "02:30", &every_day(), "Europe/Berlin");
    window(&berlin, "2026-03-28T12:00:00Z", "2026-03-27T23:00:00Z", "2026-03-28T01:30:00Z");
    window(&berlin, "2026-03-29T00:30:00Z", "2026-03-28T23:00:00Z", "2026-03-29T01:30:00Z");
    window(&berlin, "2026-03-30T00:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T00:30:00Z");
    window(&berlin, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z");
    window(&berlin, "2026-10-26T12:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T01:30:00Z");
    // New York: 2026-03-08 02:00 is 03:00 (07:00 UTC); 2026-11-01 02:00 is 01:00 (06:00 UTC).
    let york = schedule("00:00", "02:30", &every_day(), "America/New_York");
    window(&york, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-08T07:30:00Z");
    window(&york, "2026-03-09T12:00:00Z", "2026-03-09T04:00:00Z", "2026-03-09T06:30:00Z");
    let twice = schedule("00:00", "01:30", &every_day(), "America/New_York");
    window(&twice, "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-01T05:30:00Z");
    // A start that is skipped is earlier: the window is never empty.
    let start = schedule("02:30", "03:10", &every_day(), "Europe/Berlin");
    window(&start, "2026-03-29T12:00:00Z", "2026-03-29T00:30:00Z", "2026-03-29T01:10:00Z");
}

#[test]
fn files_are_waited_for_complete_overdue_and_late() {
    let orders = expectation("/in/*.csv", 2, schedule("00:00", "06:00", &every_day(), "UTC"));
    let (files, acme) = one(orders, "2026-12-01T01:00:00Z");
    assert_eq!(shown(&files, "2026-12-01T05:00:00Z"), (State::Waiting, 0));
    acme.arrived_at(b"/in/a.csv", at("2026-12-01T05:00:00Z"));
    acme.arrived_at(b"/in/a.csv", at("2026-12-01T05:01:00Z"));
    for other in ["/in/a.txt", "/out/a.csv", "/in/x/a.csv", "/in"] {
        acme.arrived_at(other.as_bytes(), at("2026-12-01T05:01:00Z"));
    }
    assert_eq!(shown(&files, "2026-12-01T05:59:59Z"), (State::Waiting, 1));
    assert_eq!(shown(&files, "2026-12-01T06:00:00Z"), (State::Overdue, 1));
    acme.arrived_at(b"/in/b.csv", at("2026-12-01T08:00:00Z"));
    assert_eq!(shown(&files, "2026-12-01T23:59:59Z"), (State::Late, 2));
    // The next day waits again, and knows the last file.
    assert_eq!(shown(&files, "2026-12-02T00:00:00Z"), (State::Waiting, 0));
    assert_eq!(view(&files, "2026-12-02T00:00:00Z").last.unwrap().path, b"/in/b.csv");
    acme.arrived_at(b"/in/a.csv", at("2026-12-02T05:00:00Z"));
    acme.arrived_at(b"/in/b.csv", at("2026-12-02T05:59:59Z"));
    assert_eq!(shown(&files, "2026-12-02T12:00:00Z"), (State::Complete, 2));
    // At the moment itself it is late.
    acme.arrived_at(b"/in/a.csv", at("2026-12-03T05:00:00Z"));
    acme.arrived_at(b"/in/b.csv", at("2026-12-03T06:00:00Z"));
    assert_eq!(shown(&files, "2026-12-03T06:00:00Z"), (State::Late, 2));
}

#[test]
fn the_last_file_stays_the_last_when_an_earlier_one_is_renamed() {
    let orders = expectation("/in/*", 2, schedule("00:00", "06:00", &every_day(), "UTC"));
    let (files, acme) = one(orders, "2026-12-01T01:00:00Z");
    acme.arrived_at(b"/in/a", at("2026-12-01T02:00:00Z"));
    acme.arrived_at(b"/in/b", at("2026-12-01T03:00:00Z"));
    let last = || {
        let last = view(&files, "2026-12-01T05:00:00Z").last.unwrap();
        (last.path, last.at)
    };
    acme.renamed_at(b"/in/a", b"/in/a.done", at("2026-12-01T04:00:00Z"));
    assert_eq!(last(), (b"/in/b".to_vec(), at("2026-12-01T03:00:00Z")));
    acme.renamed_at(b"/in/b", b"/in/b.done", at("2026-12-01T04:00:00Z"));
    assert_eq!(last(), (b"/in/b.done".to_vec(), at("2026-12-01T03:00:00Z")));
}

#[test]
fn a_file_that_is_renamed_into_place_arrives_then() {
    let orders = |path| expectation(path, 2, schedule("00:00", "06:00", &every_day(), "UTC"));
    let (files, acme) = one(orders("/in/*.csv"), "2026-12-01T01:00:00Z");
    let now = at("2026-12-01T02:00:00Z");
    acme.arrived_at(b"/in/a.csv.tmp", now);
    assert_eq!(shown(&files, "2026-12-01T02:00:00Z").1, 0);
    acme.renamed_at(b"/in/a.csv.tmp", b"/in/a.csv", now);
    assert_eq!(shown(&files, "2026-12-01T02:00:00Z").1, 1);
    // Somebody takes it away: it has arrived all the same.
    acme.renamed_at(b"/in/a.csv", b"/done/a.csv", now);
    assert_eq!(shown(&files, "2026-12-01T02:00:00Z").1, 1);

    // Where both names match, the file counts once; one that did not arrive in the window does not count.
    let (files, acme) = one(orders("/in/*"), "2026-12-01T01:00:00Z");
    acme.arrived_at(b"/in/a.tmp", now);
    acme.renamed_at(b"/in/a.tmp", b"/in/a", now);
    acme.renamed_at(b"/in/yesterday", b"/in/old", now);
    assert_eq!(shown(&files, "2026-12-01T02:00:00Z").1, 1);
    assert_eq!(view(&files, "2026-12-01T02:00:00Z").last.unwrap().path, b"/in/a");
    // One that replaces another does not take it back.
    acme.arrived_at(b"/in/b", now);
    acme.renamed_at(b"/in/b", b"/in/a", now);
    assert_eq!(shown(&files, "2026-12-01T02:00:00Z").1, 2);
}

#[test]
fn only_files_of_the_sessions_that_match_count_and_each_users_are_others() {
    let orders = expectation("/in/*", 3, schedule("00:00", "06:00", &every_day(), "UTC"));
    let matches =
        SessionConditions { listeners: Some(vec!["public".into()]), ..Default::default() };
    let (files, acme) = one(Expectation { matches, ..orders }, "2026-12-01T01:00:00Z");
    let now = at("2026-12-01T02:00:00Z");
    acme.arrived_at(b"/in/a", now);
    session(&files, "globex").arrived_at(b"/in/a", now);
    let inside = SessionFacts { listener: "inside".into(), ..facts("acme") };
    files.of_session(inside, Names::Exact).arrived_at(b"/in/b", now);
    assert_eq!(shown(&files, "2026-12-01T02:00:00Z").1, 2);
    // A server of Windows has one file of both names.
    let windows = files.of_session(facts("initech"), Names::Windows);
    windows.arrived_at(b"/IN/A.", now);
    windows.arrived_at(b"/in/a", now);
    assert_eq!(shown(&files, "2026-12-01T02:00:00Z").1, 3);
}

#[test]
fn files_are_told_apart_up_to_a_limit() {
    let orders = expectation("/in/**", FILES_MAX, schedule("00:00", "06:00", &every_day(), "UTC"));
    let (files, acme) = one(orders, "2026-12-01T01:00:00Z");
    for number in 0..FILES_MAX + 10 {
        acme.arrived_at(format!("/in/{number}").as_bytes(), at("2026-12-01T02:00:00Z"));
    }
    assert_eq!(shown(&files, "2026-12-01T07:00:00Z"), (State::Complete, FILES_MAX));
}

#[test]
fn without_entries_nothing_is_counted() {
    let files = Arc::<ExpectedFiles>::default();
    session(&files, "acme").arrived(b"/in/a");
    session(&files, "acme").renamed(b"/in/a", b"/in/b");
    assert!(files.views(Timestamp::now()).is_empty() && files.take_changed().is_none());
}
