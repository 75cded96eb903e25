//! Entries as SFTP names and attributes (draft-ietf-secsh-filexfer-02 sections 5 and 7).

use bytes::Bytes;

use crate::op::{Changes, Entry, EntryKind};
use crate::wire::ftp::listing::render_ls;
use crate::wire::sftp::{Attributes, Name};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const SOCKET: u32 = 0o140_000;
const PERMISSIONS: u32 = 0o7777;
/// The permissions in a line of `ls -l`.
const MODE_BITS: std::ops::Range<usize> = 1..10;

/// The attributes of an entry. Version 3 has the file type only in the permissions. If those are
/// not known, a regular file has none, which clients accept, and other entries have default
/// permissions.
pub(super) fn attributes(entry: &Entry) -> Attributes {
    let known = entry.attributes.permissions.is_some() || entry.attributes.type_bits.is_some();
    let all = with_permissions(entry);
    match entry.kind {
        EntryKind::File if !known => Attributes { permissions: None, ..all },
        _ => all,
    }
}

/// As [`attributes`], always with permissions: OpenSSH does not download an entry of a directory
/// that has none.
fn with_permissions(entry: &Entry) -> Attributes {
    let known = &entry.attributes;
    let (type_bits, default) = match entry.kind {
        EntryKind::File => (FILE, 0o644),
        EntryKind::Directory => (DIRECTORY, 0o755),
        EntryKind::Symlink(_) => (SYMLINK, 0o777),
        EntryKind::Other => (SOCKET, 0o644),
    };
    let permissions = known.permissions.unwrap_or(default) & PERMISSIONS;
    let modified = known.modified.map(|modified| modified.seconds);
    Attributes {
        size: known.size,
        owner: known.ids,
        permissions: Some(known.type_bits.unwrap_or(type_bits) | permissions),
        times: modified.map(|at| (seconds(known.accessed.unwrap_or(at)), seconds(at))),
        extended: Vec::new(),
    }
}

/// The changes that a client requests with attributes.
pub(super) fn changes(attributes: &Attributes) -> Changes {
    Changes {
        size: attributes.size,
        owner: attributes.owner,
        permissions: attributes.permissions.map(|mode| mode & PERMISSIONS),
        accessed: attributes.times.map(|(accessed, _)| accessed.into()),
        modified: attributes.times.map(|(_, modified)| modified.into()),
    }
}

/// A name in a listing, with its line of `ls -l`. `now` is in seconds since the epoch. `None` for
/// an invalid name, which a client could take for another file.
pub(super) fn listed(mut entry: Entry, now: i64) -> Option<Name> {
    if entry.name.is_empty() || entry.name.iter().any(|b| matches!(b, b'/' | 0)) {
        return None;
    }
    let attributes = with_permissions(&entry);
    let name = Bytes::from(std::mem::take(&mut entry.name));
    // The line must stay one line; the name itself is not changed.
    entry.name = if name.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        name.escape_ascii().to_string().into_bytes()
    } else {
        name.to_vec()
    };
    if let EntryKind::Symlink(target) = &mut entry.kind {
        // Clients print the line as it is, and read the target with READLINK.
        *target = None;
    }
    if let Some((user, group)) = entry.attributes.ids {
        let number = |id: u32| id.to_string().into_bytes();
        entry.attributes.owner.get_or_insert_with(|| number(user));
        entry.attributes.group.get_or_insert_with(|| number(group));
    }
    let mut longname = Vec::with_capacity(64 + name.len());
    let shown = render_ls(&entry, now, &mut longname);
    debug_assert!(shown, "the name was escaped");
    if entry.attributes.permissions.is_none()
        && let Some(bits) = longname.get_mut(MODE_BITS)
    {
        bits.fill(b'?');
    }
    Some(Name { name, longname: longname.into(), attributes })
}

/// The response to REALPATH and READLINK, with dummy attributes.
pub(super) fn path(bytes: Vec<u8>) -> Name {
    let name = Bytes::from(bytes);
    Name { longname: name.clone(), name, attributes: Attributes::default() }
}

fn seconds(at: i64) -> u32 {
    u32::try_from(at.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Timestamp;

    const NOW: i64 = 1_795_000_000;

    #[test]
    fn unknown_permissions_are_omitted_for_files_only() {
        let mode = |kind| attributes(&Entry::new("x", kind)).permissions;
        assert_eq!(mode(EntryKind::File), None);
        assert_eq!(mode(EntryKind::Directory), Some(0o040_755));
        assert_eq!(mode(EntryKind::Symlink(None)), Some(0o120_777));
        let mut script = Entry::new("x", EntryKind::File);
        script.attributes.permissions = Some(0o755);
        assert_eq!(attributes(&script).permissions, Some(0o100_755));
        let mut pipe = Entry::new("x", EntryKind::Other);
        pipe.attributes.type_bits = Some(0o010_000);
        pipe.attributes.permissions = Some(0o600);
        assert_eq!(attributes(&pipe).permissions, Some(0o010_600));
    }

    #[test]
    fn listed_names_have_a_type_and_question_marks_for_unknown_permissions() {
        for (kind, marks, mode) in [
            (EntryKind::File, "-????????? ", 0o100_644),
            (EntryKind::Directory, "d????????? ", 0o040_755),
            (EntryKind::Symlink(None), "l????????? ", 0o120_777),
        ] {
            let name = listed(Entry::new("x", kind), NOW).unwrap();
            let line = String::from_utf8(name.longname.to_vec()).unwrap();
            assert!(line.starts_with(marks), "{line}");
            assert_eq!(name.attributes.permissions, Some(mode));
        }
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        let mut entry = Entry::new("x", EntryKind::File);
        assert_eq!(attributes(&entry).times, None);
        entry.attributes.modified = Some(Timestamp::exact(-5));
        assert_eq!(attributes(&entry).times, Some((0, 0)));
        entry.attributes.modified = Some(Timestamp::exact(7));
        entry.attributes.accessed = Some(1 << 40);
        assert_eq!(attributes(&entry).times, Some((u32::MAX, 7)));
    }

    #[test]
    fn names_are_not_changed_and_their_lines_are_escaped() {
        let mut entry = Entry::new(&b"a\nb\xff"[..], EntryKind::Symlink(Some(b"t".to_vec())));
        entry.attributes.permissions = Some(0o777);
        entry.attributes.ids = Some((1000, 100));
        let name = listed(entry, NOW).unwrap();
        assert_eq!(&name.name[..], b"a\nb\xff");
        let line = String::from_utf8(name.longname.to_vec()).unwrap();
        assert!(line.starts_with("lrwxrwxrwx   1 1000     100 "), "{line}");
        assert!(line.ends_with(r" a\nb\xff"), "{line}");
        assert_eq!(name.attributes.owner, Some((1000, 100)));
    }

    #[test]
    fn invalid_names_are_omitted() {
        for name in ["", "../x", "/etc/passwd", "a\0b"] {
            assert_eq!(listed(Entry::new(name, EntryKind::File), NOW), None, "{name:?}");
        }
    }
}
