//! Between the wire's attributes and the neutral ones (draft-ietf-secsh-filexfer-02 section 5).

use crate::op::{Attributes, Changes, Entry, EntryKind, FileSystem, Timestamp};
use crate::wire::ftp::listing::{Parsed, parse_line};
use crate::wire::sftp::{self, Name};

const TYPE: u32 = 0o170000;
const KINDS: [(u32, EntryKind); 3] = [
    (0o040000, EntryKind::Directory),
    (0o100000, EntryKind::File),
    (0o120000, EntryKind::Symlink(None)),
];

pub(super) fn entry(name: &[u8], said: &sftp::Attributes) -> Entry {
    let kind = match said.permissions {
        Some(mode) => kind(mode),
        // A server that tells no mode has plain files, mostly.
        None => EntryKind::File,
    };
    let attributes = Attributes {
        size: said.size,
        modified: said.times.map(|(_, modified)| Timestamp::exact(modified.into())),
        permissions: said.permissions.map(|mode| mode & 0o7777),
        owner: said.owner.map(|(user, _)| user.to_string().into_bytes()),
        group: said.owner.map(|(_, group)| group.to_string().into_bytes()),
        links: None,
        ids: said.owner,
        accessed: said.times.map(|(accessed, _)| accessed.into()),
        type_bits: said.permissions.map(|mode| mode & TYPE).filter(|bits| *bits != 0),
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

/// The folder, or the one above it.
pub(super) fn is_itself(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// An entry of a folder; its longname tells links and the names of owner and group, where it has the
/// shape that `ls -l` has. `None` for what is no name in a folder.
pub(super) fn listed(name: &Name, now: i64) -> Option<Entry> {
    let bare = &name.name[..];
    if bare.is_empty() || bare.contains(&b'/') || bare.contains(&0) {
        tracing::warn!(name = bare, "a name in the backend's folder is none and was left out");
        return None;
    }
    let mut entry = entry(bare, &name.attributes);
    // `.` and `..` are no names to those who read lines, but have an owner as others have.
    let (longname, called) = match (is_itself(bare), name.longname.strip_suffix(bare)) {
        (true, Some(front)) => (&[front, b"itself"].concat()[..], &b"itself"[..]),
        _ => (&name.longname[..], bare),
    };
    if let Parsed::Entry(line) = parse_line(longname, now)
        && line.name == called
    {
        let told = line.attributes;
        let attributes = &mut entry.attributes;
        attributes.links = told.links;
        attributes.owner = told.owner.or_else(|| attributes.owner.take());
        attributes.group = told.group.or_else(|| attributes.group.take());
        if name.attributes.permissions.is_none() {
            entry.kind = line.kind;
        }
    }
    Some(entry)
}

/// Both times must be set together: `now` stands for the one that stays, as the file has it.
pub(super) fn changes(
    changes: &Changes,
    now: Option<&sftp::Attributes>,
) -> Result<sftp::Attributes, OutOfRange> {
    let stays = now.and_then(|now| now.times);
    let seconds = |time: i64| u32::try_from(time).map_err(|_| OutOfRange);
    let times = match (changes.accessed, changes.modified) {
        (None, None) => None,
        (Some(accessed), Some(modified)) => Some((seconds(accessed)?, seconds(modified)?)),
        (None, Some(modified)) => {
            let modified = seconds(modified)?;
            Some((stays.map_or(modified, |(accessed, _)| accessed), modified))
        }
        (Some(accessed), None) => {
            let accessed = seconds(accessed)?;
            Some((accessed, stays.map_or(accessed, |(_, modified)| modified)))
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

/// A time that 32 bits without a sign cannot carry.
#[derive(Debug)]
pub(super) struct OutOfRange;

/// Whether one of the times is to stay, which must be asked for then.
pub(super) fn needs_times(changes: &Changes) -> bool {
    changes.accessed.is_some() != changes.modified.is_some()
}

pub(super) fn file_system(said: sftp::FileSystem) -> FileSystem {
    FileSystem {
        block_size: said.f_bsize,
        fragment_size: said.f_frsize,
        blocks: said.f_blocks,
        blocks_free: said.f_bfree,
        blocks_available: said.f_bavail,
        files: said.f_files,
        files_free: said.f_ffree,
        files_available: said.f_favail,
        id: said.f_fsid,
        flags: said.f_flag,
        longest_name: said.f_namemax,
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
    fn a_longname_tells_names_and_links() {
        let line = b"-rw-r--r--    3 alice    staff           5 Nov 22 20:25 a file";
        let entry = listed(&named(b"a file", line, 0o100644), 1_795_000_000).unwrap();
        assert_eq!(entry.kind, EntryKind::File);
        let told = entry.attributes;
        assert_eq!(
            (told.links, told.owner.unwrap(), told.group.unwrap()),
            (Some(3), b"alice".to_vec(), b"staff".to_vec())
        );
        assert_eq!(told.ids, Some((1000, 100)));
        assert_eq!(told.modified, Some(Timestamp::exact(4_000_000_000)));
        let other = listed(&named(b"other", line, 0o040755), 0).unwrap();
        assert_eq!(
            (other.kind, other.attributes.owner.unwrap()),
            (EntryKind::Directory, b"1000".to_vec())
        );
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        for name in [&b""[..], b"a/b", b"a\0b"] {
            assert!(listed(&named(name, b"", 0o100644), 0).is_none());
        }
        assert_eq!(listed(&named(b"\xff\n", b"", 0o140777), 0).unwrap().kind, EntryKind::Other);
    }

    #[test]
    fn the_folder_itself_has_an_owner() {
        for (name, line) in [
            (&b"."[..], &b"drwxr-x---    3 alice    staff        4096 Nov 22 20:25 ."[..]),
            (b"..", b"drwxr-x---    3 alice    staff        4096 Nov 22 20:25 .."),
        ] {
            let entry = listed(&named(name, line, 0o040750), 1_795_000_000).unwrap();
            assert_eq!((&entry.name[..], entry.kind), (name, EntryKind::Directory));
            assert_eq!(entry.attributes.owner.unwrap(), b"alice");
        }
    }

    #[test]
    fn one_time_leaves_the_other() {
        let now = named(b"x", b"", 0).attributes;
        let set = changes(&Changes::modified(9), Some(&now)).unwrap();
        assert_eq!(set.times, Some((7, 9)));
        assert_eq!(changes(&Changes::modified(9), None).unwrap().times, Some((9, 9)));
        assert!(changes(&Changes::modified(-1), None).is_err());
    }
}
