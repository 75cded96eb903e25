//! Directory listings, in batches.

use std::io;
use std::mem;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use async_trait::async_trait;
use cap_std::fs::{Dir, DirEntry, ReadDir};

use super::attributes::attributes;
use super::blocking::BlockingPool;
use super::errno::failed;
use super::links::kind_of;
use super::paths::relative;
use crate::backend::Listing;
use crate::op::{Attributes, Entry, EntryKind, Failure, FailureKind, RemotePath};

/// Entries in one batch.
const MAX_BATCH: usize = 256;

/// Opens a folder; blocks. Its entries are read batch by batch.
pub(super) fn open(
    pool: BlockingPool,
    root: &Dir,
    path: RemotePath,
) -> Result<LocalListing, Failure> {
    let open = || {
        let dir = root.open_dir(relative(&path))?;
        let entries = dir.entries()?;
        let dot_entries = dot_entries(root, &dir, &path);
        Ok(Folder { dir, entries, dot_entries })
    };
    match open() {
        Ok(folder) => Ok(LocalListing { pool, path, state: State::Reading(folder) }),
        Err(error) => Err(failed(format_args!("list {path}"), &error)),
    }
}

pub(super) struct LocalListing {
    pool: BlockingPool,
    path: RemotePath,
    state: State,
}

enum State {
    Reading(Folder),
    Whole,
    /// An error ended it, or the future of a batch was dropped.
    Broken,
}

struct Folder {
    dir: Dir,
    entries: ReadDir,
    /// `.` and `..`, listed first.
    dot_entries: Vec<Entry>,
}

#[async_trait]
impl Listing for LocalListing {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let mut folder = match mem::replace(&mut self.state, State::Broken) {
            State::Reading(folder) => folder,
            State::Whole => {
                self.state = State::Whole;
                return Ok(None);
            }
            State::Broken => {
                let message = format_args!("cannot list {}: it was aborted before", self.path);
                return Err(Failure::gateway(FailureKind::Internal, message));
            }
        };
        let path = self.path.clone();
        let (folder, batch) = self
            .pool
            .run(move || {
                let batch = folder.batch().map_err(|e| failed(format_args!("list {path}"), &e))?;
                Ok((folder, batch))
            })
            .await?;
        self.state = if batch.len() < MAX_BATCH { State::Whole } else { State::Reading(folder) };
        Ok((!batch.is_empty()).then_some(batch))
    }

    async fn abort(self: Box<Self>) {}
}

impl Folder {
    /// Fewer than [`MAX_BATCH`] only at the end.
    fn batch(&mut self) -> io::Result<Vec<Entry>> {
        let mut batch = mem::take(&mut self.dot_entries);
        while batch.len() < MAX_BATCH {
            let Some(found) = self.entries.next() else { break };
            batch.extend(self.describe(&found?)?);
        }
        Ok(batch)
    }

    /// `None` if it no longer exists.
    fn describe(&self, found: &DirEntry) -> io::Result<Option<Entry>> {
        let name = found.file_name();
        let (kind, attributes) = match found.metadata() {
            Ok(metadata) => (metadata.file_type(), attributes(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A folder that may be read but not searched shows only names and kinds.
            Err(_) => (found.file_type()?, Attributes::default()),
        };
        let kind = kind_of(&self.dir, kind, Path::new(&name));
        Ok(Some(Entry { name: name.into_vec(), kind, attributes }))
    }
}

/// `.`, and `..` where it is inside the sandbox, if their metadata can be read.
fn dot_entries(root: &Dir, dir: &Dir, path: &RemotePath) -> Vec<Entry> {
    let parent = path.parent().and_then(|parent| root.metadata(relative(&parent)).ok());
    let both = [(".", dir.dir_metadata().ok()), ("..", parent)];
    let known = both.into_iter().filter_map(|(name, metadata)| Some((name, metadata?)));
    known
        .map(|(name, metadata)| Entry {
            attributes: attributes(&metadata),
            ..Entry::new(name, EntryKind::Directory)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::super::testing::Sandbox;
    use super::*;

    #[tokio::test]
    async fn a_large_folder_is_listed_in_batches() {
        for count in [0, 1, 255, 256, 257, 1000] {
            let sandbox = Sandbox::new();
            for n in 0..count {
                sandbox.put(format!("file-{n}"), "");
            }
            let batches = sandbox.list("/").await.unwrap();
            assert!(batches.iter().all(|b| !b.is_empty() && b.len() <= MAX_BATCH));
            let names: HashSet<_> = batches.into_iter().flatten().map(|e| e.name).collect();
            assert_eq!(names.len(), 1 + count);
            assert!(!names.contains(&b".."[..]) && names.contains(&b"."[..]));
        }
    }

    #[tokio::test]
    async fn entries_have_their_own_kind_and_symlinks_are_not_followed() {
        let sandbox = Sandbox::new();
        let raw = b"caf\xe9\n".to_vec();
        sandbox.put(OsStr::from_bytes(&raw), "abc");
        std::fs::create_dir(sandbox.host("folder")).unwrap();
        symlink("/etc/passwd", sandbox.host("link")).unwrap();
        symlink(OsStr::from_bytes(b"\xff"), sandbox.host("raw-link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(sandbox.host("socket")).unwrap();
        let mut entries = sandbox.list("/").await.unwrap().concat();
        entries.retain(|entry| entry.name != b".");
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let listed: Vec<_> = entries.iter().map(|e| (&e.name[..], e.kind.clone())).collect();
        assert_eq!(
            listed,
            [
                (&raw[..], EntryKind::File),
                (b"folder", EntryKind::Directory),
                (b"link", EntryKind::Symlink(Some(b"/etc/passwd".to_vec()))),
                (b"raw-link", EntryKind::Symlink(Some(b"\xff".to_vec()))),
                (b"socket", EntryKind::Other),
            ]
        );
        assert_eq!(entries[0].attributes.size, Some(3));
        assert!(entries.iter().all(|e| e.attributes.owner.is_some()));
    }

    #[tokio::test]
    async fn dot_entries_have_the_attributes_of_the_folder_and_its_parent() {
        use std::os::unix::fs::PermissionsExt;
        let sandbox = Sandbox::new();
        std::fs::create_dir_all(sandbox.host("parent/folder")).unwrap();
        for (name, mode) in [("parent", 0o710), ("parent/folder", 0o750)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(sandbox.host(name), mode).unwrap();
        }
        let entries = sandbox.list("parent/folder").await.unwrap().concat();
        let listed: Vec<_> =
            entries.iter().map(|e| (&e.name[..], e.attributes.permissions.unwrap())).collect();
        assert_eq!(listed, [(&b"."[..], 0o750), (b"..", 0o710)]);
        assert!(entries.iter().all(|e| e.attributes.modified.is_some()));
        let names = async |name| sandbox.list(name).await.unwrap().concat().len();
        assert_eq!((names("parent").await, names("/").await), (3, 2));
    }

    #[tokio::test]
    async fn only_folders_can_be_listed() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "");
        let kind = async |name| sandbox.list(name).await.unwrap_err().kind;
        assert_eq!(kind("file").await, FailureKind::NotADirectory);
        assert_eq!(kind("missing").await, FailureKind::NotFound);
    }
}
