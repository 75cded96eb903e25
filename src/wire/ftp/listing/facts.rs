//! Fact lines of MLSD and MLST: RFC 3659 section 7.

use super::columns::number;
use super::symlink;
use crate::op::{Attributes, Entry, EntryKind, Timestamp};
use crate::wire::ftp::time::parse_time;

/// A parsed line of facts.
pub(super) struct FactsLine {
    /// With the name as sent, which for MLST and cdir is a path.
    pub entry: Entry,
    /// Whether it is about the listed folder (cdir) or the one above it (pdir).
    pub listed_itself: bool,
}

/// Whether a line has facts: in no other format does the first column contain a `=`.
pub(super) fn is_facts_line(line: &[u8]) -> bool {
    line.iter().take_while(|b| **b != b' ').any(|b| *b == b'=')
}

/// Parses a line without MLST's leading space, without checking the name. `None` without a name, or
/// without a fact for the kind.
pub(super) fn parse(line: &[u8]) -> Option<FactsLine> {
    let (facts, name) = split(line)?;
    let mut found = Found::default();
    for fact in facts.split(|b| *b == b';') {
        if let Some(equals) = fact.iter().position(|b| *b == b'=') {
            found.take(&fact[..equals].to_ascii_lowercase(), &fact[equals + 1..]);
        }
    }
    let kind = found.kind.or(found.kind_by_mode).or(found.kind_by_size)?;
    let attributes = Attributes {
        owner: found.owner_name.or(found.attributes.owner),
        group: found.group_name.or(found.attributes.group),
        ..found.attributes
    };
    let entry = Entry { name: name.to_vec(), kind, attributes };
    Some(FactsLine { entry, listed_itself: found.listed_itself })
}

/// The first space separates facts and name. Some servers send a link's target with its spaces: then the
/// facts end after the next fact.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|b| *b == b' ')?;
    let last = line[..space].rsplit(|b| *b == b';').next().unwrap_or_default();
    let cut = if strip_prefix(last, b"type=os.unix=s").is_some() {
        line[space..].windows(2).position(|w| w == b"; ").map(|end| space + end + 1)
    } else {
        None
    };
    let cut = cut.unwrap_or(space);
    Some((&line[..cut], &line[cut + 1..]))
}

#[derive(Default)]
struct Found {
    kind: Option<EntryKind>,
    kind_by_mode: Option<EntryKind>,
    kind_by_size: Option<EntryKind>,
    listed_itself: bool,
    owner_name: Option<Vec<u8>>,
    group_name: Option<Vec<u8>>,
    attributes: Attributes,
}

impl Found {
    /// Takes a fact; `name` in lower case. Ignores unknown facts.
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match name {
            b"type" => self.take_type(value),
            b"size" => {
                self.attributes.size = number(value);
                self.kind_by_size = Some(EntryKind::File);
            }
            b"sizd" => {
                self.attributes.size = number(value);
                self.kind_by_size = Some(EntryKind::Directory);
            }
            b"modify" => self.attributes.modified = parse_time(value).map(Timestamp::exact),
            b"unix.mode" => self.take_mode(value),
            b"unix.owner" | b"unix.uid" => self.attributes.owner = text(),
            b"unix.group" | b"unix.gid" => self.attributes.group = text(),
            b"unix.ownername" => self.owner_name = text(),
            b"unix.groupname" => self.group_name = text(),
            _ => {}
        }
    }

    fn take_type(&mut self, value: &[u8]) {
        let lower = value.to_ascii_lowercase();
        self.listed_itself = matches!(lower.as_slice(), b"cdir" | b"pdir");
        self.kind = Some(match lower.as_slice() {
            b"file" => EntryKind::File,
            b"dir" | b"cdir" | b"pdir" => EntryKind::Directory,
            b"os.unix=slink" | b"os.unix=symlink" => EntryKind::Symlink(None),
            _ => strip_prefix(value, b"os.unix=slink:")
                .or_else(|| strip_prefix(value, b"os.unix=symlink:"))
                .map_or(EntryKind::Other, symlink),
        });
    }

    fn take_mode(&mut self, value: &[u8]) {
        let octal = !value.is_empty() && value.iter().all(|b| matches!(b, b'0'..=b'7'));
        if !octal || value.len() > 10 {
            return;
        }
        let mode = value.iter().fold(0u32, |mode, b| mode << 3 | u32::from(b - b'0'));
        self.attributes.permissions = Some(mode & 0o7777);
        // Some servers include the bits of the file type.
        self.kind_by_mode = match mode & 0o170_000 {
            0 => None,
            0o040_000 => Some(EntryKind::Directory),
            0o100_000 => Some(EntryKind::File),
            0o120_000 => Some(EntryKind::Symlink(None)),
            _ => Some(EntryKind::Other),
        };
    }
}

/// Ignores case; `prefix` is in lower case.
fn strip_prefix<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
