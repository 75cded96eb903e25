//! Which files they were, to notice that they have changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Files with what tells one version from another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps(BTreeMap<PathBuf, Option<Stamp>>);

/// Follows symlinks: Kubernetes changes a mounted file by a symlink to another folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// The same files as they are now.
    pub(super) fn again(&self) -> Self {
        Self(self.0.keys().map(|path| (path.clone(), stamp(path))).collect())
    }

    /// Keeps the stamps of `files`, and adds those that are missing.
    pub(super) fn set(&mut self, files: impl Iterator<Item = PathBuf>) {
        let mut kept = BTreeMap::new();
        for path in files {
            let stamp = self.0.get(&path).copied().unwrap_or_else(|| stamp(&path));
            kept.insert(path, stamp);
        }
        self.0 = kept;
    }
}

/// `None`: there is no such file, or it cannot be read.
fn stamp(path: &PathBuf) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
