//! Whatever happens in whatever order.

use std::time::Duration;

use proptest::prelude::*;

use super::super::tally::Tally;
use super::*;

#[derive(Debug, Clone)]
enum Event {
    /// The clock goes on by minutes, or is set back.
    Clock(i64),
    Arrived(u8),
    Renamed(u8, u8),
    Reload(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..600_i64).prop_map(Event::Clock),
        1 => (-90..0_i64).prop_map(Event::Clock),
        4 => (0..12_u8).prop_map(Event::Arrived),
        2 => (0..12_u8, 0..12_u8).prop_map(|(from, to)| Event::Renamed(from, to)),
        1 => (1..5_usize).prop_map(Event::Reload),
    ]
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let zones =
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"];
    let days = proptest::sample::subsequence(every_day(), 1..=7);
    // As the configuration requires, an hour is left from one window's due time to the next one's start.
    (0..1440_u16, 1..=1380_u16, days, proptest::sample::select(zones.to_vec())).prop_map(
        |(from, length, days, zone)| {
            let by = (from + length) % 1440;
            let by = if by == 0 { 1440 } else { by };
            Schedule { from, by, days, zone: TimeZone::get(zone).unwrap() }
        },
    )
}

/// The first eight match, the others do not.
fn path(number: u8) -> Vec<u8> {
    let folder = if number < 8 { "in" } else { "elsewhere" };
    format!("/{folder}/{number}").into_bytes()
}

proptest! {
    #[test]
    fn counts_never_fall_in_a_window_and_states_follow_from_them(
        schedule in any_schedule(),
        start in 0..(400 * 24 * 60_i64),
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut now = at("2026-01-01T00:00:00Z") + Duration::from_secs(start as u64 * 60);
        let mut at_least = 2;
        let entry = |at_least| expectation("/in/*", at_least, schedule.clone());
        let files = Arc::<ExpectedFiles>::default();
        files.put_in_force(vec![entry(at_least)], now);
        let acme = session(&files, "acme");
        let mut before: Option<ExpectedView> = None;
        for event in events {
            match event {
                Event::Clock(minutes) => now += jiff::SignedDuration::from_mins(minutes),
                Event::Arrived(number) => acme.arrived_at(&path(number), now),
                Event::Renamed(from, to) => acme.renamed_at(&path(from), &path(to), now),
                Event::Reload(count) => {
                    at_least = count;
                    files.put_in_force(vec![entry(count)], now);
                }
            }
            let view = files.views(now).remove(0);
            let is_due = now >= view.due;
            match view.state {
                State::Waiting => prop_assert!(view.arrived < at_least && !is_due),
                State::Overdue => prop_assert!(view.arrived < at_least && is_due),
                State::Complete | State::Late => prop_assert!(view.arrived >= at_least),
            }
            prop_assert!(view.start <= view.due && view.arrived <= 8);
            if let Some(before) = before {
                prop_assert!(before.start <= view.start, "an earlier window");
                prop_assert!(before.start < view.start || before.arrived <= view.arrived);
            }
            before = Some(view);
        }
    }

    #[test]
    fn windows_follow_each_other_without_overlap(
        schedule in any_schedule(),
        start in 0..(400 * 24 * 60_i64),
    ) {
        let now = at("2026-01-01T00:00:00Z") + Duration::from_secs(start as u64 * 60);
        let current = schedule.current(now);
        prop_assert!(current.start <= now && current.start <= current.due);
        let next = schedule.next(now);
        prop_assert!(next.start > now && next.start >= current.due && next.due > current.due);
        prop_assert_eq!(schedule.current(next.start), next);
        prop_assert_eq!(schedule.current(next.start - Duration::from_secs(1)), current);
        let begun = Tally::begin(&schedule, now);
        prop_assert_eq!(begun.window, if now < current.due { current } else { next });
    }
}
