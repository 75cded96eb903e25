//! The open handles of one channel (draft-ietf-secsh-filexfer-02 section 6.2). A handle is a number
//! that is not reused before all others were used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::directory::Directory;
use crate::op::{Failure, FailureKind, OpenMode, RemotePath};
use crate::session::OpenedFile;

/// Open handles of one channel.
pub(super) const HANDLES_MAX: usize = 256;

pub(super) struct Handles {
    open: HashMap<u32, (Handle, HandleSlot)>,
    slots: Arc<Semaphore>,
    next: u32,
}

/// A slot for one handle, reserved before the file is opened.
pub(super) struct HandleSlot(
    #[expect(dead_code, reason = "released when dropped")] OwnedSemaphorePermit,
);

#[derive(Clone)]
pub(super) enum Handle {
    File(Arc<File>),
    Directory(Arc<Directory>),
}

/// An open file and its unfinished requests.
pub(super) struct File {
    pub(super) file: OpenedFile,
    /// As opened: the file may have been renamed since.
    pub(super) path: RemotePath,
    pub(super) mode: OpenMode,
    requests: FileRequests,
    /// Closed when the latest READ, WRITE or CLOSE is answered.
    latest: Mutex<Option<oneshot::Receiver<()>>>,
}

/// The requests that CLOSE waits for.
#[derive(Default)]
struct FileRequests {
    state: Mutex<RequestState>,
    finished: Notify,
}

#[derive(Default)]
struct RequestState {
    unfinished: usize,
    /// The first failed write, after which the file is incomplete.
    failed: Option<Failure>,
}

/// An unfinished READ, WRITE or copy; finished when dropped.
pub(super) struct RequestGuard(Arc<File>);

impl Handles {
    pub(super) fn new() -> Self {
        Self { open: HashMap::new(), slots: Arc::new(Semaphore::new(HANDLES_MAX)), next: 0 }
    }

    /// Reserves a slot for a handle.
    pub(super) fn reserve(&self) -> Result<HandleSlot, Failure> {
        self.slots.clone().try_acquire_owned().map(HandleSlot).map_err(|_| {
            let reason = format!("{HANDLES_MAX} handles are open on this channel; close one first");
            Failure::client(FailureKind::Busy, reason)
        })
    }

    pub(super) fn insert(&mut self, handle: Handle, slot: HandleSlot) -> Bytes {
        // After 2^32 handles the numbers wrap around.
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, (handle, slot));
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    pub(super) fn file(&self, handle: &Bytes) -> Result<Arc<File>, Failure> {
        match self.get(handle) {
            Some(Handle::File(file)) => Ok(file.clone()),
            Some(Handle::Directory(_)) => Err(invalid("the handle is a directory's, not a file's")),
            None => Err(unknown()),
        }
    }

    pub(super) fn directory(&self, handle: &Bytes) -> Result<Arc<Directory>, Failure> {
        match self.get(handle) {
            Some(Handle::Directory(directory)) => Ok(directory.clone()),
            Some(Handle::File(_)) => Err(invalid("the handle is a file's, not a directory's")),
            None => Err(unknown()),
        }
    }

    /// Invalidates a handle.
    pub(super) fn remove(&mut self, handle: &Bytes) -> Result<Handle, Failure> {
        let number = number(handle).and_then(|number| self.open.remove(&number));
        number.map(|(handle, _)| handle).ok_or_else(unknown)
    }

    pub(super) fn remove_all(&mut self) -> Vec<Handle> {
        self.open.drain().map(|(_, (handle, _))| handle).collect()
    }

    /// Whether no handle is open or being opened.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.available_permits() == HANDLES_MAX
    }

    fn get(&self, handle: &Bytes) -> Option<&Handle> {
        self.open.get(&number(handle)?).map(|(handle, _)| handle)
    }
}

