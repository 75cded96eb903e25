//! The lines of LIST, MLSD and MLST: RFC 3659 section 7, and what RFC 959 section 4.1.3 left to
//! each server: `ls -l` and DOS.
//!
//! What a peer lists is not believed blindly: an [`Entry`] that comes out of [`parse_line`] has a
//! bare name, never a path. What is rendered is one line, whatever bytes the entry holds.

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

/// What one line of a listing says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A name in the folder.
    Entry(Entry),
    /// Nothing about a name in the folder: a sum, an empty line, `.`, `..`, cdir, pdir.
    Ignored,
    /// The name of a folder over what is in it (`/pub/x:`).
    Header,
    /// No known shape: whatever it names is lost.
    Unreadable,
    /// Too little to be of any shape: among others, the rest of a name with a line end in it.
    Fragment,
    /// A name that no file can have (empty, with `/`, NUL or LF in it).
    NoName,
}

/// Reads one line of LIST or MLSD, given without its line end, whatever shape it has.
///
/// `now` (seconds since the epoch) gives the year to a date that has none: the latest one that puts
/// it no more than a day into the future. The work is linear in the length of the line.
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

fn is_header(line: &[u8]) -> bool {
    let above = line.strip_suffix(b":");
    above.is_some_and(|path| path == b"." || path.starts_with(b"/") || path.starts_with(b"./"))
}

/// DOS has the fewest columns: date, time, size and name. What is behind a line that ends with a
/// colon may be of another folder (`ls -R`): that is no small matter.
fn is_fragment(line: &[u8]) -> bool {
    columns::columns(line, 4).len() < 4 && !line.ends_with(b":") && !unix::has_mode(line)
}

/// Reads MLST's line, with or without the one space that stands before it in the reply (RFC 3659
/// section 7.2).
///
/// The name is what the server wrote after the facts, raw: often a path. `None` for other shapes,
/// for a line that does not tell what kind of thing it is about, and for an empty name or one with
/// NUL or LF in it.
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

/// LF ends a line and NUL ends a name on every system: neither can come from an honest server.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && !bytes.contains(&b'\n')
}

/// A link; a target that is none is as good as unknown_attributes.
fn symlink(target: &[u8]) -> EntryKind {
    EntryKind::Symlink((!target.is_empty() && is_plain(target)).then(|| target.to_vec()))
}
