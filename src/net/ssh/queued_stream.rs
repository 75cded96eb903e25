//! The stream under russh, with a bounded write queue.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::task;
use crate::wire::ssh::PreambleFilter;

/// The size of the read buffer, in bytes: at first, and at most once reads fill it.
const READ_SIZE_MIN: usize = 8 * 1024;
const READ_SIZE_MAX: usize = 256 * 1024;
/// Reads after which the buffer shrinks to fit the largest of them.
const READS_PER_RESIZE: u8 = 4;
/// The queue's memory is freed after this long without a write.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Writes up to this size, in bytes, bypass an empty queue: small responses need no switch to another
/// task. Larger ones are queued, so that their caller can encrypt the next.
const DIRECT_WRITE_MAX: usize = 16 * 1024;
/// The most bytes of [`FirstBytes`]: more than a KEXINIT.
const KEXINIT_BYTES_MAX: usize = 8 * 1024;
/// For the bytes that are still queued when the stream is dropped.
const FINAL_WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose writes are queued for a writer task. russh does not read while it writes: two of its
/// sessions that both send in bulk would deadlock. The queue is bounded; it must hold as much as the peer's
/// windows allow in flight, or the deadlock returns.
pub struct QueuedStream {
    read: OwnedReadHalf,
    /// `taken..filled` was read from the socket and not yet by the caller.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    /// The largest read since the last resize, in bytes, and the number of reads.
    largest: usize,
    reads: u8,
    write: Arc<OwnedWriteHalf>,
    shared: Arc<Shared>,
    first: Option<FirstBytes>,
    /// Until the peer's identification string has arrived.
    preamble: Option<PreambleFilter>,
    /// Of the write queue, in bytes.
    capacity: usize,
}

/// The first bytes that the peer of a [`QueuedStream`] sent, until they are taken.
#[derive(Clone, Default)]
pub struct FirstBytes(Arc<Mutex<Option<Vec<u8>>>>);

/// Aborts a [`QueuedStream`] that is owned elsewhere.
pub struct AbortHandle(Arc<Shared>);

/// Reports that the peer closed a [`QueuedStream`], even while the owner does not read.
pub struct PeerClosed(Weak<OwnedWriteHalf>);

#[derive(Default)]
struct Shared {
    aborted: AtomicBool,
    reader: AtomicWaker,
    queue: Mutex<Queue>,
    /// The queue has bytes, or has ended.
    work: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes taken by the writer task and not yet written.
    writing: usize,
    /// No more writes follow.
    ended: bool,
    /// Why writes fail.
    broken: Option<io::ErrorKind>,
    /// Waits for room.
    waker: Option<Waker>,
}

impl QueuedStream {
    /// `capacity`: of the write queue, in bytes.
    pub fn new(tcp: TcpStream, capacity: usize) -> Self {
        let (read, write) = tcp.into_split();
        let write = Arc::new(write);
        let shared = Arc::new(Shared::default());
        task::spawn(write_queue(write.clone(), shared.clone()));
        let buffer = vec![0; READ_SIZE_MIN];
        let (first, preamble, taken, filled, largest, reads) = Default::default();
        Self {
            read,
            buffer,
            taken,
            filled,
            largest,
            reads,
            write,
            shared,
            first,
            preamble,
            capacity,
        }
    }

    /// Removes the lines before a server's identification string: russh rejects long ones.
    pub fn skip_to_identification(&mut self) {
        self.preamble = Some(PreambleFilter::default());
    }

    /// Keeps the first bytes that the peer sends. To be called before the first read.
    pub fn first_bytes(&mut self) -> FirstBytes {
        let first = FirstBytes(Arc::new(Mutex::new(Some(Vec::new()))));
        self.first.insert(first).clone()
    }

    /// Can abort the stream after russh has taken it.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.shared.clone())
    }

    /// Can wait for the peer's close after russh has taken the stream.
    pub fn peer_closed(&self) -> PeerClosed {
        PeerClosed(Arc::downgrade(&self.write))
    }

    /// Reads from the socket once the buffer is empty.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.taken < self.filled {
            return Poll::Ready(Ok(()));
        }
        self.resize_buffer();
        loop {
            (self.taken, self.filled) = (0, 0);
            let mut buf = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut self.read).poll_read(cx, &mut buf))?;
            self.filled = buf.filled().len();
            if self.first.as_ref().is_some_and(|first| !first.add(&self.buffer[..self.filled])) {
                self.first = None;
            }
            if self.filled == 0 || self.is_identified()? {
                break;
            }
        }
        self.largest = self.largest.max(self.filled);
        self.reads = self.reads.saturating_add(1);
        Poll::Ready(Ok(()))
    }

    /// Whether the buffer is for the caller; removes what precedes the identification string.
    fn is_identified(&mut self) -> io::Result<bool> {
        let Some(preamble) = &mut self.preamble else { return Ok(true) };
        let skipped = preamble.skip(&self.buffer[..self.filled]);
        let rest = skipped.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let Some(rest) = rest else { return Ok(false) };
        // It may include bytes of an earlier read.
        self.buffer.resize(self.buffer.len().max(rest.len()), 0);
        self.buffer[..rest.len()].copy_from_slice(&rest);
        (self.filled, self.preamble) = (rest.len(), None);
        Ok(true)
    }

    /// Grows the buffer when a read filled it; shrinks it after a few small reads, such as an idle
    /// connection's keepalives.
    fn resize_buffer(&mut self) {
        let size = self.buffer.len();
        let new_size = if self.filled == size {
            (size * 2).min(READ_SIZE_MAX)
        } else if self.reads < READS_PER_RESIZE {
            return;
        } else {
            (self.largest * 2).next_power_of_two().clamp(READ_SIZE_MIN, size)
        };
        if new_size != size {
            self.buffer = vec![0; new_size];
        }
        (self.largest, self.reads) = (0, 0);
    }
}

