//! A file that its backend reads and writes only in sequence, offered at any offset. Reads and
//! writes that come out of order inside a bounded window are put in order; a reader's seek restarts
//! the transfer; what would need random writes is refused, never done wrong.

mod actor;
mod ahead;
mod reading;
mod tail;
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
use actor::{Actor, Request};

/// How far apart from where a transfer is, in bytes, a read or write may be to wait for it; the most
/// that is held of either.
const WINDOW: u64 = 4 * 1024 * 1024;
/// In how many pieces that may be: small ones cost more than their bytes.
const PIECES: usize = 1024;
/// For so long bytes are held for readers who do not come, where no transfer runs.
const HELD: Duration = Duration::from_secs(10);
/// For so long a read transfer without readers keeps what others want.
const IDLE: Duration = Duration::from_secs(2);

/// A file of a backend that knows transfers only. Each method has its own deadlines.
#[async_trait]
pub(super) trait SequentialFile: Send + Sync {
    /// Reads from `offset` bytes on.
    async fn open_read(&self, offset: u64) -> Result<Box<dyn SequentialRead>, Failure>;

    async fn open_write(&self, from: WriteFrom) -> Result<Box<dyn SequentialWrite>, Failure>;

    /// Bytes, as the backend says now; `None` where there is no such file.
    async fn size(&self) -> Result<Option<u64>, Failure>;

    /// Fails where a read from the middle on would be of another file than the earlier ones.
    async fn check_same(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Returns when somebody else waits for what a read transfer of this file holds. One without
    /// readers is given up then, and begun anew for the next one. Cancel safe.
    async fn wanted(&self) {
        std::future::pending().await
    }

    /// What was written has no running transfer, and will never be whole.
    async fn abandon(&self) {}

    /// After [`WriteFrom::Over`]: the bytes of the old file from `from`, at least up to `to`, which
    /// are to be a part of the new one.
    async fn open_old(&self, _from: u64, _to: u64) -> Result<Box<dyn SequentialRead>, Failure> {
        Err(unsupported("the backend cannot replace a file that is there"))
    }

    /// After [`WriteFrom::Over`]: nothing of the old file will be asked for.
    async fn release_old(&self) {}
}

/// Where a transfer writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteFrom {
    /// A new file; what an old one had is gone.
    Start,
    /// Behind what the file has.
    End,
    /// A new file that takes the old one's place once it is whole. Until then, and after a cut, the
    /// old one is as it was.
    Over,
}

/// A file being read in sequence. It ends in `finish` or `abort`.
#[async_trait]
pub(super) trait SequentialRead: Send {
    /// Appends some bytes; how many. 0: there are no more, and `finish` says whether that was all.
    /// Cancel safe.
    async fn read(&mut self, into: &mut BytesMut) -> Result<usize, Failure>;

    /// What the backend says about the end.
    async fn finish(self: Box<Self>) -> Result<(), Failure>;

    /// Before the end. Returns what the backend had against the transfer, if it said so.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// A file being written in sequence. It ends in `finish` or `abort`.
#[async_trait]
pub(super) trait SequentialWrite: Send {
    async fn write(&mut self, data: Bytes) -> Result<(), Failure>;

    /// All so far is written: returns when the backend has it safe. `whole`: nothing more will be.
    async fn finish(self: Box<Self>, whole: bool) -> Result<(), Failure>;

    /// Cut. Returns what the backend had against the transfer, if it said so.
    async fn abort(self: Box<Self>) -> Option<Failure>;
}

/// What an opened file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Purpose {
    pub(super) read: bool,
    pub(super) write: Option<Begin>,
}

/// How the first write of an opened file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// A new or emptied file, made when it is opened.
    Start,
    /// Behind what there is, each write, whatever its offset; begun when it is opened.
    End,
    /// Begun with the first write: behind what there is, or at 0, which replaces the file
    /// ([`WriteFrom::Over`]); what the writes do not reach stays unless a size is set.
    Existing,
}

