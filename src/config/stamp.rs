//! Which files they were, to notice that they have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files::FileStamp;

/// Files with what tells one version from another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps(BTreeMap<PathBuf, Option<FileStamp>>);

impl Stamps {
    /// Of one file.
    pub fn of_file(path: &Path) -> Self {
        Self(BTreeMap::from([(path.to_owned(), stamp(path))]))
    }

    /// Whether a file is another now, and has not changed since `seen`, which this sets: a file that is being
    /// written is left alone. Blocks.
    pub fn has_settled_change(&self, seen: &mut Option<Self>) -> bool {
        let now = self.again();
        let settled = seen.as_ref() == Some(&now);
        let has_changed = now != *self;
        *seen = Some(now);
        settled && has_changed
    }

    /// The same files as they are now.
    pub fn again(&self) -> Self {
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
