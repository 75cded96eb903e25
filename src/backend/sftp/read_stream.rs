//! From a file that answers many requests at once to a stream of its bytes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};

use super::FirstError;
use super::window::{Budget, Share, Window};
use crate::op::Failure;

/// The bounds of what a file's reads ahead may hold, in bytes.
pub const LEAST_AHEAD: usize = 1024 * 1024;
pub const MOST_AHEAD: usize = 10 * 1024 * 1024;

/// A file that can be asked for many pieces at once.
pub trait ReadAt: Send + 'static {
    /// The bytes from `offset`: all of `length`, fewer only where the file ends. Asked for with the
    /// call, not with the first poll.
    fn read_at(&self, offset: u64, length: u32) -> BoxFuture<'static, Result<Bytes, Failure>>;

    /// Bytes of the largest piece.
    fn largest(&self) -> u32;

    /// The shortest round trip seen.
    fn round_trip(&self) -> Duration;
}

/// A file's bytes from an offset on, in order, with reads ahead as far as the connection is long.
pub struct ReadAhead<R> {
    file: R,
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces`.
    ahead: usize,
    /// Where the next piece begins.
    next: u64,
    current: Bytes,
    ended: bool,
    window: Window,
    budget: Budget,
    fault: FirstError,
}

struct Piece {
    length: u32,
    bytes: BoxFuture<'static, Result<Bytes, Failure>>,
    _share: Share,
}

impl<R: ReadAt> ReadAhead<R> {
    /// Asks for the first two pieces at once. `fault` takes what the file says against it.
    pub fn new(file: R, offset: u64, budget: Budget, fault: FirstError) -> Self {
        let start = 2 * file.largest() as usize;
        let mut ahead = Self {
            file,
            pieces: VecDeque::new(),
            ahead: 0,
            next: offset,
            current: Bytes::new(),
            ended: false,
            window: Window::new(start, LEAST_AHEAD, MOST_AHEAD),
            budget,
            fault,
        };
        ahead.ask();
        ahead
    }

    /// Asks for as much as the window has room for.
    fn ask(&mut self) {
        let length = self.file.largest();
        while !self.ended
            && (self.pieces.is_empty() || self.ahead + length as usize <= self.window.size())
        {
            let size = length as usize;
            let share = match self.budget.take(size) {
                Some(share) => share,
                None if self.pieces.is_empty() => self.budget.take_anyway(size),
                None => return,
            };
            let Some(next) = self.next.checked_add(length.into()) else {
                self.ended = self.pieces.is_empty();
                return;
            };
            let bytes = self.file.read_at(self.next, length);
            self.pieces.push_back(Piece { length, bytes, _share: share });
            self.ahead += size;
            self.next = next;
        }
    }

    /// The next bytes, in the memory that they arrived in; none at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Failure>> {
        if self.pieces.is_empty() {
            self.ask();
        }
        let Some(front) = self.pieces.front_mut() else { return Poll::Ready(Ok(Bytes::new())) };
        let bytes = ready!(front.bytes.as_mut().poll(cx))?;
        let short = bytes.len() < front.length as usize;
        self.ahead -= front.length as usize;
        self.pieces.pop_front();
        if short {
            self.ended = true;
            self.pieces.clear();
            self.ahead = 0;
        } else {
            self.window.delivered(bytes.len(), self.file.round_trip());
            self.ask();
        }
        Poll::Ready(Ok(bytes))
    }
}

impl<R: ReadAt + Unpin> AsyncRead for ReadAhead<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.current.is_empty() {
            match ready!(this.poll_piece(cx)) {
                Ok(bytes) => this.current = bytes,
                Err(failure) => {
                    (this.ended, this.ahead) = (true, 0);
                    this.pieces.clear();
                    return Poll::Ready(Err(this.fault.note(failure)));
                }
            }
        }
        let taken = this.current.len().min(out.remaining());
        out.put_slice(&this.current[..taken]);
        this.current.advance(taken);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::op::FailureKind;

    /// Answers each read one turn later than it was asked, and remembers what was asked.
    #[derive(Clone)]
    struct File {
        content: Arc<Vec<u8>>,
        asked: Arc<Mutex<Vec<u64>>>,
        broken_from: u64,
    }

    impl File {
        fn new(length: usize) -> Self {
            let content = (0..length).map(|n| (n * 7 + n / 251) as u8).collect();
            Self { content: Arc::new(content), asked: Arc::default(), broken_from: u64::MAX }
        }

        fn stream(&self, offset: u64) -> (ReadAhead<Self>, FirstError) {
            let fault = FirstError::default();
            (ReadAhead::new(self.clone(), offset, Budget::new(MOST_AHEAD), fault.clone()), fault)
        }
    }

    impl ReadAt for File {
        fn read_at(&self, offset: u64, length: u32) -> BoxFuture<'static, Result<Bytes, Failure>> {
            self.asked.lock().unwrap().push(offset);
            let this = self.clone();
            Box::pin(async move {
                tokio::task::yield_now().await;
                if offset >= this.broken_from {
                    return Err(Failure::backend(FailureKind::Internal, "a bad block"));
                }
                let start = this.content.len().min(offset as usize);
                let end = this.content.len().min(start + length as usize);
                Ok(Bytes::copy_from_slice(&this.content[start..end]))
            })
        }

        fn largest(&self) -> u32 {
            1000
        }

        fn round_trip(&self) -> Duration {
            Duration::from_millis(1)
        }
    }

    #[tokio::test]
    async fn all_bytes_in_order_from_any_offset() {
        for length in [0, 1, 999, 1000, 1001, 2000, 123_456] {
            for offset in [0, 1, 1000, length] {
                let file = File::new(length);
                let (mut stream, _) = file.stream(offset as u64);
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await.unwrap();
                assert!(read == file.content[length.min(offset)..], "{length} from {offset}");
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            }
        }
    }

    #[tokio::test]
    async fn two_pieces_are_asked_for_at_once_and_never_more_than_the_window() {
        let file = File::new(50_000_000);
        let (mut stream, _) = file.stream(0);
        assert_eq!(*file.asked.lock().unwrap(), [0, 1000]);
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        let asked = file.asked.lock().unwrap().len();
        assert!((1000..=1100).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn a_failure_comes_where_it_belongs_and_is_told() {
        let file = File { broken_from: 3000, ..File::new(10_000) };
        let (mut stream, fault) = file.stream(0);
        let mut read = Vec::new();
        assert!(stream.read_to_end(&mut read).await.is_err());
        assert!(read == file.content[..3000]);
        assert_eq!(fault.take().unwrap().message, "a bad block");
    }

    #[tokio::test]
    async fn a_used_up_budget_leaves_one_piece_at_a_time() {
        let file = File::new(5000);
        let budget = Budget::new(500);
        let mut stream = ReadAhead::new(file.clone(), 0, budget.clone(), FirstError::default());
        assert_eq!(*file.asked.lock().unwrap(), [0]);
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        assert!(read == *file.content);
        assert!(budget.take(500).is_some());
    }
}