/// The file at any offset. Requests take effect in the order of the calls. Dropped without `close`
/// or `abort`, it counts as aborted.
pub(super) struct Sequenced {
    requests: mpsc::UnboundedSender<Request>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    known: Arc<Known>,
}

/// What the actor lets others know.
#[derive(Debug)]
struct Known {
    /// Bytes, and until when that counts.
    size: Mutex<Option<(u64, Option<Instant>)>>,
    /// A write has begun and its end is not confirmed.
    unfinished: AtomicBool,
}

impl Sequenced {
    /// Opens for the purpose: reads begin at once at 0 where nothing is written, and so do writes
    /// that begin a file or append, so that the backend's refusal comes here.
    /// `early`: what the writes of all files may hold that came before their turn.
    pub(super) async fn open(
        file: Arc<dyn SequentialFile>,
        purpose: Purpose,
        early: Budget,
    ) -> Result<Self, Failure> {
        let known = Arc::new(Known { size: Mutex::default(), unfinished: AtomicBool::new(false) });
        let (requests, queue) = mpsc::unbounded_channel();
        let actor = Actor::open(file, purpose, queue, known.clone(), early).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(actor.run(stop.clone()));
        Ok(Self { requests, stop, task: Mutex::new(Some(task)), known })
    }

    /// Up to `length` bytes from `offset`: fewer only at the end, or behind bytes that were read
    /// before; `None` at and behind the end, once the backend has said that it is the end.
    pub(super) fn read_at(
        &self,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'static, Result<Option<Bytes>, Failure>> {
        self.ask(|answer| Request::Read { offset, length, answer })
    }

    /// Answered when the backend's transfer has taken it, or when it is held for what comes before
    /// it.
    pub(super) fn write_at(
        &self,
        offset: u64,
        data: Bytes,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        self.ask(|answer| Request::Write { offset, data, answer })
    }

    /// To nothing, to what the size is, or, while a file is replaced, to what it is to keep; else
    /// refused.
    pub(super) async fn truncate(&self, size: u64) -> Result<(), Failure> {
        self.ask(|answer| Request::Truncate { size, answer }).await
    }

    /// Ends the transfer of what was written; later writes go on behind it.
    pub(super) async fn sync(&self) -> Result<(), Failure> {
        self.ask(|answer| Request::Sync { answer }).await
    }

    /// What was written is whole, as far as the backend says so; else its failure.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        self.ask(|answer| Request::Close { answer }).await
    }

    /// Cut: returns when the transfer that was under way has ended.
    pub(super) async fn abort(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A task that panicked has ended, too.
            let _ = task.await;
        }
    }

    /// Returns when all writes so far have been taken, or refused.
    pub(super) async fn reached(&self) {
        // Of a closed file nothing more is to come.
        let _ = self.ask(|answer| Request::Reached { answer }).await;
    }

    /// Bytes, where it is known from what was written, or from a read's end not long ago.
    pub(super) fn size(&self) -> Option<u64> {
        self.known.size()
    }

    /// Whether something is being written whose end the backend has not confirmed.
    pub(super) fn is_unfinished(&self) -> bool {
        self.known.unfinished.load(Ordering::Acquire)
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Request,
    ) -> BoxFuture<'static, Result<T, Failure>> {
        let (answer, answered) = oneshot::channel();
        // Without the actor the answer's sender is dropped with the request.
        let _ = self.requests.send(request(answer));
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(closed())) })
    }
}

impl Drop for Sequenced {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Known {
    fn size(&self) -> Option<u64> {
        let (size, until) = (*self.size.lock().unwrap_or_else(PoisonError::into_inner))?;
        until.is_none_or(|until| Instant::now() < until).then_some(size)
    }

    fn set_size(&self, size: Option<(u64, Option<Instant>)>) {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
    }

    fn set_unfinished(&self, unfinished: bool) {
        self.unfinished.store(unfinished, Ordering::Release);
    }
}

fn closed() -> Failure {
    Failure::client(FailureKind::Aborted, "the file was closed before this was done")
}

fn unsupported(message: impl std::fmt::Display) -> Failure {
    Failure::backend(FailureKind::Unsupported, message)
}
