//! Reads ahead of a client that reads a file from front to back: it may have few or small requests
//! under way, the gateway has as many bytes as the connection is long.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::handle::Handle;
use crate::data::{LEAST_AHEAD, MOST_AHEAD, ReadAt, Share, Window};
use crate::op::Failure;

/// Reads, each where the last one ended, after which more of them are expected.
const RUN: u32 = 4;
/// How far behind the newest read others may still come, in bytes.
const LATE: u64 = 4 * 1024 * 1024;
/// How long after the server's answer bytes are still those of the file: others may write it, and this
/// session may under another name of it.
const FRESH: Duration = Duration::from_secs(2);

/// What is being read ahead of one open file: pieces without gaps, in order.
pub(super) struct Ahead {
    pieces: VecDeque<Piece>,
    /// Bytes in `pieces`.
    held: usize,
    /// Where a reader from front to back goes on.
    expected: u64,
    run: u32,
    /// As [`super::server::ContentChanges`] counted when the pieces were asked for.
    changes: (u64, u64),
    window: Window,
    /// The most bytes in `pieces`: fewer where they were not wanted in time.
    most: usize,
}

struct Piece {
    offset: u64,
    length: u32,
    bytes: Coming,
    asked: Instant,
    /// Bytes that were asked for by the client.
    served: u32,
    _share: Share,
}

/// The bytes, and when they came.
type Coming = Shared<BoxFuture<'static, Result<(Bytes, Instant), Failure>>>;

type Read = BoxFuture<'static, Result<Option<Bytes>, Failure>>;

impl Ahead {
    pub(super) fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            held: 0,
            expected: 0,
            run: 0,
            changes: (0, 0),
            window: Window::new(LEAST_AHEAD, LEAST_AHEAD, MOST_AHEAD),
            most: MOST_AHEAD,
        }
    }

    /// Serves a client's read, from what is under way or by one of its own.
    pub(super) fn read(&mut self, file: &Handle, offset: u64, length: u32) -> Read {
        let changes = file.server().changes.count(file.path());
        if changes != self.changes || self.pieces.front().is_some_and(Piece::is_old) {
            self.changes = changes;
            // What was read in vain is not read ahead again.
            self.most = if self.pieces.is_empty() { self.most } else { self.held / 2 };
            self.forget();
        }
        let end = offset.saturating_add(length.into());
        let in_order = offset == self.expected;
        self.run = if in_order { self.run.saturating_add(1) } else { 0 };
        self.expected = if in_order || !self.holds(offset) { end } else { self.expected.max(end) };
        if !self.holds(offset) {
            // Elsewhere, or at an end that may have moved since.
            self.forget();
            let read = plain(file, offset, length);
            if self.run >= RUN {
                self.ask(file, end, length);
            }
            return read;
        }
        self.ask(file, end, length);
        let read = self.serve(file, offset, end);
        self.window.delivered(length as usize, file.round_trip());
        read
    }

    pub(super) fn forget(&mut self) {
        self.pieces.clear();
        self.held = 0;
    }

    /// Whether the byte at `offset` is in a piece, or was to be and has not come yet.
    fn holds(&self, offset: u64) -> bool {
        self.pieces.iter().any(|piece| {
            let length = match piece.bytes.peek() {
                Some(Ok((bytes, _))) => bytes.len() as u64,
                Some(Err(_)) => 0,
                None => piece.length.into(),
            };
            offset >= piece.offset && offset - piece.offset < length
        })
    }

    /// Asks for more: at least up to `end`, and as far as the window has room.
    fn ask(&mut self, file: &Handle, end: u64, length: u32) {
        let largest = file.largest();
        // A multiple of the client's reads, so that few of them lie in two pieces.
        let times = largest.checked_div(length).unwrap_or(1).max(1);
        let piece = if times > 1 { times * length } else { largest };
        let size = piece as usize;
        loop {
            let last = self.pieces.back();
            let ended = last.is_some_and(|last| match last.bytes.peek() {
                Some(Ok((bytes, _))) => bytes.len() < last.length as usize,
                Some(Err(_)) => true,
                None => false,
            });
            let offset = last.map_or(end, |last| last.offset + u64::from(last.length));
            let needed = !self.pieces.is_empty() && offset < end;
            if ended
                || offset.checked_add(piece.into()).is_none()
                || !(needed || self.held + size <= self.window.size().min(self.most))
            {
                return;
            }
            let budget = &file.server().ahead;
            let share = match budget.take(size) {
                Some(share) => share,
                None if needed => budget.take_anyway(size),
                None => return,
            };
            let bytes = file.read_piece(offset, piece).shared();
            let (length, asked) = (piece, Instant::now());
            self.pieces.push_back(Piece { offset, length, bytes, asked, served: 0, _share: share });
            self.held += size;
        }
    }

    /// The bytes from `offset` to `end`, as far as they are in the pieces.
    fn serve(&mut self, file: &Handle, offset: u64, end: u64) -> Read {
        let mut parts = Vec::with_capacity(1);
        for piece in &mut self.pieces {
            let piece_end = piece.offset + u64::from(piece.length);
            let (from, to) = (offset.max(piece.offset), end.min(piece_end));
            if from >= to {
                continue;
            }
            // Both within a piece's length.
            let (start, stop) = ((from - piece.offset) as usize, (to - piece.offset) as usize);
            piece.served = piece.served.saturating_add((stop - start) as u32);
            parts.push((piece.bytes.clone(), start, stop));
        }
        let late = self.expected.saturating_sub(LATE);
        while let Some(front) = self.pieces.front() {
            let passed = front.offset + u64::from(front.length) <= late;
            if front.served < front.length && !passed {
                break;
            }
            self.held -= front.length as usize;
            self.most = self.most.saturating_add(front.length as usize).min(MOST_AHEAD);
            self.pieces.pop_front();
        }
        Box::pin(gather(parts, file.clone(), offset, end))
    }
}

