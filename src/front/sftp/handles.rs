//! What a client has open on one channel. A handle is a number that is not used again before
//! all others were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::folder::Folder;
use crate::op::{Failure, FailureKind, OpenMode, RemotePath};
use crate::session::OpenedFile;

/// Handles that one channel may have open at once.
pub(super) const MOST: usize = 256;

pub(super) struct Handles {
    open: HashMap<u32, (Handle, Place)>,
    places: Arc<Semaphore>,
    next: u32,
}

/// A place for one handle, from the moment that it is asked for.
pub(super) struct Place(
    #[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit,
);

#[derive(Clone)]
pub(super) enum Handle {
    File(Arc<File>),
    Folder(Arc<Folder>),
}

/// An open file with the requests on it that are under way.
pub(super) struct File {
    pub(super) file: OpenedFile,
    /// As it was opened: since then it may have got another name.
    pub(super) path: RemotePath,
    pub(super) mode: OpenMode,
    requests: FileRequests,
    /// Comes when the last READ, WRITE or CLOSE so far is answered.
    last: Mutex<Option<oneshot::Receiver<()>>>,
}

/// What CLOSE waits for.
#[derive(Default)]
struct FileRequests {
    state: Mutex<RequestState>,
    settled: Notify,
}

#[derive(Default)]
struct RequestState {
    under_way: usize,
    /// The first write that failed: the file is not what the client meant.
    failed: Option<Failure>,
}

/// A READ, WRITE or copy under way; over when dropped.
pub(super) struct UnderWay(Arc<File>);

impl Handles {
    pub(super) fn new() -> Self {
        Self { open: HashMap::new(), places: Arc::new(Semaphore::new(MOST)), next: 0 }
    }

    /// A place for a handle that is to be opened.
    pub(super) fn reserve(&self) -> Result<Place, Failure> {
        self.places.clone().try_acquire_owned().map(Place).map_err(|_| {
            let why = format!("{MOST} files and folders are open; close one first");
            Failure::client(FailureKind::Busy, why)
        })
    }

    pub(super) fn opened(&mut self, handle: Handle, place: Place) -> Bytes {
        // After 2^32 files the numbers begin anew, past what is still open.
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, (handle, place));
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    pub(super) fn file(&self, handle: &Bytes) -> Result<Arc<File>, Failure> {
        match self.get(handle) {
            Some(Handle::File(file)) => Ok(file.clone()),
            Some(Handle::Folder(_)) => Err(invalid("that handle is a folder's, not a file's")),
            None => Err(unknown()),
        }
    }

    pub(super) fn folder(&self, handle: &Bytes) -> Result<Arc<Folder>, Failure> {
        match self.get(handle) {
            Some(Handle::Folder(folder)) => Ok(folder.clone()),
            Some(Handle::File(_)) => Err(invalid("that handle is a file's, not a folder's")),
            None => Err(unknown()),
        }
    }

    /// From now on the client has it no more.
    pub(super) fn remove(&mut self, handle: &Bytes) -> Result<Handle, Failure> {
        let number = number(handle).and_then(|number| self.open.remove(&number));
        number.map(|(handle, _)| handle).ok_or_else(unknown)
    }

    pub(super) fn remove_all(&mut self) -> Vec<Handle> {
        self.open.drain().map(|(_, (handle, _))| handle).collect()
    }

    /// Nothing is open or being opened.
    pub(super) fn is_empty(&self) -> bool {
        self.places.available_permits() == MOST
    }

    fn get(&self, handle: &Bytes) -> Option<&Handle> {
        self.open.get(&number(handle)?).map(|(handle, _)| handle)
    }
}

impl Handle {
    /// It ends without CLOSE: what was written is not whole. `answered`: every request was answered.
    pub(super) async fn abandon(self, failure: &Failure, answered: bool) {
        match self {
            Handle::File(file) if file.writes() => {
                let failed = file.requests.lock().failed.take();
                file.file.abort(failed.as_ref().unwrap_or(failure)).await;
            }
            Handle::File(file) => file.file.end_without_close(failure, answered).await,
            Handle::Folder(folder) => folder.abandon(failure).await,
        }
    }
}

