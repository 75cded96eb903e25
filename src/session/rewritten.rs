//! How a listing differs from the backend's by the route's `rewrite`.

use super::core::SessionCore;
use crate::op::{Answer, Entry, EntryKind, FailureKind, Operation, RemotePath};
use crate::policy::{Names, Permit};
use crate::route::{Overlay, Target};

/// The entries of a folder that the backend's listing of it lacks, and the names that it must not show. At most
/// as many as the route has rewrites.
#[derive(Default)]
pub(super) struct RewrittenEntries {
    names: Names,
    hidden: Vec<Vec<u8>>,
    /// Shown at the end.
    entries: Vec<Entry>,
    /// Shown at the end, unless the backend has them.
    parents: Vec<Vec<u8>>,
}

impl RewrittenEntries {
    /// Sends the backend one request for each rewritten folder in `folder`.
    pub(super) async fn of(session: &SessionCore, folder: &RemotePath) -> Self {
        if session.root.paths.is_plain() {
            return Self::default();
        }
        let Overlay { hidden, rewritten, parents } = session.root.paths.overlay(folder);
        let mut entries = Vec::new();
        for path in rewritten {
            entries.extend(entry(session, &path).await);
        }
        Self { names: session.root.paths.names(), hidden, entries, parents }
    }

    /// Removes what the client must not see, and notes what it sees.
    pub(super) fn filter(&mut self, entries: &mut Vec<Entry>) {
        let same = |a: &[u8], b: &[u8]| self.names.same(a, b);
        entries.retain(|entry| self.hidden.iter().all(|name| !same(name, &entry.name)));
        self.parents.retain(|name| entries.iter().all(|entry| !same(name, &entry.name)));
    }

    /// The entries that are still missing, once.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.entries);
        let folder = |name| Entry::new(name, EntryKind::Directory);
        entries.extend(std::mem::take(&mut self.parents).into_iter().map(folder));
        entries
    }
}

/// The rewritten folder as the client sees it; `None` if there is nothing at the backend.
async fn entry(session: &SessionCore, path: &RemotePath) -> Option<Entry> {
    let name = path.name()?;
    let permit = Permit::internal(Operation::Stat(path.clone()));
    let target = Target::new(permit, &session.root.paths).ok()?;
    match session.backend.perform(&target).await {
        Ok(Answer::Entry(entry)) => Some(Entry { name: name.to_vec(), ..entry }),
        Err(failure)
            if failure.kind == FailureKind::NotFound
                && !session.root.paths.is_above_rewritten(path) =>
        {
            None
        }
        // A server may refuse the attributes of a folder that can be used.
        _ => Some(Entry::new(name, EntryKind::Directory)),
    }
}
