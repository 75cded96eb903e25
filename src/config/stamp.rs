//! Which files they were, to notice that they have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::net::FileStamp;

/// Files with what tells one version from another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps(BTreeMap<PathBuf, Option<FileStamp>>);

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
fn stamp(path: &Path) -> Option<FileStamp> {
    FileStamp::of(path).ok()
}
