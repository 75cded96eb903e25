//! Reads ahead of a client that reads an open file from front to back: the client may have few or small
//! requests in flight, the gateway has as many bytes in flight as the connection can hold.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

use super::chunk::{Chunk, ChunkSlice};
use super::remote_file::RemoteFile;
use super::server::{READ_AHEAD_MAX, READ_AHEAD_MIN};
use super::window::Window;
use crate::op::Failure;
use crate::task;

/// Reads in a row, each at the end of the last one, after which more of them are expected.
const SEQUENTIAL_READS_MIN: u32 = 4;
/// How far before the newest read others may still be requested, in bytes.
const REORDER_MAX: u64 = 4 * 1024 * 1024;
/// The age up to which received bytes count as those of the file: others may write it, and this session
/// may write it under another name.
const CHUNK_TTL: Duration = Duration::from_secs(2);

/// The chunks that are read ahead of one open file: without gaps, in order.
pub(super) struct ReadAhead {
    chunks: VecDeque<Chunk>,
    /// Bytes in `chunks`.
    held: usize,
    /// Where a client that reads from front to back continues.
    expected: u64,
    sequential_reads: u32,
    /// There were [`SEQUENTIAL_READS_MIN`]: more is requested than the client's reads need.
    is_sequential: bool,
    /// The file has at least so many bytes: the server reported it, and the client knows.
    reported_size: u64,
    /// [`super::server::ContentChanges`] when the chunks were requested.
    changes: (u64, u64),
    window: Window,
    /// The limit of `held`: lowered when chunks expire unread.
    limit: usize,
    /// Waits for the first chunk and drops it when it expires.
    prefetch: Option<AbortOnDropHandle<()>>,
}

type Read = BoxFuture<'static, Result<Option<Bytes>, Failure>>;

impl ReadAhead {
    pub(super) fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            held: 0,
            expected: 0,
            sequential_reads: 0,
            is_sequential: false,
            reported_size: 0,
            changes: (0, 0),
            window: Window::new(READ_AHEAD_MIN, READ_AHEAD_MIN, READ_AHEAD_MAX),
            limit: READ_AHEAD_MAX,
            prefetch: None,
        }
    }

    /// Requests the first chunk of a file that was opened only for reading, before the client does: most
    /// files are small and read from their start. An unread chunk is dropped after [`CHUNK_TTL`].
    pub(super) fn prefetch(this: &Arc<Mutex<Self>>, file: &RemoteFile) {
        let length = file.largest_read();
        let Some(share) = file.server().read_ahead.take(length as usize) else { return };
        let mut ahead = this.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.changes = file.server().changes.count(file.path());
        let chunk = Chunk::request(file, 0, length, share);
        let (first_response, weak) = (chunk.first_response(), Arc::downgrade(this));
        ahead.held += length as usize;
        ahead.chunks.push_back(chunk);
        ahead.prefetch = Some(AbortOnDropHandle::new(task::spawn(async move {
            let _ = first_response.await;
            tokio::time::sleep(CHUNK_TTL).await;
            if let Some(ahead) = weak.upgrade() {
                let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
                if !ahead.is_sequential {
                    ahead.clear();
                }
            }
        })));
    }

    /// Serves a client's read, from the chunks or by a READ of its own.
    pub(super) fn read(&mut self, file: &RemoteFile, offset: u64, length: u32) -> Read {
        let changes = file.server().changes.count(file.path());
        if changes != self.changes || self.chunks.front().is_some_and(is_stale) {
            self.changes = changes;
            // Chunks that expired unread lower the limit.
            let was_read = !self.is_sequential || self.chunks.is_empty();
            self.limit = if was_read { self.limit } else { self.held / 2 };
            self.clear();
        }
        let end = offset.saturating_add(length.into());
        let in_order = offset == self.expected;
        self.sequential_reads = if in_order { self.sequential_reads.saturating_add(1) } else { 0 };
        let held = self.holds(offset);
        self.expected = if in_order || !held { end } else { self.expected.max(end) };
        if !held {
            // Somewhere else, or at an end that may have moved since.
            self.clear();
            let read = read_directly(file, offset, length);
            self.is_sequential = self.sequential_reads >= SEQUENTIAL_READS_MIN;
            self.request_chunks(file, end, length);
            return read;
        }
        if offset == 0 {
            self.fit_prefetched(file, length);
        }
        self.is_sequential |= self.sequential_reads >= SEQUENTIAL_READS_MIN;
        self.request_chunks(file, end, length);
        let read = self.serve(file, offset, end);
        self.window.delivered(length as usize, file.round_trip());
        read
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.held = 0;
        self.is_sequential = false;
        self.prefetch = None;
    }

    /// Drops chunks before the client stats the file: it must not get bytes that are older than the times
    /// that it learns.
    pub(super) fn before_stat(&mut self) {
        if self.chunks.iter().all(|chunk| chunk.served == 0) {
            self.clear();
        }
    }

    /// Records the size that the client learns: the file does not end before it.
    pub(super) fn set_reported_size(&mut self, size: u64) {
        self.reported_size = size;
    }

    fn holds(&self, offset: u64) -> bool {
        self.chunks.iter().any(|chunk| {
            chunk.holds(offset)
                && !(offset < self.reported_size && chunk.is_past_first_response(offset))
        })
    }

    /// Shortens a prefetched chunk to a multiple of the client's reads, whose length was not known then.
    fn fit_prefetched(&mut self, file: &RemoteFile, length: u32) {
        let [chunk] = self.chunks.make_contiguous() else { return };
        let fitting = chunk_length(file, length);
        if chunk.served == 0 && fitting < chunk.length {
            self.held -= (chunk.length - fitting) as usize;
            chunk.length = fitting;
        }
    }

    /// Requests more: at least up to `end`, and as far as the window allows.
    fn request_chunks(&mut self, file: &RemoteFile, end: u64, length: u32) {
        let chunk = chunk_length(file, length);
        let size = chunk as usize;
        loop {
            let last = self.chunks.back();
            let ended = last.is_some_and(Chunk::is_last);
            let offset = last.map_or(end, |last| last.offset + u64::from(last.length));
            let needed = !self.chunks.is_empty() && offset < end;
            if ended
                || offset.checked_add(chunk.into()).is_none()
                || !(needed || self.has_room(size))
            {
                return;
            }
            let budget = &file.server().read_ahead;
            let share = match budget.take(size) {
                Some(share) => share,
                None if needed => budget.overdraw(size),
                None => return,
            };
            self.chunks.push_back(Chunk::request(file, offset, chunk, share));
            self.held += size;
        }
    }

    fn has_room(&self, size: usize) -> bool {
        self.is_sequential && self.held + size <= self.window.size().min(self.limit)
    }

    /// The bytes from `offset` to `end`, as far as they are in the chunks.
    fn serve(&mut self, file: &RemoteFile, offset: u64, end: u64) -> Read {
        let mut slices = Vec::with_capacity(1);
        for chunk in &mut self.chunks {
            let chunk_end = chunk.offset + u64::from(chunk.length);
            let (from, to) = (offset.max(chunk.offset), end.min(chunk_end));
            if from >= to {
                continue;
            }
            // Both within a chunk's length.
            let (start, stop) = ((from - chunk.offset) as usize, (to - chunk.offset) as usize);
            chunk.served = chunk.served.saturating_add((stop - start) as u32);
            slices.push(chunk.slice(start, stop));
        }
        let reorder_start = self.expected.saturating_sub(REORDER_MAX);
        while let Some(front) = self.chunks.front() {
            let passed = front.offset + u64::from(front.length) <= reorder_start;
            // What follows a short response is for the next read.
            let open = self.chunks.len() == 1 && !front.is_whole() && !front.has_reported_end();
            if open || front.served < front.length && !passed {
                break;
            }
            self.held -= front.length as usize;
            self.limit = self.limit.saturating_add(front.length as usize).min(READ_AHEAD_MAX);
            self.chunks.pop_front();
        }
        Box::pin(gather(slices, file.clone(), offset, end))
    }
}

