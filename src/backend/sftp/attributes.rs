//! Converts between the wire's attributes and the neutral ones (draft-ietf-secsh-filexfer-02 section 5).

use crate::op::{Attributes, Changes, Entry, EntryKind, FileSystem, Timestamp};
use crate::wire::ftp::listing::{Parsed, parse_line};
use crate::wire::sftp::{self, Name};

const TYPE: u32 = 0o170_000;
const KINDS: [(u32, EntryKind); 3] = [
    (0o040_000, EntryKind::Directory),
    (0o100_000, EntryKind::File),
    (0o120_000, EntryKind::Symlink(None)),
];

pub(super) fn entry(name: &[u8], wire: &sftp::Attributes) -> Entry {
    let kind = match wire.permissions {
        Some(mode) => kind(mode),
        // A server that reports no mode has mostly plain files.
        None => EntryKind::File,
    };
    let attributes = Attributes {
        size: wire.size,
        modified: wire.times.map(|(_, modified)| Timestamp::exact(modified.into())),
        permissions: wire.permissions.map(|mode| mode & 0o7777),
        owner: wire.owner.map(|(user, _)| user.to_string().into_bytes()),
        group: wire.owner.map(|(_, group)| group.to_string().into_bytes()),
        links: None,
        ids: wire.owner,
        accessed: wire.times.map(|(accessed, _)| accessed.into()),
        type_bits: wire.permissions.map(|mode| mode & TYPE).filter(|bits| *bits != 0),
    };
    Entry { name: name.to_vec(), kind, attributes }
}

fn kind(mode: u32) -> EntryKind {
    let bits = mode & TYPE;
    let known = KINDS.iter().find(|(of, _)| *of == bits);
    match known {
        Some((_, kind)) => kind.clone(),
        None if bits == 0 => EntryKind::File,
        None => EntryKind::Other,
    }
}

