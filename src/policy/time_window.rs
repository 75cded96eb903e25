//! Times of day and weekdays in a time zone.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Hours of some days in a time zone. Hours that end before they start go on after midnight and belong
/// to the day on which they start.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeWindow {
    /// The days; all seven if none are configured.
    pub days: Vec<Weekday>,
    /// The first moment and the end, which is not included; `None`: the whole day.
    pub hours: Option<(Time, Time)>,
    /// Of the days and hours.
    pub zone: TimeZone,
}

impl TimeWindow {
    /// Whether a moment lies in it.
    pub fn contains(&self, moment: Timestamp) -> bool {
        let local = moment.to_zoned_datetime(self.zone.clone()).datetime();
        let (today, time) = (local.date(), local.time());
        let on = |day: jiff::civil::Date| self.days.contains(&day.weekday());
        let Some((start, end)) = self.hours else { return on(today) };
        if start < end {
            return on(today) && start <= time && time < end;
        }
        let since_yesterday = || today.checked_sub(1.day()).is_ok_and(on);
        (on(today) && start <= time) || (time < end && since_yesterday())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    #[test]
    fn hours_follow_the_zone_its_summer_time_and_midnight() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let weekdays = Weekday::Monday.cycle_forward().take(5).collect::<Vec<_>>();
        let office = TimeWindow {
            days: weekdays.clone(),
            hours: Some((time(8, 0, 0, 0), time(18, 0, 0, 0))),
            zone: berlin.clone(),
        };
        let night =
            TimeWindow { hours: Some((time(22, 0, 0, 0), time(6, 0, 0, 0))), ..office.clone() };
        let weekend = TimeWindow {
            days: vec![Weekday::Saturday, Weekday::Sunday],
            hours: None,
            zone: berlin,
        };
        // 2026-11-30 is a Monday.
        for (moment, expected) in [
            ("2026-11-30T07:00:00Z", [true, false, false]),
            ("2026-11-30T06:59:59Z", [false, false, false]),
            ("2026-11-30T17:00:00Z", [false, false, false]),
            ("2026-07-06T06:00:00Z", [true, false, false]),
            ("2026-07-06T16:00:00Z", [false, false, false]),
            ("2026-11-30T21:00:00Z", [false, true, false]),
            // Monday 00:30 belongs to Sunday's night, Saturday 00:30 to Friday's.
            ("2026-11-29T23:30:00Z", [false, false, false]),
            ("2026-11-27T23:30:00Z", [false, true, true]),
            ("2026-11-28T05:00:00Z", [false, false, true]),
        ] {
            let at: Timestamp = moment.parse().unwrap();
            let found = [&office, &night, &weekend].map(|window| window.contains(at));
            assert_eq!(found, expected, "{moment}");
        }
    }
}
