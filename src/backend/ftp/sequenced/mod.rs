//! Random access to a file that the backend can only transfer in sequence (RFC 959). Out-of-order
//! reads and writes within a bounded window are reordered; a seek of a reader restarts the
//! transfer; what would need random writes is refused.

mod actor;
mod copy;
mod read_buffer;
mod reading;
#[cfg(test)]
mod tests;
mod writing;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::data::Budget;
use crate::op::{Failure, FailureKind};
use crate::task;
use actor::{Actor, Request};

/// The most bytes by which a read or write may be ahead of the transfer to wait for it, and the
/// most that are held of either.
const WINDOW_SIZE: u64 = 4 * 1024 * 1024;
/// The most pieces that are held of either: small pieces cost more than their bytes.
const MAX_PIECES: usize = 1024;
/// How long bytes that were read ahead are held once no transfer runs.
const READ_AHEAD_TTL: Duration = Duration::from_secs(10);
/// How long a read transfer without readers keeps its connection when another operation requests
/// one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A file of a backend that has transfers only. Each method has its own timeouts.
#[async_trait]
pub(super) trait SequentialFile: Send + Sync {
    /// Starts a transfer from `offset` to the end.
    async fn start_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure>;

    async fn start_write(&self, from: StoreMode) -> Result<Box<dyn SequentialWrite>, Failure>;

    /// The size in bytes as the backend reports it now; `None` if there is no such file.
    async fn size(&self) -> Result<Option<u64>, Failure>;

    /// Fails if the file is no longer the one that earlier reads were of.
    async fn check_unchanged(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Returns when another operation requests the connection that a read transfer of this file
    /// holds. A transfer without readers is then aborted, and restarted for the next reader. Cancel
    /// safe.
    async fn connection_requested(&self) {
        std::future::pending::<()>().await;
    }

    /// The written bytes belong to no running transfer and will never be a whole file.
    async fn abandon(&self) {}

    /// After [`StoreMode::Replace`]: reads the original file from `from`, at least up to `to`.
    /// These bytes become part of the new file.
    async fn start_read_original(
        &self,
        _from: u64,
        _to: u64,
    ) -> Result<Box<dyn SequentialRead>, Failure> {
        Err(unsupported("the backend cannot replace an existing file"))
    }

    /// After [`StoreMode::Replace`]: nothing more of the original file will be read.
    async fn release_original(&self) {}
}

/// What a write transfer does with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreMode {
    /// A new file, or an existing one that is truncated.
    Create,
    /// Appends to the file.
    Append,
    /// A new file that takes the place of the existing one when it is complete. Until then, and
    /// after an abort, the existing file is unchanged.
    Replace,
}

/// A read transfer. It ends in `finish` or `abort`.
#[async_trait]
pub(super) trait SequentialRead: Send {
    /// Appends bytes to `into` and returns how many. 0: there are no more, and `finish` reports
    /// whether the file is complete. Cancel safe.
    async fn read(&mut self, into: &mut BytesMut) -> Result<usize, Failure>;

    /// The backend's reply to the end of the transfer.
    async fn finish(self: Box<Self>) -> Result<(), Failure>;

    /// Ends the transfer early. Returns the backend's error reply, if it sent one.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// A write transfer. It ends in `finish` or `abort`.
#[async_trait]
pub(super) trait SequentialWrite: Send {
    async fn write(&mut self, data: Bytes) -> Result<(), Failure>;

    /// Returns when the backend has stored everything so far. `whole`: no more will be written.
    async fn finish(self: Box<Self>, whole: bool) -> Result<(), Failure>;

    /// Aborts the transfer. Returns the backend's error reply, if it sent one.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// What an open file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: Option<WriteAccess>,
}

/// How the first write of an open file starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteAccess {
    /// Creates or truncates the file when it is opened.
    Create,
    /// Every write appends, whatever its offset. Started when the file is opened.
    Append,
    /// Started by the first write: at the end of the file, or at 0, which replaces the file
    /// ([`StoreMode::Replace`]). Bytes after those written are kept unless a size is set.
    Existing,
}

/// Random access to a file. Requests take effect in the order of the calls. Dropped without `close`
/// or `abort`, it is aborted.
pub(super) struct Sequenced {
    requests: mpsc::UnboundedSender<Request>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    state: Arc<FileState>,
}

