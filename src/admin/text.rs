//! Values in tables and JSON: escaped, cut, with units.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::op::escape::{printable, shortened, truncated};

/// The longest text of a client in JSON, in characters: longer than most paths.
const TEXT_MAX: usize = 1000;

/// External text, printable and at most a thousand characters long.
pub(super) fn cut(bytes: &[u8]) -> String {
    shortened(&printable(&truncated(bytes)).to_string(), TEXT_MAX)
}

/// RFC 3339, in seconds.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// `3m 7s`; the two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `17 B`, `1.2 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // A tenth of the unit, rounded down.
    let (mut tenths, mut unit) = (u128::from(count) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A text of an answer. Escaped: the socket may belong to another program.
pub(super) fn text_of(value: &Value, key: &str) -> String {
    printable(value[key].as_str().unwrap_or("?").as_bytes()).to_string()
}

pub(super) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

/// `fullness` from 0 to 1, as 0 to 100: 0 only where it is empty, 100 only where nothing is left.
pub(super) fn percent(pool: &Value) -> u32 {
    match pool["fullness"].as_f64().unwrap_or(0.0) {
        all if all >= 1.0 => 100,
        part => ((part.max(0.0) * 100.0).ceil() as u32).min(99),
    }
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Lines of aligned columns, two spaces apart; the first row is the head.
pub(super) fn columns(rows: &[impl AsRef<[String]>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        let row = row.as_ref();
        widths.resize(widths.len().max(row.len()), 0);
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.as_ref().iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (3723, "1h 2m"), (90_000, "1day 1h")] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let rows = [["A", "B", "C"], ["größer", "", "x"], ["", "bb", ""]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "A       B   C\ngrößer      x\n        bb\n");
    }

    #[test]
    fn texts_of_clients_are_cut_and_printable() {
        assert_eq!(cut(b"a\x1b[2J\n<b>\xff"), "a\\u{1b}[2J\\n<b>\\xff");
        assert_eq!(cut(&[b'x'; 100_000]).chars().count(), TEXT_MAX + 1);
    }
}
