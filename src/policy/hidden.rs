//! Entries that listings leave out.

use super::session_policy::SessionPolicy;
use crate::op::{Effect, Entry, EntryKind, RemotePath};

impl SessionPolicy {
    /// Whether a listing of a folder leaves out an entry: a rule with `hide` decides that it may not be
    /// listed, or for a file that it may not be read.
    pub fn hides_entry(&self, folder: &RemotePath, entry: &Entry) -> bool {
        if !self.hides || matches!(&*entry.name, b"." | b"..") {
            return false;
        }
        RemotePath::resolve(folder, &entry.name).is_ok_and(|path| self.hides(&path, &entry.kind))
    }

    fn hides(&self, path: &RemotePath, kind: &EntryKind) -> bool {
        let judge = self.judge(path, true);
        let is_hidden = |effect| {
            let ruling = judge.decide_by_rules(effect, &mut |_, _| {});
            ruling.is_err_and(|denial| denial.is_hidden())
        };
        is_hidden(Effect::List) || (*kind != EntryKind::Directory && is_hidden(Effect::Read))
    }
}