impl Piece {
    /// Whether it came too long ago. What is still under way does not get old, however slow it comes.
    fn is_old(&self) -> bool {
        let came = || self.bytes.clone().now_or_never();
        self.asked.elapsed() > FRESH && matches!(came(), Some(Ok((_, at))) if at.elapsed() > FRESH)
    }
}

/// As the server answers it: the client knows short answers and asks for the rest.
fn plain(file: &Handle, offset: u64, length: u32) -> Read {
    if length > file.largest() {
        let read = file.read_all(offset, length);
        return Box::pin(async move { Ok(Some(read.await?).filter(|bytes| !bytes.is_empty())) });
    }
    let (answer, file) = (file.read(offset, length), file.clone());
    Box::pin(async move { file.data(answer, length).await })
}

/// What is wanted of a piece: from where to where.
type Part = (Coming, usize, usize);

/// `None` where the file ends before the first byte.
async fn gather(
    parts: Vec<Part>,
    file: Handle,
    offset: u64,
    end: u64,
) -> Result<Option<Bytes>, Failure> {
    let mut gathered = BytesMut::new();
    let count = parts.len();
    for (bytes, start, stop) in parts {
        let bytes = match bytes.await {
            Ok((bytes, _)) => bytes,
            // The piece is larger than what the client wants of it, which alone may be readable.
            Err(_) if gathered.is_empty() => {
                return plain(&file, offset, end.saturating_sub(offset) as u32).await;
            }
            Err(_) => break,
        };
        let part = bytes.slice(start.min(bytes.len())..stop.min(bytes.len()));
        if count == 1 {
            return Ok(Some(part).filter(|part| !part.is_empty()));
        }
        gathered.extend_from_slice(&part);
        if part.len() < stop - start {
            break;
        }
    }
    Ok(Some(gathered.freeze()).filter(|bytes| !bytes.is_empty()))
}
