//! `ls -l` lines; RFC 959 section 4.1.3 leaves the format to the server.

mod date;
mod mode;

use self::date::Date;
use self::mode::Mode;
use super::columns::{Column, columns, is_number, number};
use super::symlink;
use crate::op::{Attributes, Entry, EntryKind};

/// Enough for mode, links, owner, a group of several words, a device's two numbers and the longest date.
const MAX_COLUMNS: usize = 14;

/// Possible numbers of columns between mode and size, the most likely (links, owner, group) first, so that
/// a group called `Nov` is not taken for a month.
const COLUMNS_BEFORE_SIZE: [usize; 8] = [3, 0, 1, 2, 4, 5, 6, 7];

/// Parses a line, without checking the name. `None` for another format.
pub(super) fn parse(line: &[u8], now: i64) -> Option<Entry> {
    let columns = columns(line, MAX_COLUMNS);
    if let Some(name) = name_without_attributes(line, &columns) {
        return Some(Entry::new(name, EntryKind::Other));
    }
    let mode = Mode::parse(&columns)?;
    let columns = &columns[mode.columns..];
    let (at, date) = COLUMNS_BEFORE_SIZE.iter().find_map(|at| {
        let (size, after) = columns.get(*at..)?.split_first()?;
        is_size(size.text, mode.device).then_some(())?;
        Some((*at, Date::parse(after, now)?))
    })?;

    let end = columns[at + date.columns].end;
    // Further blanks belong to the name.
    let name = line.get(end + 1..)?;
    let name = if mode.netware { name.trim_ascii_start() } else { name };

    let size = number(columns[at].text).filter(|_| !mode.device);
    let people = match columns[..at].split_last() {
        Some((major, people)) if mode.device && major.text.ends_with(b",") => people,
        _ => &columns[..at],
    };
    let attributes = Attributes {
        size,
        modified: date.moment,
        permissions: mode.permissions,
        ..ownership(line, people)
    };
    let (name, kind) = match mode.kind {
        EntryKind::Symlink(_) => split_link(name, size),
        kind => (name, kind),
    };
    Some(Entry { name: name.to_vec(), kind, attributes })
}

/// Whether a line starts with a mode.
pub(super) fn has_mode(line: &[u8]) -> bool {
    Mode::parse(&columns(line, 2)).is_some()
}

/// The name in `-????????? ? ? ? ? ? name`, which `ls` writes for an entry that it cannot stat.
fn name_without_attributes<'a>(line: &'a [u8], columns: &[Column<'_>]) -> Option<&'a [u8]> {
    let (mode, rest) = columns.split_first().filter(|(mode, _)| mode.start == 0)?;
    let (letter, bits) = mode.text.split_first()?;
    // The mark after the mode may be unknown as well.
    let is_unknown = (9..=10).contains(&bits.len()) && bits.iter().all(|bit| *bit == b'?');
    (is_unknown && b"?-dlbcps".contains(letter)).then_some(())?;
    // Links, owner, group, size and date; some omit the group.
    let unknown = rest.iter().take(5).take_while(|column| column.text == b"?").count();
    let last = rest.get(unknown.checked_sub(1)?).filter(|_| unknown >= 4)?;
    line.get(last.end + 1..)
}

/// A size, or a device's minor number, or both device numbers without a blank between them.
fn is_size(text: &[u8], device: bool) -> bool {
    let mut parts = text.split(|b| *b == b',');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(size), None, _) => is_number(size),
        (Some(major), Some(minor), None) => device && is_number(major) && is_number(minor),
        _ => false,
    }
}

/// Links, owner and group. Any may be missing; a group may have several words.
fn ownership(line: &[u8], columns: &[Column<'_>]) -> Attributes {
    let links = columns.first().and_then(|first| number(first.text));
    let people = if links.is_some() { &columns[1..] } else { columns };
    let group = match people {
        [_, first, .., last] => Some(&line[first.start..last.end]),
        [_, only] => Some(only.text),
        _ => None,
    };
    Attributes {
        links,
        owner: people.first().map(|owner| owner.text.to_vec()),
        group: group.map(<[u8]>::to_vec),
        ..Attributes::default()
    }
}

/// `name -> target`. With several arrows the size decides: a link's is the length of its target.
fn split_link(text: &[u8], size: Option<u64>) -> (&[u8], EntryKind) {
    const ARROW: &[u8] = b" -> ";
    let arrows = || text.windows(ARROW.len()).enumerate().filter(|(_, w)| *w == ARROW);
    let fits = |at: usize| size == Some((text.len() - at - ARROW.len()) as u64);
    let best = arrows().find(|(at, _)| fits(*at)).or_else(|| arrows().next());
    match best {
        Some((at, _)) => (&text[..at], symlink(&text[at + ARROW.len()..])),
        None => (text, EntryKind::Symlink(None)),
    }
}
