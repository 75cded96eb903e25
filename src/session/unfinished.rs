//! Files that are open for writing, asked for by their paths meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::OpenFile;
use crate::op::{Answer, Failure, Operation, RemotePath};

/// The files that a session has open for writing, by their paths at the backend: what has no name of
/// its own before its end, or not all its bytes, answers itself for its path.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<HashMap<RemotePath, Weak<dyn OpenFile>>>);

impl Unfinished {
    pub(super) fn begin(&self, path: RemotePath, file: &Arc<dyn OpenFile>) {
        let mut all = self.lock();
        all.retain(|_, file| file.strong_count() > 0);
        all.insert(path, Arc::downgrade(file));
    }

    pub(super) fn end(&self, file: &Arc<dyn OpenFile>) {
        let file = Arc::downgrade(file);
        self.lock().retain(|_, other| !other.ptr_eq(&file));
    }

    /// What an open file answers in the backend's stead; `None` where that knows.
    pub(super) async fn answer(&self, operation: &Operation) -> Option<Result<Answer, Failure>> {
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

    /// What has lost its name, or lies in a folder that has, answers for it no more.
    pub(super) fn note_done(&self, operation: &Operation) {
        match operation {
            Operation::Remove(path) | Operation::Rename { from: path, .. } => {
                self.lock().retain(|known, _| known.strip_root(path).is_none());
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
