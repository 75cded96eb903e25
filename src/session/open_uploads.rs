//! Operations on the paths of files that are open for writing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::OpenFile;
use crate::op::{Answer, Failure, Operation, RemotePath};

/// The files that a session has open for writing, by their paths at the backend. A file that is
/// stored under its name only at its end, or is incomplete before, serves operations on its path
/// itself.
#[derive(Default)]
pub(super) struct OpenUploads(Mutex<HashMap<RemotePath, Weak<dyn OpenFile>>>);

impl OpenUploads {
    pub(super) fn insert(&self, path: RemotePath, file: &Arc<dyn OpenFile>) {
        let mut all = self.lock();
        all.retain(|_, file| file.strong_count() > 0);
        all.insert(path, Arc::downgrade(file));
    }

    pub(super) fn remove(&self, file: &Arc<dyn OpenFile>) {
        let file = Arc::downgrade(file);
        self.lock().retain(|_, other| !other.ptr_eq(&file));
    }

    /// Performs an operation on an open file; `None` where the backend must perform it.
    pub(super) async fn perform(&self, operation: &Operation) -> Option<Result<Answer, Failure>> {
        match operation {
            Operation::Stat(path) | Operation::LinkStat(path) => {
                let stat = self.find(path)?.stat().await;
                Some(stat.map(Answer::Entry))
            }
            Operation::SetAttributes { path, changes, .. } => {
                let set = self.find(path)?.set_attributes(changes).await;
                Some(set.map(|()| Answer::Done(None)))
            }
            _ => None,
        }
    }

    /// Removes files whose path, or a directory above it, was removed or renamed.
    pub(super) fn remove_moved(&self, operation: &Operation) {
        match operation {
            Operation::Remove(path) | Operation::Rename { from: path, .. } => {
                self.lock().retain(|open, _| open.strip_root(path).is_none());
            }
            _ => {}
        }
    }

    fn find(&self, path: &RemotePath) -> Option<Arc<dyn OpenFile>> {
        let file = self.lock().get(path)?.upgrade()?;
        file.answers_for_path().then_some(file)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RemotePath, Weak<dyn OpenFile>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