impl Handle {
    /// Ends without CLOSE, which leaves a written file incomplete. `answered`: every request was
    /// answered.
    pub(super) async fn abandon(self, failure: &Failure, answered: bool) {
        match self {
            Handle::File(file) if file.writes() => {
                let failed = file.requests.lock().failed.take();
                file.file.abort(failed.as_ref().unwrap_or(failure)).await;
            }
            Handle::File(file) => file.file.end_without_close(failure, answered).await,
            Handle::Directory(directory) => directory.abandon(failure).await,
        }
    }
}

impl File {
    pub(super) fn new(file: OpenedFile, path: RemotePath, mode: OpenMode) -> Self {
        Self { file, path, mode, requests: FileRequests::default(), latest: Mutex::default() }
    }

    pub(super) fn writes(&self) -> bool {
        self.mode.writes()
    }

    /// The same work, answered after all earlier requests on the file. The protocol does not
    /// require this, but clients do: OpenSSH's scp truncates its copy where responses to READs are
    /// out of order, and paramiko waits forever for a response to a WRITE that came early.
    pub(super) fn in_order<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (answered, latest) = oneshot::channel();
        let earlier = self.latest.lock().unwrap_or_else(PoisonError::into_inner).replace(latest);
        Box::pin(async move {
            let outcome = work.await;
            if let Some(earlier) = earlier {
                // The sender is dropped and sends nothing.
                let _: Result<(), _> = earlier.await;
            }
            drop(answered);
            outcome
        })
    }

    /// Starts a request that reads or modifies the data.
    pub(super) fn start_request(self: &Arc<Self>) -> RequestGuard {
        self.requests.lock().unfinished += 1;
        RequestGuard(self.clone())
    }

    /// Closes the file after its unfinished requests, whose reads belong to the record. After a
    /// failed write the file is aborted, and the close fails like the write.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        while self.requests.lock().unfinished > 0 {
            self.requests.finished.notified().await;
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

impl RequestGuard {
    /// Notes the outcome of a write.
    pub(super) fn finish_write<T>(self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &outcome {
            let mut state = self.0.requests.lock();
            state.failed.get_or_insert_with(|| failure.clone());
        }
        outcome
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.0.requests.lock();
        state.unfinished = state.unfinished.saturating_sub(1);
        if state.unfinished == 0 {
            self.0.requests.finished.notify_one();
        }
    }
}

fn number(handle: &Bytes) -> Option<u32> {
    Some(u32::from_be_bytes(handle.as_ref().try_into().ok()?))
}

fn unknown() -> Failure {
    invalid("no such handle")
}

fn invalid(reason: &str) -> Failure {
    Failure::client(FailureKind::InvalidArgument, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Handle {
        Handle::Directory(Arc::new(Directory::finished()))
    }

    #[test]
    fn handles_are_bounded_and_not_reused() {
        let mut handles = Handles::new();
        let open =
            |handles: &mut Handles| handles.reserve().map(|slot| handles.insert(directory(), slot));
        let mut given: Vec<_> = (0..HANDLES_MAX).map(|_| open(&mut handles).unwrap()).collect();
        assert_eq!(open(&mut handles).unwrap_err().kind, FailureKind::Busy);
        let first = given.remove(0);
        assert!(handles.remove(&first).is_ok());
        assert!(handles.remove(&first).is_err());
        // A reserved slot counts until it is released.
        let slot = handles.reserve().unwrap();
        assert!(handles.reserve().is_err());
        drop(slot);
        let again = open(&mut handles).unwrap();
        assert!(again != first && !given.contains(&again));
        assert_eq!(handles.remove_all().len(), HANDLES_MAX);
        assert!(handles.is_empty());
    }

    #[test]
    fn only_the_exact_bytes_of_a_handle_are_valid() {
        let mut handles = Handles::new();
        let slot = handles.reserve().unwrap();
        let handle = handles.insert(directory(), slot);
        assert!(handles.directory(&handle).is_ok());
        assert_eq!(handles.file(&handle).err().unwrap().kind, FailureKind::InvalidArgument);
        let longer = [&handle[..], b"\0"].concat();
        for wrong in [b"" as &[u8], b"\0\0\0\x07", &longer] {
            assert!(handles.directory(&Bytes::copy_from_slice(wrong)).is_err());
        }
    }
}