/// What the actor publishes about the file.
#[derive(Debug)]
struct FileState {
    /// The size in bytes, and when it expires.
    size: Mutex<Option<(u64, Option<Instant>)>>,
    /// A write has started and its end is not confirmed.
    unfinished: AtomicBool,
}

impl Sequenced {
    /// Opens the file. Without write access a read transfer from 0 starts at once; with `Create`
    /// and `Append` a write transfer does, so that the backend's refusal is returned here.
    /// `queue_budget`: limits the writes that the session's files queue.
    pub(super) async fn open(
        file: Arc<dyn SequentialFile>,
        access: Access,
        queue_budget: Budget,
    ) -> Result<Self, Failure> {
        let state =
            Arc::new(FileState { size: Mutex::default(), unfinished: AtomicBool::new(false) });
        let (requests, queue) = mpsc::unbounded_channel();
        let actor = Actor::open(file, access, queue, state.clone(), queue_budget).await?;
        let stop = CancellationToken::new();
        let task = task::spawn(actor.run(stop.clone()));
        Ok(Self { requests, stop, task: Mutex::new(Some(task)), state })
    }

    /// Reads up to `length` bytes from `offset`. Fewer at the end of the file, or where the
    /// following bytes were read before; `None` at or after the end, once the backend has confirmed
    /// it.
    pub(super) fn read_at(
        &self,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'static, Result<Option<Bytes>, Failure>> {
        self.request(|reply| Request::Read { offset, length, reply })
    }

    /// Completes when the transfer has taken the data, or when the data is queued.
    pub(super) fn write_at(
        &self,
        offset: u64,
        data: Bytes,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        self.request(|reply| Request::Write { offset, data, reply })
    }

    /// Sets the size: to 0, to the current size, or, while a file is replaced, to a size up to
    /// which the original is kept. Anything else is refused.
    pub(super) async fn truncate(&self, size: u64) -> Result<(), Failure> {
        self.request(|reply| Request::Truncate { size, reply }).await
    }

    /// Ends the write transfer; later writes are appended.
    pub(super) async fn sync(&self) -> Result<(), Failure> {
        self.request(|reply| Request::Sync { reply }).await
    }

    /// Ends the file as complete, or returns the backend's failure.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        self.request(|reply| Request::Close { reply }).await
    }

    /// Aborts; returns when the running transfer has ended.
    pub(super) async fn abort(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A panicked task has ended, too.
            let _ = task.await;
        }
    }

    /// Returns when all earlier writes have been taken or refused.
    pub(super) async fn wait_for_writes(&self) {
        // A closed file has no earlier writes.
        let _ = self.request(|reply| Request::Barrier { reply }).await;
    }

    /// The size in bytes, if known from writes or from a recent end of a read.
    pub(super) fn size(&self) -> Option<u64> {
        self.state.size()
    }

    /// Whether there is a write whose end the backend has not confirmed.
    pub(super) fn is_unfinished(&self) -> bool {
        self.state.unfinished.load(Ordering::Acquire)
    }

    fn request<T: Send + 'static>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Request,
    ) -> BoxFuture<'static, Result<T, Failure>> {
        let (reply, received) = oneshot::channel();
        // If the actor has ended, the sender is dropped with the request.
        let _ = self.requests.send(request(reply));
        Box::pin(async move { received.await.unwrap_or_else(|_| Err(closed())) })
    }
}

impl Drop for Sequenced {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl FileState {
    fn size(&self) -> Option<u64> {
        let (size, expires) = (*self.size.lock().unwrap_or_else(PoisonError::into_inner))?;
        expires.is_none_or(|expires| Instant::now() < expires).then_some(size)
    }

    fn set_size(&self, size: Option<(u64, Option<Instant>)>) {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
    }

    fn set_unfinished(&self, unfinished: bool) {
        self.unfinished.store(unfinished, Ordering::Release);
    }
}

fn closed() -> Failure {
    Failure::client(FailureKind::Aborted, "the file was closed before the request was completed")
}

fn unsupported(message: impl std::fmt::Display) -> Failure {
    Failure::backend(FailureKind::Unsupported, message)
}
