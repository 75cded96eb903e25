//! A stream of bytes into a remote file, with WRITEs that wait for no response
//! (draft-ietf-secsh-filexfer-02 section 6.4).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::io::AsyncWrite;

use super::first_error::FirstError;
use super::remote_file::RemoteFile;
use super::window::Window;
use crate::op::Failure;

/// Bounds of the bytes that were sent and have no response.
const INITIAL_WINDOW: usize = 2 * 1024 * 1024;
const WINDOW_MIN: usize = 1024 * 1024;
pub(super) const WINDOW_MAX: usize = 8 * 1024 * 1024;

/// Gathers a stream's bytes into large WRITEs and sends them without waiting for the responses, as far as
/// the window allows. Flush and shutdown send what is gathered and wait for nothing;
/// [`PendingWrites::wait`] waits for the responses. Fails with the first refusal.
pub(super) struct WriteStream(Arc<Mutex<State>>);

/// The WRITEs of a [`WriteStream`] that have no response yet.
pub(super) struct PendingWrites(Arc<Mutex<State>>);

struct State {
    file: RemoteFile,
    gathered: BytesMut,
    /// Of the first byte in `gathered`.
    offset: u64,
    /// With the bytes of each.
    pending: VecDeque<(usize, BoxFuture<'static, Result<(), Failure>>)>,
    pending_bytes: usize,
    window: Window,
    /// A WRITE was sent.
    sent: bool,
    failed: bool,
    first_error: FirstError,
}

impl WriteStream {
    /// Writes from `offset` on. `first_error` receives the failure that ends the stream.
    pub(super) fn new(
        file: RemoteFile,
        offset: u64,
        first_error: FirstError,
    ) -> (Self, PendingWrites) {
        let state = Arc::new(Mutex::new(State {
            file,
            gathered: BytesMut::new(),
            offset,
            pending: VecDeque::new(),
            pending_bytes: 0,
            window: Window::new(INITIAL_WINDOW, WINDOW_MIN, WINDOW_MAX),
            sent: false,
            failed: false,
            first_error,
        }));
        (Self(state.clone()), PendingWrites(state))
    }
}

impl PendingWrites {
    /// Waits until at most `left` bytes have no response.
    pub(super) async fn wait(&self, left: usize) -> io::Result<()> {
        std::future::poll_fn(|cx| lock(&self.0).poll_responses(cx, left)).await
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Takes responses until at most `left` bytes have none.
    fn poll_responses(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        if self.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        while let Some((length, response)) = self.pending.front_mut() {
            match response.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => {
                    let length = *length;
                    self.pending_bytes -= length;
                    self.pending.pop_front();
                    self.window.delivered(length, self.file.round_trip());
                }
                Poll::Ready(Err(failure)) => {
                    self.failed = true;
                    self.pending.clear();
                    self.gathered = BytesMut::new();
                    return Poll::Ready(Err(self.first_error.record(failure)));
                }
                Poll::Pending if self.pending_bytes > left => return Poll::Pending,
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
        self.pending.push_back((length, self.file.write_all(offset, data)));
        self.pending_bytes += length;
        self.sent = true;
        self.offset = offset.saturating_add(length as u64);
    }
}

impl AsyncWrite for WriteStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        let state = &mut *state;
        let largest = state.file.largest_write() as usize;
        if state.gathered.is_empty() {
            let left = state.window.size().saturating_sub(largest);
            ready!(state.poll_responses(cx, left))?;
            // A small file takes little memory. After one full WRITE, another is likely.
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
        state.poll_responses(cx, usize::MAX)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
