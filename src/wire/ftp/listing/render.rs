//! Lines for clients: `ls -l` for LIST, facts (RFC 3659 section 7) for MLSD and MLST.

use super::{Fact, FactSet};
use crate::op::{Entry, EntryKind, Precision, Timestamp};
use crate::wire::ftp::time::{Civil, format_time};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Half a Gregorian year: `ls` shows the year instead of the time of older files.
const HALF_YEAR: i64 = 31_556_952 / 2;

/// Appends an `ls -l` line without its end, in the form that every FTP client reads. Unknown attributes
/// get usual values. `now` is in seconds since the epoch.
///
/// Returns `false` and writes nothing for a name that is empty or has CR, LF or NUL.
#[must_use]
pub fn render_ls(entry: &Entry, now: i64, out: &mut Vec<u8>) -> bool {
    if !can_be_listed(&entry.name) {
        return false;
    }
    let Entry { name, kind, attributes } = entry;
    let target = match kind {
        EntryKind::Symlink(Some(target)) if can_be_listed(target) => Some(target),
        _ => None,
    };
    let (letter, usual) = match kind {
        EntryKind::File => ('-', 0o644),
        EntryKind::Directory => ('d', 0o755),
        EntryKind::Symlink(_) => ('l', 0o777),
        EntryKind::Other => ('s', 0o644),
    };
    let permissions = permissions(attributes.permissions.unwrap_or(usual));
    let links = attributes.links.unwrap_or(1);
    let size = attributes.size.or(target.map(|target| target.len() as u64)).unwrap_or(0);

    out.extend_from_slice(format!("{letter}{permissions} {links:>3} ").as_bytes());
    for owner in [&attributes.owner, &attributes.group] {
        let owner = owner.as_deref().filter(|owner| !owner.is_empty()).unwrap_or(b"ftp");
        push_word(owner, out);
        out.resize(out.len() + 8usize.saturating_sub(owner.len()) + 1, b' ');
    }
    out.extend_from_slice(format!("{size:>8} {} ", date(attributes.modified, now)).as_bytes());
    out.extend_from_slice(name);
    if let Some(target) = target {
        out.extend_from_slice(b" -> ");
        out.extend_from_slice(target);
    }
    true
}

/// Appends an MLSD line without its end, with those of `facts` that the entry has. For a reply to MLST
/// the caller writes a space first, and may pass a path as the name.
///
/// Returns `false` and writes nothing for a name that is empty or has CR, LF or NUL.
#[must_use]
pub fn render_facts(entry: &Entry, facts: FactSet, out: &mut Vec<u8>) -> bool {
    if !can_be_listed(&entry.name) {
        return false;
    }
    for fact in Fact::ALL.into_iter().filter(|fact| facts.contains(*fact)) {
        if let Some(value) = value(entry, fact) {
            out.extend_from_slice(fact.name().as_bytes());
            out.push(b'=');
            push_word(&value, out);
            out.push(b';');
        }
    }
    out.push(b' ');
    out.extend_from_slice(&entry.name);
    true
}

fn value(entry: &Entry, fact: Fact) -> Option<Vec<u8>> {
    let Entry { kind, attributes, .. } = entry;
    match fact {
        Fact::Type => Some(match kind {
            EntryKind::File => b"file".to_vec(),
            EntryKind::Directory => b"dir".to_vec(),
            EntryKind::Symlink(Some(target)) if is_word(target) => {
                [b"OS.unix=slink:", target.as_slice()].concat()
            }
            EntryKind::Symlink(_) => b"OS.unix=symlink".to_vec(),
            EntryKind::Other => b"OS.unix=special".to_vec(),
        }),
        // What RETR would send: neither a link's own size nor a folder's.
        Fact::Size => {
            let size = attributes.size.filter(|_| *kind == EntryKind::File)?;
            Some(size.to_string().into_bytes())
        }
        Fact::Modify => format_time(attributes.modified?.seconds).map(String::into_bytes),
        Fact::UnixMode => Some(format!("{:04o}", attributes.permissions? & 0o7777).into_bytes()),
        Fact::UnixOwner => attributes.owner.clone(),
        Fact::UnixGroup => attributes.group.clone(),
    }
}

/// Whether a name can be part of a line.
fn can_be_listed(name: &[u8]) -> bool {
    !name.is_empty() && !name.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
}

/// Whether a text can be a column or a fact as it is.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && !text.iter().any(|b| breaks_word(*b))
}

fn push_word(text: &[u8], out: &mut Vec<u8>) {
    out.extend(text.iter().map(|b| if breaks_word(*b) { b'_' } else { *b }));
}

/// Bytes that end a column, a fact or a line.
fn breaks_word(b: u8) -> bool {
    b.is_ascii_control() || matches!(b, b' ' | b';')
}

fn permissions(mode: u32) -> String {
    let class = |shift: u32, special: u32, letter: char| {
        let bits = mode >> shift;
        let execute = match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => letter.to_ascii_uppercase(),
            (true, true) => letter,
        };
        let read = if bits & 4 != 0 { 'r' } else { '-' };
        let write = if bits & 2 != 0 { 'w' } else { '-' };
        [read, write, execute]
    };
    let classes = [class(6, 0o4000, 's'), class(3, 0o2000, 's'), class(0, 0o1000, 't')];
    classes.iter().flatten().collect()
}

/// `Nov 22 17:35`, or the year instead of the time if that would be ambiguous or is unknown.
fn date(modified: Option<Timestamp>, now: i64) -> String {
    let known = modified.and_then(|modified| Some((modified, Civil::of(modified.seconds)?)));
    let Some((modified, civil)) = known else { return "Jan  1  1970".to_owned() };
    let month = MONTHS[usize::from(civil.month) - 1];
    let recent = (now.saturating_sub(HALF_YEAR)..=now).contains(&modified.seconds);
    if recent && modified.precision != Precision::Day {
        format!("{month} {:>2} {:02}:{:02}", civil.day, civil.hour, civil.minute)
    } else {
        format!("{month} {:>2}  {:04}", civil.day, civil.year)
    }
}
