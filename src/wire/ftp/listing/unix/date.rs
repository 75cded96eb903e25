//! Dates of `ls -l`; RFC 959 section 4.1.3 leaves the format to the server.

use super::super::columns::{Column, clock, small, year};
use crate::op::{Precision, Timestamp};
use crate::wire::ftp::time::Civil;

const MONTHS: [&[u8]; 12] = [
    b"january",
    b"february",
    b"march",
    b"april",
    b"may",
    b"june",
    b"july",
    b"august",
    b"september",
    b"october",
    b"november",
    b"december",
];

const DAY: i64 = 24 * 60 * 60;

/// A modification time.
pub(super) struct Date {
    /// The number of columns that it takes.
    pub columns: usize,
    /// `None` for an impossible date.
    pub moment: Option<Timestamp>,
}

impl Date {
    /// Parses the date at the first of these columns.
    pub(super) fn parse(columns: &[Column<'_>], now: i64) -> Option<Self> {
        Self::with_month(columns, now).or_else(|| Self::iso(columns))
    }

    /// `Nov 22 17:35`, `Nov 22  2026`, `22 Nov 2026`, `22. Nov 17:35`, `Nov 22 17:35:02 2026`.
    fn with_month(columns: &[Column<'_>], now: i64) -> Option<Self> {
        let [first, second, third, ..] = columns else { return None };
        let (month, day) = month(first.text)
            .zip(day(second.text))
            .or_else(|| month(second.text).zip(day(first.text)))?;
        let date = Civil { month, day, ..Civil::default() };
        if let Some(year) = year(third.text) {
            let moment = timestamp(Civil { year, ..date }, Precision::Day);
            return Some(Self { columns: 3, moment });
        }
        let clock = clock(third.text)?;
        let date = Civil { hour: clock.hour, minute: clock.minute, ..date };
        let Some(second) = clock.second else {
            let moment = timestamp(latest(date, now)?, Precision::Minute);
            return Some(Self { columns: 3, moment });
        };
        let year = year(columns.get(3)?.text)?;
        let moment = timestamp(Civil { year, second, ..date }, Precision::Second);
        Some(Self { columns: 4, moment })
    }

    /// `2026-11-22 17:35`, `2026-11-22 17:35:02.000000000 +0100`.
    fn iso(columns: &[Column<'_>]) -> Option<Self> {
        let [date, time, rest @ ..] = columns else { return None };
        let mut parts = date.text.split(|b| *b == b'-');
        let date = Civil {
            year: year(parts.next()?)?,
            month: small(parts.next()?)?,
            day: small(parts.next()?)?,
            ..Civil::default()
        };
        parts.next().is_none().then_some(())?;
        let clock = clock(time.text)?;
        let date = Civil { hour: clock.hour, minute: clock.minute, ..date };
        let Some(second) = clock.second else {
            return Some(Self { columns: 2, moment: timestamp(date, Precision::Minute) });
        };
        let moment = timestamp(Civil { second, ..date }, Precision::Second);
        // A zone is followed by a name; otherwise the column is the name.
        let zone = rest.first().filter(|_| rest.len() > 1).and_then(|zone| offset(zone.text));
        let moment = moment.map(|m| Timestamp { seconds: m.seconds - zone.unwrap_or(0), ..m });
        Some(Self { columns: 2 + usize::from(zone.is_some()), moment })
    }
}

fn timestamp(date: Civil, precision: Precision) -> Option<Timestamp> {
    Some(Timestamp { seconds: date.seconds()?, precision })
}

/// The date in the latest year in which it is at most a day in the future. Goes back eight years, the
/// longest time between two leap days.
fn latest(date: Civil, now: i64) -> Option<Civil> {
    let this_year = Civil::of(now)?.year;
    let not_ahead = |c: &Civil| c.seconds().is_some_and(|s| s <= now.saturating_add(DAY));
    let years = (this_year - 8..=this_year + 1).rev();
    let found = years.map(|year| Civil { year, ..date }).find(not_ahead);
    // Impossible in every year: the caller's timestamp fails.
    Some(found.unwrap_or(date))
}

fn month(text: &[u8]) -> Option<u8> {
    let text = text.strip_suffix(b".").or(text.strip_suffix(b",")).unwrap_or(text);
    let text = (3..=9).contains(&text.len()).then(|| text.to_ascii_lowercase())?;
    (1..).zip(MONTHS).find(|(_, name)| name.starts_with(&text)).map(|(month, _)| month)
}

fn day(text: &[u8]) -> Option<u8> {
    let text = text.strip_suffix(b".").or(text.strip_suffix(b",")).unwrap_or(text);
    small(text).filter(|day| (1..=31).contains(day))
}

/// Seconds east of Greenwich of `+0100`.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, digits) = text.split_first().filter(|(_, digits)| digits.len() == 4)?;
    let minutes = i64::from(small(&digits[..2])?) * 60 + i64::from(small(&digits[2..])?);
    match sign {
        b'+' => Some(minutes * 60),
        b'-' => Some(minutes * -60),
        _ => None,
    }
}