/// A multiple of the client's reads, so that few of them span two chunks.
fn chunk_length(file: &RemoteFile, length: u32) -> u32 {
    let largest = file.largest_read();
    match largest.checked_div(length) {
        Some(times) if times > 1 => times * length,
        _ => largest,
    }
}

/// Whether its response is older than [`CHUNK_TTL`]. A chunk in flight does not expire, however slow it is.
fn is_stale(chunk: &Chunk) -> bool {
    let received_at = || chunk.received_at();
    chunk.requested_at.elapsed() > CHUNK_TTL
        && received_at().is_some_and(|at| at.elapsed() > CHUNK_TTL)
}

/// As the server answers it: the client handles short responses and requests the rest.
fn read_directly(file: &RemoteFile, offset: u64, length: u32) -> Read {
    if length > file.largest_read() {
        let read = file.read_all(offset, length);
        return Box::pin(async move { Ok(Some(read.await?).filter(|bytes| !bytes.is_empty())) });
    }
    let (response, file) = (file.read(offset, length), file.clone());
    Box::pin(async move { file.data(response, length).await })
}

/// `None` where the file ends before the first byte.
async fn gather(
    slices: Vec<ChunkSlice>,
    file: RemoteFile,
    offset: u64,
    end: u64,
) -> Result<Option<Bytes>, Failure> {
    let mut gathered = BytesMut::new();
    let count = slices.len();
    for slice in slices {
        let length = slice.length();
        let bytes = match slice.bytes().await {
            Ok(bytes) => bytes,
            // The chunk is larger than the client's read; only the latter may be readable.
            Err(_) if gathered.is_empty() => {
                return read_directly(&file, offset, end.saturating_sub(offset) as u32).await;
            }
            Err(_) => break,
        };
        if count == 1 {
            return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
        }
        gathered.extend_from_slice(&bytes);
        if bytes.len() < length {
            break;
        }
    }
    Ok(Some(gathered.freeze()).filter(|bytes| !bytes.is_empty()))
}