/// `.` or `..`.
pub(super) fn is_dot_entry(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// An entry of a directory. Its longname adds the link count and the names of owner and group, where it has
/// the format of `ls -l`. `None` for an invalid name.
pub(super) fn listed(name: &Name, now: i64) -> Option<Entry> {
    let bare = &name.name[..];
    if bare.is_empty() || bare.contains(&b'/') || bare.contains(&0) {
        tracing::warn!(
            name = bare,
            "an entry with an invalid name in the backend's directory was left out"
        );
        return None;
    }
    let mut entry = entry(bare, &name.attributes);
    // The parser leaves out `.` and `..`, but their owners are needed, too.
    let (longname, expected) = match (is_dot_entry(bare), name.longname.strip_suffix(bare)) {
        (true, Some(front)) => (&[front, b"itself"].concat()[..], &b"itself"[..]),
        _ => (&name.longname[..], bare),
    };
    if let Parsed::Entry(line) = parse_line(longname, now)
        && line.name == expected
    {
        let parsed = line.attributes;
        let attributes = &mut entry.attributes;
        attributes.links = parsed.links;
        attributes.owner = parsed.owner.or_else(|| attributes.owner.take());
        attributes.group = parsed.group.or_else(|| attributes.group.take());
        if name.attributes.permissions.is_none() {
            entry.kind = line.kind;
        }
    }
    Some(entry)
}

/// The wire sets both times together: `current` supplies the one that is not changed.
pub(super) fn changes(
    changes: &Changes,
    current: Option<&sftp::Attributes>,
) -> Result<sftp::Attributes, OutOfRange> {
    let kept = current.and_then(|current| current.times);
    let seconds = |time: i64| u32::try_from(time).map_err(|_| OutOfRange);
    let times = match (changes.accessed, changes.modified) {
        (None, None) => None,
        (Some(accessed), Some(modified)) => Some((seconds(accessed)?, seconds(modified)?)),
        (None, Some(modified)) => {
            let modified = seconds(modified)?;
            Some((kept.map_or(modified, |(accessed, _)| accessed), modified))
        }
        (Some(accessed), None) => {
            let accessed = seconds(accessed)?;
            Some((accessed, kept.map_or(accessed, |(_, modified)| modified)))
        }
    };
    Ok(sftp::Attributes {
        size: changes.size,
        owner: changes.owner,
        permissions: changes.permissions,
        times,
        extended: Vec::new(),
    })
}

/// A time that does not fit into 32 bits without a sign.
#[derive(Debug)]
pub(super) struct OutOfRange;

/// Whether only one of the times changes, so that the other must be read first.
pub(super) fn needs_times(changes: &Changes) -> bool {
    changes.accessed.is_some() != changes.modified.is_some()
}

pub(super) fn file_system(wire: sftp::FileSystem) -> FileSystem {
    FileSystem {
        block_size: wire.f_bsize,
        fragment_size: wire.f_frsize,
        blocks: wire.f_blocks,
        blocks_free: wire.f_bfree,
        blocks_available: wire.f_bavail,
        files: wire.f_files,
        files_free: wire.f_ffree,
        files_available: wire.f_favail,
        id: wire.f_fsid,
        flags: wire.f_flag,
        longest_name: wire.f_namemax,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn named(name: &'static [u8], longname: &'static [u8], mode: u32) -> Name {
        let attributes = sftp::Attributes {
            size: Some(5),
            owner: Some((1000, 100)),
            permissions: Some(mode),
            times: Some((7, 4_000_000_000)),
            extended: Vec::new(),
        };
        Name { name: Bytes::from_static(name), longname: Bytes::from_static(longname), attributes }
    }

    #[test]
    fn a_longname_adds_names_and_the_link_count() {
        let line = b"-rw-r--r--    3 alice    staff           5 Nov 22 20:25 a file";
        let entry = listed(&named(b"a file", line, 0o100_644), 1_795_000_000).unwrap();
        assert_eq!(entry.kind, EntryKind::File);
        let attributes = entry.attributes;
        assert_eq!(
            (attributes.links, attributes.owner.unwrap(), attributes.group.unwrap()),
            (Some(3), b"alice".to_vec(), b"staff".to_vec())
        );
        assert_eq!(attributes.ids, Some((1000, 100)));
        assert_eq!(attributes.modified, Some(Timestamp::exact(4_000_000_000)));
        let other = listed(&named(b"other", line, 0o040_755), 0).unwrap();
        assert_eq!(
            (other.kind, other.attributes.owner.unwrap()),
            (EntryKind::Directory, b"1000".to_vec())
        );
    }

    #[test]
    fn an_entry_with_an_invalid_name_is_left_out() {
        for name in [&b""[..], b"a/b", b"a\0b"] {
            assert!(listed(&named(name, b"", 0o100_644), 0).is_none());
        }
        assert_eq!(listed(&named(b"\xff\n", b"", 0o140_777), 0).unwrap().kind, EntryKind::Other);
    }

    #[test]
    fn dot_entries_get_their_owner_from_the_longname() {
        for (name, line) in [
            (&b"."[..], &b"drwxr-x---    3 alice    staff        4096 Nov 22 20:25 ."[..]),
            (b"..", b"drwxr-x---    3 alice    staff        4096 Nov 22 20:25 .."),
        ] {
            let entry = listed(&named(name, line, 0o040_750), 1_795_000_000).unwrap();
            assert_eq!((&entry.name[..], entry.kind), (name, EntryKind::Directory));
            assert_eq!(entry.attributes.owner.unwrap(), b"alice");
        }
    }

    #[test]
    fn setting_one_time_keeps_the_other() {
        let now = named(b"x", b"", 0).attributes;
        let set = changes(&Changes::modified(9), Some(&now)).unwrap();
        assert_eq!(set.times, Some((7, 9)));
        assert_eq!(changes(&Changes::modified(9), None).unwrap().times, Some((9, 9)));
        assert!(changes(&Changes::modified(-1), None).is_err());
    }
}
