//! From a stream of bytes to a file that takes many pieces at once.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::io::AsyncWrite;

use super::FirstError;
use super::window::Window;
use crate::op::Failure;

/// The bounds of what may be sent without an answer, in bytes.
const START: usize = 2 * 1024 * 1024;
const LEAST: usize = 1024 * 1024;
const MOST: usize = 8 * 1024 * 1024;

/// A file that takes many pieces at once.
pub trait WriteAt: Send + 'static {
    /// All of `data` at `offset`. Sent with the call, not with the first poll.
    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'static, Result<(), Failure>>;

    /// Bytes of the largest piece.
    fn largest(&self) -> u32;

    /// The shortest round trip seen.
    fn round_trip(&self) -> Duration;
}

/// Gathers a stream's bytes into large pieces and sends them without waiting for the answers, as far
/// as the connection is long. Flush and shutdown send what is gathered and wait for nothing: whether
/// all was taken, [`Behind::answers`] tells. Fails with the first refusal.
pub struct WriteBehind<W>(Arc<Mutex<State<W>>>);

/// The other handle of a [`WriteBehind`], for its end.
pub struct Behind<W>(Arc<Mutex<State<W>>>);

struct State<W> {
    file: W,
    gathered: BytesMut,
    /// Of the first byte in `gathered`.
    offset: u64,
    pieces: VecDeque<(usize, BoxFuture<'static, Result<(), Failure>>)>,
    /// Bytes in `pieces`.
    behind: usize,
    window: Window,
    /// A piece was sent.
    sent: bool,
    failed: bool,
    fault: FirstError,
}

impl<W: WriteAt> WriteBehind<W> {
    /// Writes from `offset` on. `fault` takes what the file says against it.
    pub fn new(file: W, offset: u64, fault: FirstError) -> (Self, Behind<W>) {
        let state = Arc::new(Mutex::new(State {
            file,
            gathered: BytesMut::new(),
            offset,
            pieces: VecDeque::new(),
            behind: 0,
            window: Window::new(START, LEAST, MOST),
            sent: false,
            failed: false,
            fault,
        }));
        (Self(state.clone()), Behind(state))
    }
}

impl<W: WriteAt> Behind<W> {
    /// Waits for the answers to all that was sent.
    pub async fn answers(&self) -> io::Result<()> {
        self.all_but(0).await
    }

    /// Waits until at most so many bytes have no answer.
    pub async fn all_but(&self, bytes: usize) -> io::Result<()> {
        std::future::poll_fn(|cx| lock(&self.0).poll_answers(cx, bytes)).await
    }
}

fn lock<W>(state: &Mutex<State<W>>) -> MutexGuard<'_, State<W>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: WriteAt> State<W> {
    /// Takes answers until at most so many bytes have none.
    fn poll_answers(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        if self.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while let Some((length, piece)) = self.pieces.front_mut() {
            match piece.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => {
                    let length = *length;
                    self.behind -= length;
                    self.pieces.pop_front();
                    self.window.delivered(length, self.file.round_trip());
                }
                Poll::Ready(Err(failure)) => {
                    self.failed = true;
                    self.pieces.clear();
                    self.gathered = BytesMut::new();
                    return Poll::Ready(Err(self.fault.note(failure)));
                }
                Poll::Pending if self.behind > most => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let data = std::mem::take(&mut self.gathered).freeze();
        let (length, offset) = (data.len(), self.offset);
        self.pieces.push_back((length, self.file.write_at(offset, data)));
        self.behind += length;
        self.sent = true;
        self.offset = offset.saturating_add(length as u64);
    }
}

impl<W: WriteAt> AsyncWrite for WriteBehind<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        let state = &mut *state;
        let largest = state.file.largest() as usize;
        if state.gathered.is_empty() {
            let room = state.window.size().saturating_sub(largest);
            ready!(state.poll_answers(cx, room))?;
            // A small file takes small memory; behind one piece, another whole one is to be expected.
            state.gathered.reserve(if state.sent { largest } else { bytes.len().min(largest) });
        } else if state.gathered.capacity() < largest {
            state.gathered.reserve(largest - state.gathered.len());
        }
        let taken = bytes.len().min(largest - state.gathered.len());
        state.gathered.extend_from_slice(&bytes[..taken]);
        if state.gathered.len() >= largest {
            state.send();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        state.send();
        let whatever = usize::MAX;
        state.poll_answers(cx, whatever)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::op::FailureKind;

    /// Takes each piece when it is polled, as a server that is asked for answers.
    #[derive(Clone, Default)]
    struct File {
        content: Arc<Mutex<Vec<u8>>>,
        sent: Arc<Mutex<Vec<usize>>>,
        answered: Arc<Mutex<usize>>,
        full_at: Option<u64>,
    }

    impl WriteAt for File {
        fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'static, Result<(), Failure>> {
            self.sent.lock().unwrap().push(data.len());
            let this = self.clone();
            Box::pin(async move {
                tokio::task::yield_now().await;
                if this.full_at.is_some_and(|full| offset >= full) {
                    return Err(Failure::backend(FailureKind::NoSpace, "full"));
                }
                let mut content = this.content.lock().unwrap();
                assert_eq!(content.len() as u64, offset);
                content.extend_from_slice(&data);
                *this.answered.lock().unwrap() += data.len();
                Ok(())
            })
        }

        fn largest(&self) -> u32 {
            100_000
        }

        fn round_trip(&self) -> Duration {
            Duration::from_millis(1)
        }
    }

    #[tokio::test]
    async fn gathers_and_bounds_what_has_no_answer() {
        let file = File::default();
        let (mut stream, behind) = WriteBehind::new(file.clone(), 0, FirstError::default());
        let data: Vec<u8> = (0..20_000_000usize).map(|n| (n * 7 + n / 251) as u8).collect();
        for part in data.chunks(65_536) {
            stream.write_all(part).await.unwrap();
            let sent: usize = file.sent.lock().unwrap().iter().sum();
            assert!(sent - *file.answered.lock().unwrap() <= MOST);
        }
        stream.shutdown().await.unwrap();
        behind.answers().await.unwrap();
        assert!(*file.content.lock().unwrap() == data);
        assert!(file.sent.lock().unwrap().iter().all(|length| *length == 100_000));
    }

    #[tokio::test]
    async fn flush_sends_and_waits_for_nothing() {
        let file = File::default();
        let (mut stream, behind) = WriteBehind::new(file.clone(), 0, FirstError::default());
        stream.write_all(b"small").await.unwrap();
        assert!(file.sent.lock().unwrap().is_empty());
        stream.flush().await.unwrap();
        assert_eq!(*file.sent.lock().unwrap(), [5]);
        assert_eq!(*file.answered.lock().unwrap(), 0);
        behind.answers().await.unwrap();
        assert_eq!(*file.content.lock().unwrap(), b"small");
    }

    #[tokio::test]
    async fn the_first_refusal_ends_it() {
        let file = File { full_at: Some(200_000), ..File::default() };
        let fault = FirstError::default();
        let (mut stream, behind) = WriteBehind::new(file.clone(), 0, fault.clone());
        let written = async {
            for _ in 0..100 {
                stream.write_all(&[7; 100_000]).await?;
            }
            io::Result::Ok(())
        };
        assert!(written.await.is_err());
        assert!(behind.answers().await.is_err());
        assert_eq!(fault.take().unwrap().kind, FailureKind::NoSpace);
        assert_eq!(file.content.lock().unwrap().len(), 200_000);
    }
}
