//! The lines of LIST, MLSD and MLST: RFC 3659 section 7, and the formats `ls -l` and DOS, which RFC 959
//! section 4.1.3 leaves to the server.
//!
//! An [`Entry`] from [`parse_line`] has a file name, never a path. A rendered entry is a single line,
//! whatever bytes it holds.

mod columns;
mod dos;
mod fact_set;
mod facts;
mod render;
mod unix;

#[cfg(test)]
mod tests;

use crate::op::{Entry, EntryKind};

pub use fact_set::{Fact, FactSet};
pub use render::{render_facts, render_ls};

/// A parsed line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A name in the folder.
    Entry(Entry),
    /// No name in the folder: a total, an empty line, `.`, `..`, cdir, pdir.
    Ignored,
    /// The header of a folder's listing (`/pub/x:`).
    Header,
    /// An unknown format.
    Unreadable,
    /// Too short for any format, such as the rest of a name with a line end in it.
    Fragment,
    /// An impossible file name (empty, or with `/`, NUL or LF).
    NoName,
}

/// Parses a line of LIST or MLSD, without its line end, in any known format.
///
/// `now` (seconds since the epoch) determines the year of a date without one: the latest year in which
/// it is at most a day in the future. Takes linear time.
pub fn parse_line(line: &[u8], now: i64) -> Parsed {
    if columns::is_total_line(line) {
        return Parsed::Ignored;
    }
    if facts::is_facts_line(line) {
        return match facts::parse(line) {
            Some(line) if line.listed_itself => Parsed::Ignored,
            Some(line) => check_name(line.entry),
            None => Parsed::Unreadable,
        };
    }
    match unix::parse(line, now).or_else(|| dos::parse(line)) {
        Some(entry) => check_name(entry),
        None if is_header(line) => Parsed::Header,
        None if is_fragment(line) => Parsed::Fragment,
        None => Parsed::Unreadable,
    }
}

/// Whether an entry's line has the format of a Windows server's listing.
pub fn is_dos_line(line: &[u8]) -> bool {
    !facts::is_facts_line(line) && !unix::has_mode(line) && dos::parse(line).is_some()
}

fn is_header(line: &[u8]) -> bool {
    let above = line.strip_suffix(b":");
    above.is_some_and(|path| path == b"." || path.starts_with(b"/") || path.starts_with(b"./"))
}

/// DOS has the fewest columns: date, time, size and name. Lines after one that ends with a colon may be
/// of another folder (`ls -R`), so that one is not a fragment.
fn is_fragment(line: &[u8]) -> bool {
    columns::columns(line, 4).len() < 4 && !line.ends_with(b":") && !unix::has_mode(line)
}

/// Parses the line of an MLST reply, with or without its leading space (RFC 3659 section 7.2).
///
/// The name is the raw text after the facts, often a path. `None` for other formats, for a line without
/// the kind of the entry, and for an empty name or one with NUL or LF.
pub fn parse_facts_line(line: &[u8]) -> Option<Entry> {
    let entry = facts::parse(line.strip_prefix(b" ").unwrap_or(line))?.entry;
    (!entry.name.is_empty() && is_plain(&entry.name)).then_some(entry)
}

fn check_name(entry: Entry) -> Parsed {
    match entry.name.as_slice() {
        b"." | b".." => Parsed::Ignored,
        b"" => Parsed::NoName,
        name if name.contains(&b'/') || !is_plain(name) => Parsed::NoName,
        _ => Parsed::Entry(entry),
    }
}

/// LF ends a line, and NUL ends a name on every system.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && !bytes.contains(&b'\n')
}

/// A symlink; an invalid target is treated as unknown.
fn symlink(target: &[u8]) -> EntryKind {
    EntryKind::Symlink((!target.is_empty() && is_plain(target)).then(|| target.to_vec()))
}
