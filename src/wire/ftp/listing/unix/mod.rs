//! `ls -l` as FTP servers write it; no RFC says how (RFC 959 section 4.1.3 leaves it to the server).

mod date;
mod mode;

use self::date::Date;
use self::mode::Mode;
use super::columns::{Column, columns, is_number, number};
use super::symlink;
use crate::op::{Attributes, Entry, EntryKind};

/// Mode, links, owner, a group of several words, a device's two numbers, the longest date.
const MAX_COLUMNS: usize = 14;

/// How many columns may stand between the mode and the size, the likeliest (links, owner, group)
/// first: so a group called `Nov` is not taken for a month.
const BEFORE_SIZE: [usize; 8] = [3, 0, 1, 2, 4, 5, 6, 7];

/// Reads a line; the name is not yet judged. `None` where it is not of this shape.
pub(super) fn parse(line: &[u8], now: i64) -> Option<Entry> {
    let columns = columns(line, MAX_COLUMNS);
    if let Some(name) = unknown_attributes(line, &columns) {
        return Some(Entry::new(name, EntryKind::Other));
    }
    let mode = Mode::parse(&columns)?;
    let columns = &columns[mode.columns..];
    let (at, date) = BEFORE_SIZE.iter().find_map(|at| {
        let (size, after) = columns.get(*at..)?.split_first()?;
        is_size(size.text, mode.device).then_some(())?;
        Some((*at, Date::parse(after, now)?))
    })?;

    let end = columns[at + date.columns].end;
    // One blank only: what follows belongs to the name.
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

/// Whether a line begins as one of this shape does.
pub(super) fn has_mode(line: &[u8]) -> bool {
    Mode::parse(&columns(line, 2)).is_some()
}

/// The name in `-????????? ? ? ? ? ? name`: what `ls` writes where it may not look at a thing.
fn unknown_attributes<'a>(line: &'a [u8], columns: &[Column<'_>]) -> Option<&'a [u8]> {
    let (mode, rest) = columns.split_first().filter(|(mode, _)| mode.start == 0)?;
    let (letter, bits) = mode.text.split_first()?;
    // A mark behind the mode may be unknown as well.
    let unknown = (9..=10).contains(&bits.len()) && bits.iter().all(|bit| *bit == b'?');
    (unknown && b"?-dlbcps".contains(letter)).then_some(())?;
    // Links, owner, group, size and date; some leave the group out.
    let asked = rest.iter().take(5).take_while(|column| column.text == b"?").count();
    let last = rest.get(asked.checked_sub(1)?).filter(|_| asked >= 4)?;
    line.get(last.end + 1..)
}

/// A size, or a device's minor number, or both its numbers without a blank between.
fn is_size(text: &[u8], device: bool) -> bool {
    let mut parts = text.split(|b| *b == b',');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(size), None, _) => is_number(size),
        (Some(major), Some(minor), None) => device && is_number(major) && is_number(minor),
        _ => false,
    }
}

/// Links, owner and group, of which any may be missing; a group may be of several words.
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

/// `name -> target`. Where several arrows stand, the size tells: a link's is its target's length.
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
