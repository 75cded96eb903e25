//! A remote file's bytes as a stream, with READs sent ahead of the consumer
//! (draft-ietf-secsh-filexfer-02 section 6.4).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};

use super::first_error::FirstError;
use super::remote_file::RemoteFile;
use super::server::{READ_AHEAD_MAX, READ_AHEAD_MIN};
use super::window::Window;
use crate::data::Share;
use crate::op::Failure;

/// A file's bytes from an offset on, in order. The window decides how far it reads ahead.
pub(super) struct ReadStream {
    file: RemoteFile,
    pending: VecDeque<PendingRead>,
    /// Bytes requested by `pending`.
    pending_bytes: usize,
    /// Where the next read starts.
    next_offset: u64,
    current: Bytes,
    ended: bool,
    window: Window,
    first_error: FirstError,
}

struct PendingRead {
    length: u32,
    bytes: BoxFuture<'static, Result<Bytes, Failure>>,
    _share: Share,
}

impl ReadStream {
    /// Sends the first two READs at once. `first_error` receives the failure that ends the stream.
    pub(super) fn new(file: RemoteFile, offset: u64, first_error: FirstError) -> Self {
        let start = 2 * file.largest_read() as usize;
        let mut stream = Self {
            file,
            pending: VecDeque::new(),
            pending_bytes: 0,
            next_offset: offset,
            current: Bytes::new(),
            ended: false,
            window: Window::new(start, READ_AHEAD_MIN, READ_AHEAD_MAX),
            first_error,
        };
        stream.fill_window();
        stream
    }

    fn fill_window(&mut self) {
        let length = self.file.largest_read();
        let size = length as usize;
        while !self.ended
            && (self.pending.is_empty() || self.pending_bytes + size <= self.window.size())
        {
            let budget = &self.file.server().read_ahead;
            let share = match budget.take(size) {
                Some(share) => share,
                None if self.pending.is_empty() => budget.take_past_limit(size),
                None => return,
            };
            let Some(next) = self.next_offset.checked_add(length.into()) else {
                self.ended = self.pending.is_empty();
                return;
            };
            let bytes = self.file.read_all(self.next_offset, length);
            self.pending.push_back(PendingRead { length, bytes, _share: share });
            self.pending_bytes += size;
            self.next_offset = next;
        }
    }

    /// The next bytes, in the memory in which they arrived; none at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Failure>> {
        if self.pending.is_empty() {
            self.fill_window();
        }
        let Some(front) = self.pending.front_mut() else { return Poll::Ready(Ok(Bytes::new())) };
        let bytes = ready!(front.bytes.as_mut().poll(cx))?;
        let is_short = bytes.len() < front.length as usize;
        self.pending_bytes -= front.length as usize;
        self.pending.pop_front();
        if is_short {
            self.end();
        } else {
            self.window.delivered(bytes.len(), self.file.round_trip());
            self.fill_window();
        }
        Poll::Ready(Ok(bytes))
    }

    fn end(&mut self) {
        (self.ended, self.pending_bytes) = (true, 0);
        self.pending.clear();
    }
}

impl AsyncRead for ReadStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.current.is_empty() {
            match ready!(this.poll_next(cx)) {
                Ok(bytes) => this.current = bytes,
                Err(failure) => {
                    this.end();
                    return Poll::Ready(Err(this.first_error.record(failure)));
                }
            }
        }
        let length = this.current.len().min(out.remaining());
        out.put_slice(&this.current[..length]);
        this.current.advance(length);
        Poll::Ready(Ok(()))
    }
}