impl FirstBytes {
    /// The bytes so far; no more are kept.
    pub fn take(&self) -> Vec<u8> {
        self.lock().take().unwrap_or_default()
    }

    /// Returns whether more bytes must be kept.
    fn add(&self, bytes: &[u8]) -> bool {
        let mut kept = self.lock();
        let Some(kept) = &mut *kept else { return false };
        let room = KEXINIT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        kept.len() < KEXINIT_BYTES_MAX
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AbortHandle {
    /// From now on reads and writes fail. Bytes that are queued already are still sent.
    pub fn abort(&self) {
        self.0.aborted.store(true, Ordering::Release);
        self.0.reader.wake();
        let mut queue = self.0.lock();
        queue.broken = Some(io::ErrorKind::ConnectionAborted);
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }
}

impl PeerClosed {
    /// Returns once the peer has closed, even with unread bytes left, or the stream is dropped. Cancel
    /// safe.
    pub async fn wait(&self) {
        let Some(socket) = self.0.upgrade() else { return };
        // Reports the end only: SSH has no urgent data.
        let _ = socket.ready(Interest::PRIORITY).await;
    }
}

/// Writes until the queue ends or the connection breaks.
async fn write_queue(write: Arc<OwnedWriteHalf>, shared: Arc<Shared>) {
    let mut spare = Vec::new();
    loop {
        let ended = {
            let mut queue = shared.lock();
            queue.writing = 0;
            if let Some(waker) = queue.waker.take() {
                waker.wake();
            }
            std::mem::swap(&mut queue.bytes, &mut spare);
            queue.writing = spare.len();
            queue.ended
        };
        if spare.is_empty() {
            if ended {
                let _ = SockRef::from(write.as_ref().as_ref()).shutdown(Shutdown::Write);
                return;
            }
            if timeout(IDLE_TIMEOUT, shared.work.notified()).await.is_err() {
                spare = Vec::new();
                shared.lock().shrink();
                shared.work.notified().await;
            }
            continue;
        }
        if let Err(error) = shared.write(&write, &spare).await {
            let mut queue = shared.lock();
            queue.broken = Some(error.kind());
            queue.bytes = Vec::new();
            if let Some(waker) = queue.waker.take() {
                waker.wake();
            }
            return;
        }
        spare.clear();
    }
}

async fn write_all(write: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        write.writable().await?;
        match write.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Queue {
    fn shrink(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without a timeout as long as the stream has an owner, which has its own.
    async fn write(&self, write: &OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
        let writing = write_all(write, bytes);
        tokio::pin!(writing);
        loop {
            tokio::select! {
                biased;
                written = &mut writing => return written,
                () = self.work.notified() => {
                    if self.lock().ended {
                        let last = timeout(FINAL_WRITE_TIMEOUT, &mut writing).await;
                        return last.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
        }
    }

    fn end(&self) {
        self.lock().ended = true;
        self.work.notify_one();
    }
}

impl AsyncRead for QueuedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.shared.reader.register(cx.waker());
        if self.shared.aborted.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        ready!(self.poll_fill(cx))?;
        let this = &mut *self;
        let unread = this.buffer.get(this.taken..this.filled).unwrap_or_default();
        let given = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..given]);
        this.taken += given;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for QueuedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut queue = self.shared.lock();
        if let Some(kind) = queue.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let waiting = queue.bytes.len() + queue.writing;
        if waiting == 0
            && bytes.len() <= DIRECT_WRITE_MAX
            && let Ok(written @ 1..) = self.write.try_write(bytes)
        {
            return Poll::Ready(Ok(written));
        }
        let room = self.capacity.saturating_sub(waiting);
        if room == 0 {
            queue.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.len().min(room);
        queue.bytes.extend_from_slice(&bytes[..taken]);
        drop(queue);
        self.shared.work.notify_one();
        Poll::Ready(Ok(taken))
    }

    /// Returns at once: the writer task sends what is queued.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for QueuedStream {
    fn drop(&mut self) {
        self.shared.end();
    }
}

#[cfg(test)]
mod tests;
