//! DOS `dir` lines as IIS writes them; RFC 959 section 4.1.3 leaves the format to the server.

use super::columns::{Clock, clock, columns, is_number, number, small, year};
use super::symlink;
use crate::op::{Attributes, Entry, EntryKind, Precision, Timestamp};
use crate::wire::ftp::time::Civil;

/// `<DIR>` and its like are padded to this many bytes before the name.
const TAG_WIDTH: usize = 15;

/// Parses a line, without checking the name. `None` for another format.
pub(super) fn parse(line: &[u8]) -> Option<Entry> {
    let columns = columns(line, 4);
    let [date, time, rest @ ..] = columns.as_slice() else { return None };
    let date = day(date.text)?;
    let (time, am_pm) = split_am_pm(time.text);
    let (am_pm, rest) = match rest {
        [first, rest @ ..] if am_pm.is_none() && is_am_pm(first.text) => (Some(first.text), rest),
        rest => (am_pm, rest),
    };
    let Clock { hour, minute, second } = clock(time)?;
    let hour = match am_pm.map(|am_pm| am_pm[0].to_ascii_lowercase()) {
        Some(b'a') if hour == 12 => 0,
        Some(b'p') if hour < 12 => hour + 12,
        _ => hour,
    };
    let moment = Civil { hour, minute, second: second.unwrap_or(0), ..date };
    let precision = if second.is_some() { Precision::Second } else { Precision::Minute };
    let modified = moment.seconds().map(|seconds| Timestamp { seconds, precision });

    let what = rest.first()?;
    let after = &line[what.end..];
    let (kind, size, padding) = match what.text {
        b"<DIR>" => (EntryKind::Directory, None, TAG_WIDTH - 5),
        // These lead out of the folder like Unix symlinks: a recursive delete must not follow them.
        tag @ (b"<JUNCTION>" | b"<SYMLINKD>" | b"<SYMLINK>") => {
            (EntryKind::Symlink(None), None, TAG_WIDTH - tag.len())
        }
        digits => (EntryKind::File, size(digits)?, 1),
    };
    let blanks = after.iter().take(padding).take_while(|b| **b == b' ').count();
    let name = after.get(blanks..).filter(|_| blanks > 0)?;
    let (name, kind) = match kind {
        EntryKind::Symlink(_) => split_target(name),
        kind => (name, kind),
    };
    let attributes = Attributes { size, modified, ..Attributes::default() };
    Some(Entry { name: name.to_vec(), kind, attributes })
}

/// `MM-DD-YY`, `MM-DD-YYYY`, `DD.MM.YYYY`, `YYYY-MM-DD`, with `-`, `/` or `.`; day and month are swapped
/// where only that is a date.
fn day(text: &[u8]) -> Option<Civil> {
    let separator = *text.iter().find(|b| !b.is_ascii_digit())?;
    b"-/.".contains(&separator).then_some(())?;
    let mut parts = text.split(|b| *b == separator);
    let parts = [parts.next()?, parts.next()?, parts.next().filter(|_| parts.next().is_none())?];
    let (year, month, day) = match parts {
        [first, month, day] if first.len() == 4 => (year(first)?, small(month)?, small(day)?),
        [first, second, last] => {
            let year = year(last).or_else(|| two_digit_year(last))?;
            let (first, second) = (small(first)?, small(second)?);
            let day_first = (separator == b'.' && second <= 12) || first > 12;
            if day_first { (year, second, first) } else { (year, first, second) }
        }
    };
    Some(Civil { year, month, day, ..Civil::default() })
}

/// As Windows does: 1970 to 2069.
fn two_digit_year(text: &[u8]) -> Option<i32> {
    let year = small(text).filter(|_| text.len() == 2).map(i32::from)?;
    Some(if year < 70 { 2000 + year } else { 1900 + year })
}

/// `05:35PM` is `05:35` and `PM`.
fn split_am_pm(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.split_at_checked(text.len().saturating_sub(2)) {
        Some((clock, am_pm)) if is_am_pm(am_pm) => (clock, Some(am_pm)),
        _ => (text, None),
    }
}

fn is_am_pm(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"am") || text.eq_ignore_ascii_case(b"pm")
}

/// A size in bytes, with or without thousands separators; `Some(None)` for more than 64 bits.
fn size(text: &[u8]) -> Option<Option<u64>> {
    if is_number(text) {
        return Some(number(text));
    }
    let separator = *text.iter().find(|b| !b.is_ascii_digit())?;
    b",.'".contains(&separator).then_some(())?;
    let mut groups = text.split(|b| *b == separator);
    let first = groups.next().filter(|first| first.len() <= 3)?;
    let whole = is_number(first) && groups.all(|group| group.len() == 3 && is_number(group));
    let digits: Vec<u8> = text.iter().copied().filter(|b| *b != separator).collect();
    whole.then(|| number(&digits))
}

/// `name [target]`.
fn split_target(text: &[u8]) -> (&[u8], EntryKind) {
    let target = text.strip_suffix(b"]").and_then(|text| {
        let at = text.windows(2).position(|w| w == b" [")?;
        Some((&text[..at], symlink(&text[at + 2..])))
    });
    target.unwrap_or((text, EntryKind::Symlink(None)))
}
