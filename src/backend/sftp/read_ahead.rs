//! Reads ahead of a client that reads a file from front to back: it may have few or small requests
//! under way, the gateway has as many bytes as the connection is long.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

use super::handle::Handle;
use super::piece::{Part, Piece};
use crate::data::{LEAST_AHEAD, MOST_AHEAD, ReadAt, Window};
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
    /// There was a [`RUN`]: more is asked for than what reads need.
    runs: bool,
    /// The file has at least so many bytes, as the server said and the client knows.
    told: u64,
    /// As [`super::server::ContentChanges`] counted when the pieces were asked for.
    changes: (u64, u64),
    window: Window,
    /// The most bytes in `pieces`: fewer where they were not wanted in time.
    most: usize,
    /// Sees the first piece come.
    first: Option<AbortOnDropHandle<()>>,
}

type Read = BoxFuture<'static, Result<Option<Bytes>, Failure>>;

impl Ahead {
    pub(super) fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            held: 0,
            expected: 0,
            run: 0,
            runs: false,
            told: 0,
            changes: (0, 0),
            window: Window::new(LEAST_AHEAD, LEAST_AHEAD, MOST_AHEAD),
            most: MOST_AHEAD,
            first: None,
        }
    }

    /// Asks for the begin of a file that was opened for nothing but reading, before the client does:
    /// most are small, and read from there. What is not wanted soon is forgotten.
    pub(super) fn begin(this: &Arc<Mutex<Self>>, file: &Handle) {
        let length = file.largest();
        let Some(share) = file.server().ahead.take(length as usize) else { return };
        let mut ahead = this.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.changes = file.server().changes.count(file.path());
        let piece = Piece::ask(file, 0, length, share);
        let (head, weak) = (piece.head(), Arc::downgrade(this));
        ahead.held += length as usize;
        ahead.pieces.push_back(piece);
        ahead.first = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = head.await;
            tokio::time::sleep(FRESH).await;
            if let Some(ahead) = weak.upgrade() {
                let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
                if !ahead.runs {
                    ahead.forget();
                }
            }
        })));
    }

    /// Serves a client's read, from what is under way or by one of its own.
    pub(super) fn read(&mut self, file: &Handle, offset: u64, length: u32) -> Read {
        let changes = file.server().changes.count(file.path());
        if changes != self.changes || self.pieces.front().is_some_and(is_old) {
            self.changes = changes;
            // What was read in vain is not read ahead again.
            let wanted = !self.runs || self.pieces.is_empty();
            self.most = if wanted { self.most } else { self.held / 2 };
            self.forget();
        }
        let end = offset.saturating_add(length.into());
        let in_order = offset == self.expected;
        self.run = if in_order { self.run.saturating_add(1) } else { 0 };
        let held = self.holds(offset);
        self.expected = if in_order || !held { end } else { self.expected.max(end) };
        if !held {
            // Elsewhere, or at an end that may have moved since.
            self.forget();
            let read = plain(file, offset, length);
            self.runs = self.run >= RUN;
            self.ask(file, end, length);
            return read;
        }
        if offset == 0 {
            self.fit(file, length);
        }
        self.runs |= self.run >= RUN;
        self.ask(file, end, length);
        let read = self.serve(file, offset, end);
        self.window.delivered(length as usize, file.round_trip());
        read
    }

    pub(super) fn forget(&mut self) {
        self.pieces.clear();
        self.held = 0;
        self.runs = false;
        self.first = None;
    }

    /// The client asks what the file is: it is not to be given bytes that are older than the times that
    /// it learns.
    pub(super) fn about_to_tell(&mut self) {
        if self.pieces.iter().all(|piece| piece.served == 0) {
            self.forget();
        }
    }

    /// The client learns this size: from here on the file does not end before.
    pub(super) fn told(&mut self, size: u64) {
        self.told = size;
    }

    fn holds(&self, offset: u64) -> bool {
        let holds =
            |piece: &Piece| piece.holds(offset) && !(offset < self.told && piece.is_behind(offset));
        self.pieces.iter().any(holds)
    }

    /// The first piece was asked for without knowing the client's reads.
    fn fit(&mut self, file: &Handle, length: u32) {
        let [piece] = self.pieces.make_contiguous() else { return };
        let fitting = multiple(file, length);
        if piece.served == 0 && fitting < piece.length {
            self.held -= (piece.length - fitting) as usize;
            piece.length = fitting;
        }
    }

    /// Asks for more: at least up to `end`, and as far as the window has room.
    fn ask(&mut self, file: &Handle, end: u64, length: u32) {
        let piece = multiple(file, length);
        let size = piece as usize;
        loop {
            let last = self.pieces.back();
            let ended = last.is_some_and(Piece::is_last);
            let offset = last.map_or(end, |last| last.offset + u64::from(last.length));
            let needed = !self.pieces.is_empty() && offset < end;
            if ended
                || offset.checked_add(piece.into()).is_none()
                || !(needed || self.has_room(size))
            {
                return;
            }
            let budget = &file.server().ahead;
            let share = match budget.take(size) {
                Some(share) => share,
                None if needed => budget.take_anyway(size),
                None => return,
            };
            self.pieces.push_back(Piece::ask(file, offset, piece, share));
            self.held += size;
        }
    }

    fn has_room(&self, size: usize) -> bool {
        self.runs && self.held + size <= self.window.size().min(self.most)
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
            parts.push(piece.part(start, stop));
        }
        let late = self.expected.saturating_sub(LATE);
        while let Some(front) = self.pieces.front() {
            let passed = front.offset + u64::from(front.length) <= late;
            // What follows a short answer is for the next read.
            let open = self.pieces.len() == 1 && !front.is_whole() && !front.has_told_end();
            if open || front.served < front.length && !passed {
                break;
            }
            self.held -= front.length as usize;
            self.most = self.most.saturating_add(front.length as usize).min(MOST_AHEAD);
            self.pieces.pop_front();
        }
        Box::pin(gather(parts, file.clone(), offset, end))
    }
}

/// A multiple of the client's reads, so that few of them lie in two pieces.
fn multiple(file: &Handle, length: u32) -> u32 {
    let largest = file.largest();
    match largest.checked_div(length) {
        Some(times) if times > 1 => times * length,
        _ => largest,
    }
}

/// Whether it came too long ago. What is still under way does not get old, however slow it comes.
fn is_old(piece: &Piece) -> bool {
    let came = || piece.came();
    piece.asked.elapsed() > FRESH && came().is_some_and(|at| at.elapsed() > FRESH)
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

/// `None` where the file ends before the first byte.
async fn gather(
    parts: Vec<Part>,
    file: Handle,
    offset: u64,
    end: u64,
) -> Result<Option<Bytes>, Failure> {
    let mut gathered = BytesMut::new();
    let count = parts.len();
    for part in parts {
        let wanted = part.length();
        let part = match part.bytes().await {
            Ok(part) => part,
            // The piece is larger than what the client wants of it, which alone may be readable.
            Err(_) if gathered.is_empty() => {
                return plain(&file, offset, end.saturating_sub(offset) as u32).await;
            }
            Err(_) => break,
        };
        if count == 1 {
            return Ok(Some(part).filter(|part| !part.is_empty()));
        }
        gathered.extend_from_slice(&part);
        if part.len() < wanted {
            break;
        }
    }
    Ok(Some(gathered.freeze()).filter(|bytes| !bytes.is_empty()))
}
