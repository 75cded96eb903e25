//! The times of MDTM, MFMT and the `modify` fact: RFC 3659 section 2.3.

use ::time::{Date, Month, OffsetDateTime};

/// Parses `YYYYMMDDHHMMSS` into seconds since 1970-01-01 00:00:00 UTC; a fraction (`.sss`) is checked and
/// dropped. `None` for anything else and for impossible dates.
pub fn parse_time(text: &[u8]) -> Option<i64> {
    let (whole, fraction) = text.split_at_checked(14)?;
    match fraction {
        [] => {}
        [b'.', rest @ ..] if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => {}
        _ => return None,
    }
    let second = two_digits(&whole[12..])?;
    let minute = Civil {
        year: i32::from(two_digits(&whole[..2])?) * 100 + i32::from(two_digits(&whole[2..4])?),
        month: two_digits(&whole[4..6])?,
        day: two_digits(&whole[6..8])?,
        hour: two_digits(&whole[8..10])?,
        minute: two_digits(&whole[10..12])?,
        second: 0,
    };
    // 60 is a leap second, in Unix time the first second of the next minute.
    (second <= 60).then_some(())?;
    Some(minute.seconds()? + i64::from(second))
}

/// Formats seconds since 1970-01-01 00:00:00 UTC as `YYYYMMDDHHMMSS`; `None` outside the years 0 to 9999.
pub fn format_time(seconds: i64) -> Option<String> {
    let Civil { year, month, day, hour, minute, second } = Civil::of(seconds)?;
    Some(format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"))
}

/// A date and time, UTC.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Civil {
    pub year: i32,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

impl Civil {
    /// Seconds since the epoch; `None` for an impossible date or time.
    pub(super) fn seconds(self) -> Option<i64> {
        let month = Month::try_from(self.month).ok()?;
        let date = Date::from_calendar_date(self.year, month, self.day).ok()?;
        let moment = date.with_hms(self.hour, self.minute, self.second).ok()?;
        Some(moment.assume_utc().unix_timestamp())
    }

    /// `None` outside the years 0 to 9999, which FTP cannot express.
    pub(super) fn of(seconds: i64) -> Option<Self> {
        let moment = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        (0..=9999).contains(&moment.year()).then_some(Self {
            year: moment.year(),
            month: moment.month().into(),
            day: moment.day(),
            hour: moment.hour(),
            minute: moment.minute(),
            second: moment.second(),
        })
    }
}

fn two_digits(text: &[u8]) -> Option<u8> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some((a - b'0') * 10 + (b - b'0')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_times_are_parsed_and_others_refused() {
        for (text, expected) in [
            ("19700101000000", Some(0)),
            ("20261122173500", Some(1_795_368_900)),
            ("20261122173500.123", Some(1_795_368_900)),
            ("19691231235959", Some(-1)),
            ("20240229000000", Some(1_709_164_800)),
            ("20161231235960", Some(1_483_228_800)), // a leap second
            ("20230229000000", None),
            ("20261122173561", None),
            ("20261122240000", None),
            ("20261122173500.", None),
            ("20261122173500.1x", None),
            ("20261122173500 ", None),
            ("2026112217350", None),
            ("+0261122173500", None),
            ("191001122173500", None), // a server with the year-2000 error: 19 and 100
            ("", None),
        ] {
            assert_eq!(parse_time(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn years_without_four_digits_are_not_formatted() {
        assert_eq!(format_time(253_402_300_799).as_deref(), Some("99991231235959"));
        assert_eq!(format_time(253_402_300_800), None);
        assert_eq!(format_time(-62_167_219_200).as_deref(), Some("00000101000000"));
        assert_eq!(format_time(-62_167_219_201), None);
        assert_eq!(format_time(i64::MAX), None);
        assert_eq!(format_time(i64::MIN), None);
    }

    proptest::proptest! {
        #[test]
        fn a_formatted_time_is_parsed_back(seconds in -62_167_219_200i64..253_402_300_800) {
            let written = format_time(seconds).unwrap();
            assert_eq!(parse_time(written.as_bytes()), Some(seconds));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(text: Vec<u8>) {
            parse_time(&text);
        }
    }
}
