use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

/// What one read of the socket may bring, in bytes.
const READ: usize = 256 * 1024;
/// A spare buffer larger than this is given back, in bytes.
const SPARE: usize = 64 * 1024;
/// What is left to be written when the stream is dropped gets this long.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A connection whose writes only queue, for a task that writes. russh reads nothing while it writes:
/// two of its sessions that both send in bulk would wait for each other for ever. The queue is bounded;
/// it must hold what the peer's windows allow to be under way, or that wait is back.
pub struct Queued {
    read: BufReader<OwnedReadHalf>,
    shared: Arc<Shared>,
    /// The most bytes that wait to be written.
    capacity: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or the end.
    work: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Taken by the writer, but not yet written.
    writing: usize,
    /// Nothing more will come.
    ended: bool,
    /// Why nothing can be written any more.
    broken: Option<io::ErrorKind>,
    /// Waits for room.
    waker: Option<Waker>,
}

impl Queued {
    /// `capacity`: the most bytes that wait to be written.
    pub fn new(tcp: TcpStream, capacity: usize) -> Self {
        let (read, write) = tcp.into_split();
        let shared = Arc::new(Shared::default());
        tokio::spawn(write_queue(write, shared.clone()));
        Self { read: BufReader::with_capacity(READ, read), shared, capacity }
    }
}

/// Writes until the queue has ended or the connection is broken.
async fn write_queue(mut write: OwnedWriteHalf, shared: Arc<Shared>) {
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
                let _ = write.shutdown().await;
                return;
            }
            spare.shrink_to(SPARE);
            shared.work.notified().await;
            continue;
        }
        if let Err(error) = shared.write(&mut write, &spare).await {
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without a deadline as long as somebody owns the stream; they have their own.
    async fn write(&self, write: &mut OwnedWriteHalf, bytes: &[u8]) -> io::Result<()> {
        let writing = write.write_all(bytes);
        tokio::pin!(writing);
        loop {
            tokio::select! {
                biased;
                written = &mut writing => return written,
                () = self.work.notified() => {
                    if self.lock().ended {
                        let last = timeout(LAST_WORDS, &mut writing).await;
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

impl AsyncRead for Queued {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Queued {
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

    /// At once: what is queued is on its way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.shared.end();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn what_is_written_before_the_drop_arrives_then_the_end() {
        let (near, mut far) = pair().await;
        let data: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
        let mut queued = Queued::new(near, 100_000);
        let received = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all
        });
        queued.write_all(&data).await.unwrap();
        drop(queued);
        assert!(received.await.unwrap() == data);
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_its_writer_wakes_who_waits() {
        let (near, mut far) = pair().await;
        let mut queued = Queued::new(near, 1000);
        let mut sent = 0;
        // Until neither the kernel nor the queue takes more.
        while let Ok(written) =
            timeout(Duration::from_millis(200), queued.write(&[7; 64 * 1024])).await
        {
            let written = written.unwrap();
            assert!(written <= 1000);
            sent += written;
        }
        let reader = tokio::spawn(async move {
            let mut all = 0;
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = far.read(&mut bytes).await {
                all += n;
            }
            all
        });
        queued.write_all(&[7; 5000]).await.unwrap();
        drop(queued);
        assert_eq!(reader.await.unwrap(), sent + 5000);
    }

    #[tokio::test]
    async fn a_broken_connection_is_told() {
        let (near, far) = pair().await;
        crate::net::reset_on_drop(&far);
        drop(far);
        let mut queued = Queued::new(near, 1000);
        let broken = async { while queued.write_all(&[7; 1000]).await.is_ok() {} };
        timeout(Duration::from_secs(10), broken).await.unwrap();
    }
}
