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
/// Where `ls -l` has them, behind the letter of the type.
const MODE_BITS: std::ops::Range<usize> = 1..10;

/// What an entry is. Clients tell folders from files by the type bits, which version 3 has in the mode
/// only. So the mode that is not known is left out for a plain file, which a client takes for one then,
/// and has usual bits for all else.
pub(super) fn attributes(entry: &Entry) -> Attributes {
    let known = entry.attributes.permissions.is_some() || entry.attributes.type_bits.is_some();
    let all = with_mode(entry);
    match entry.kind {
        EntryKind::File if !known => Attributes { permissions: None, ..all },
        _ => all,
    }
}

/// As [`attributes`], always with a mode: in a folder, OpenSSH takes what has none for no file, and gets
/// it not.
fn with_mode(entry: &Entry) -> Attributes {
    let told = &entry.attributes;
    let (type_bits, usual) = match entry.kind {
        EntryKind::File => (FILE, 0o644),
        EntryKind::Directory => (DIRECTORY, 0o755),
        EntryKind::Symlink(_) => (SYMLINK, 0o777),
        EntryKind::Other => (SOCKET, 0o644),
    };
    let permissions = told.permissions.unwrap_or(usual) & PERMISSIONS;
    let modified = told.modified.map(|modified| modified.seconds);
    Attributes {
        size: told.size,
        owner: told.ids,
        permissions: Some(told.type_bits.unwrap_or(type_bits) | permissions),
        times: modified.map(|at| (seconds(told.accessed.unwrap_or(at)), seconds(at))),
        extended: Vec::new(),
    }
}

/// What a client wants attributes to be.
pub(super) fn changes(attributes: &Attributes) -> Changes {
    Changes {
        size: attributes.size,
        owner: attributes.owner,
        permissions: attributes.permissions.map(|mode| mode & PERMISSIONS),
        accessed: attributes.times.map(|(accessed, _)| accessed.into()),
        modified: attributes.times.map(|(_, modified)| modified.into()),
    }
}

/// A name in a listing, with its line as `ls -l` has it. `now` is in seconds since the epoch.
/// `None` for what is no name of a file: a client could take it for another file's.
pub(super) fn listed(mut entry: Entry, now: i64) -> Option<Name> {
    if entry.name.is_empty() || entry.name.iter().any(|b| matches!(b, b'/' | 0)) {
        return None;
    }
    let attributes = with_mode(&entry);
    let name = Bytes::from(std::mem::take(&mut entry.name));
    // A line must stay one line; the name itself is carried as it is.
    entry.name = match name.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        true => name.escape_ascii().to_string().into_bytes(),
        false => name.to_vec(),
    };
    if let EntryKind::Symlink(target) = &mut entry.kind {
        // Clients print the line as it is, and ask for the target by READLINK.
        *target = None;
    }
    if let Some((user, group)) = entry.attributes.ids {
        let number = |id: u32| id.to_string().into_bytes();
        entry.attributes.owner.get_or_insert_with(|| number(user));
        entry.attributes.group.get_or_insert_with(|| number(group));
    }
    let mut longname = Vec::with_capacity(64 + name.len());
    let shown = render_ls(&entry, now, &mut longname);
    debug_assert!(shown, "what render_ls refuses was escaped");
    if entry.attributes.permissions.is_none()
        && let Some(bits) = longname.get_mut(MODE_BITS)
    {
        bits.fill(b'?');
    }
    Some(Name { name, longname: longname.into(), attributes })
}

/// A path as the answer to REALPATH and READLINK, whose attributes nobody reads.
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
    fn a_mode_that_is_not_known_is_left_out_of_a_file_alone() {
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
    fn in_a_folder_the_type_is_told_and_what_is_not_known_is_marked() {
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
    fn times_beyond_the_fields_stay_at_their_ends() {
        let mut entry = Entry::new("x", EntryKind::File);
        assert_eq!(attributes(&entry).times, None);
        entry.attributes.modified = Some(Timestamp::exact(-5));
        assert_eq!(attributes(&entry).times, Some((0, 0)));
        entry.attributes.modified = Some(Timestamp::exact(7));
        entry.attributes.accessed = Some(1 << 40);
        assert_eq!(attributes(&entry).times, Some((u32::MAX, 7)));
    }

    #[test]
    fn names_are_bytes_and_their_lines_stay_lines() {
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
    fn what_is_no_name_is_left_out() {
        for name in ["", "../x", "/etc/passwd", "a\0b"] {
            assert_eq!(listed(Entry::new(name, EntryKind::File), NOW), None, "{name:?}");
        }
    }
}