impl File {
    pub(super) fn new(file: OpenedFile, path: RemotePath, mode: OpenMode) -> Self {
        Self { file, path, mode, requests: FileRequests::default(), last: Mutex::default() }
    }

    pub(super) fn writes(&self) -> bool {
        self.mode.writes()
    }

    /// The same work, but answered behind all that was asked of the file before it. The protocol does not ask for
    /// that, clients do: OpenSSH's scp cuts its copy off where answers to READs change places, and
    /// paramiko waits for ever for an answer to a WRITE that came early.
    pub(super) fn in_line<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (answered, last) = oneshot::channel();
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(last);
        Box::pin(async move {
            let outcome = work.await;
            if let Some(before) = before {
                // It is dropped, not sent.
                let _: Result<(), _> = before.await;
            }
            drop(answered);
            outcome
        })
    }

    /// Something that reads or changes the data is under way.
    pub(super) fn under_way(self: &Arc<Self>) -> UnderWay {
        self.requests.lock().under_way += 1;
        UnderWay(self.clone())
    }

    /// The client has said that this is all. What is under way is waited for: what was read is for the
    /// record. Had a write failed, the file is cut, and the close fails as the write did.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        while self.requests.lock().under_way > 0 {
            self.requests.settled.notified().await;
        }
        let failed = self.requests.lock().failed.take();
        match failed {
            None => self.file.close().await,
            Some(failure) => {
                self.file.abort(&failure).await;
                Err(failure)
            }
        }
    }
}

impl FileRequests {
    fn lock(&self) -> std::sync::MutexGuard<'_, RequestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// What became of a write.
    pub(super) fn written<T>(self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &outcome {
            let mut state = self.0.requests.lock();
            state.failed.get_or_insert_with(|| failure.clone());
        }
        outcome
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.requests.lock();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            self.0.requests.settled.notify_one();
        }
    }
}

fn number(handle: &Bytes) -> Option<u32> {
    Some(u32::from_be_bytes(handle.as_ref().try_into().ok()?))
}

fn unknown() -> Failure {
    invalid("no such handle: it was closed, or never given out")
}

fn invalid(why: &str) -> Failure {
    Failure::client(FailureKind::InvalidArgument, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Handle {
        Handle::Folder(Arc::new(Folder::finished()))
    }

    #[test]
    fn handles_are_bounded_and_not_used_again() {
        let mut handles = Handles::new();
        let open =
            |handles: &mut Handles| handles.reserve().map(|place| handles.opened(folder(), place));
        let mut given: Vec<_> = (0..MOST).map(|_| open(&mut handles).unwrap()).collect();
        assert_eq!(open(&mut handles).unwrap_err().kind, FailureKind::Busy);
        let first = given.remove(0);
        assert!(handles.remove(&first).is_ok());
        assert!(handles.remove(&first).is_err());
        // A place that is kept counts, until it is given up.
        let place = handles.reserve().unwrap();
        assert!(handles.reserve().is_err());
        drop(place);
        let again = open(&mut handles).unwrap();
        assert!(again != first && !given.contains(&again));
        assert_eq!(handles.remove_all().len(), MOST);
        assert!(handles.is_empty());
    }

    #[test]
    fn a_handle_is_its_very_bytes() {
        let mut handles = Handles::new();
        let place = handles.reserve().unwrap();
        let handle = handles.opened(folder(), place);
        assert!(handles.folder(&handle).is_ok());
        assert_eq!(handles.file(&handle).err().unwrap().kind, FailureKind::InvalidArgument);
        let longer = [&handle[..], b"\0"].concat();
        for wrong in [b"" as &[u8], b"\0\0\0\x07", &longer] {
            assert!(handles.folder(&Bytes::copy_from_slice(wrong)).is_err());
        }
    }
}
