//! The reads of an open file, and the one transfer (RETR) that serves them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::read_buffer::{Lookup, MIN_SLICE_SIZE, ReadBuffer};
use super::{SequentialFile, SequentialRead};
use crate::op::Failure;

/// The most bytes that one read returns.
const MAX_READ_SIZE: u32 = 1024 * 1024;
/// Bytes per read of the transfer.
const CHUNK_SIZE: usize = 256 * 1024;
/// How long a read that the transfer does not approach waits for the reads that it does serve.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
/// Without readers for so long, a server may have ended the transfer by itself.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an observed end of file is valid: files grow.
const END_TTL: Duration = Duration::from_secs(2);

pub(super) type ReadAnswer = oneshot::Sender<Result<Option<Bytes>, Failure>>;

/// The pending reads, and the transfer that serves them.
#[derive(Default)]
pub(super) struct Reading {
    transfer: Option<Box<dyn SequentialRead>>,
    buffer: ReadBuffer,
    /// Offset at which the transfer started.
    start: u64,
    /// How the data ended (`Ok`: by end of file); the backend's final reply is still to be read.
    outcome: Option<Result<(), Failure>>,
    /// By offset, then by order of the calls.
    pending: BTreeMap<(u64, u64), PendingRead>,
    sequence: u64,
    /// The read for which the transfer was started. It is answered before the transfer is restarted
    /// for another.
    current: Option<(u64, u64)>,
    /// The observed end of the file.
    end: Option<End>,
    /// Where the backend cut the transfer, and its failure. Never an end of file.
    cut: Option<(u64, Failure)>,
    /// Since when no read is pending.
    idle_since: Option<Instant>,
    /// The transfer was idle for so long that its failure does not concern the file.
    stale: bool,
}

#[derive(Clone, Copy)]
struct End {
    at: u64,
    /// When the backend confirmed it.
    seen: Instant,
    /// Whether it is the size of the file, too: not so if seen by a transfer that started after the
    /// end.
    exact: bool,
}

struct PendingRead {
    length: u64,
    since: Instant,
    reply: ReadAnswer,
}

/// What the transfer does next for the pending reads.
enum Step {
    Read,
    Finish,
    Restart(u64, u64),
}

impl Reading {
    /// Starts a transfer from 0.
    pub(super) async fn open(file: &dyn SequentialFile) -> Result<Self, Failure> {
        let transfer = Some(file.start_read(0).await?);
        Ok(Self { transfer, idle_since: Some(Instant::now()), ..Self::default() })
    }

    pub(super) fn request(&mut self, offset: u64, length: u32, reply: ReadAnswer) {
        if let Some(since) = self.idle_since.take() {
            self.stale |= since.elapsed() >= UNREAD_TIMEOUT;
        }
        self.sequence += 1;
        let length = u64::from(length.clamp(1, MAX_READ_SIZE)).min(u64::MAX - offset);
        let pending = PendingRead { length, since: Instant::now(), reply };
        self.pending.insert((offset, self.sequence), pending);
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether unread bytes are held.
    pub(super) fn holds(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next read restarts the transfer.
    pub(super) fn discard_buffer(&mut self) {
        self.buffer = ReadBuffer::at(self.buffer.position());
        (self.current, self.end) = (None, None);
    }

    pub(super) fn is_running(&self) -> bool {
        self.transfer.is_some()
    }

    /// The size of the file, and when it expires.
    pub(super) fn size(&self) -> Option<(u64, Instant)> {
        self.end.filter(|end| end.exact).map(|end| (end.at, end.seen + END_TTL))
    }

    /// The end of the file, if observed recently.
    fn end(&self) -> Option<u64> {
        self.end.filter(|end| end.seen.elapsed() < END_TTL).map(|end| end.at)
    }

    /// Answers all reads that can be answered from the buffer.
    pub(super) fn answer_ready(&mut self) {
        let end = self.end();
        let ended = end.is_some() && self.transfer.is_none();
        let mut remaining = BTreeMap::new();
        for (key, pending) in std::mem::take(&mut self.pending) {
            let (offset, _) = key;
            let cut = self.cut.as_ref().filter(|(at, _)| offset >= *at).map(|(_, f)| f.clone());
            let result = match (cut, end) {
                (Some(failure), _) => Some(Err(failure)),
                (None, Some(end)) if offset >= end => Some(Ok(None)),
                _ if self.transfer.is_none() && !ended => None,
                _ => match self.buffer.take(offset, pending.length, ended) {
                    Lookup::Bytes(bytes) => Some(Ok(Some(bytes).filter(|b| !b.is_empty()))),
                    Lookup::NotYet | Lookup::Passed => None,
                },
            };
            match result {
                // A dropped reader needs no reply.
                Some(result) => drop(pending.reply.send(result)),
                None => drop(remaining.insert(key, pending)),
            }
        }
        self.pending = remaining;
        if self.pending.is_empty() && self.idle_since.is_none() {
            self.idle_since = Some(Instant::now());
        }
    }

    /// Takes one step for the pending reads. Cancel safe between two reads of the transfer.
    pub(super) async fn advance(&mut self, file: &dyn SequentialFile) {
        match self.step() {
            Some(Step::Read) => self.read().await,
            Some(Step::Finish) => self.finish(file).await,
            Some(Step::Restart(offset, sequence)) => self.restart(file, (offset, sequence)).await,
            None => {}
        }
    }

    /// Whether the next step reads from the running transfer, which may be cancelled.
    pub(super) fn next_step_is_read(&self) -> bool {
        matches!(self.step(), Some(Step::Read))
    }

    fn step(&self) -> Option<Step> {
        let ((offset_min, first), _) = self.pending.first_key_value()?;
        if self.transfer.is_none() {
            return Some(Step::Restart(*offset_min, *first));
        }
        if self.outcome.is_some() {
            return Some(Step::Finish);
        }
        let in_reach = |offset: &u64| self.buffer.reaches(*offset);
        // Otherwise two distant readers would take the transfer from each other forever.
        if self.current.is_some_and(|(offset, sequence)| {
            self.pending.contains_key(&(offset, sequence)) && in_reach(&offset)
        }) {
            return Some(Step::Read);
        }
        let waited_too_long = self.pending.iter().filter(|((offset, _), _)| !in_reach(offset));
        let waited_too_long =
            waited_too_long.filter(|(_, pending)| pending.since.elapsed() >= SEEK_TIMEOUT);
        if let Some(((offset, sequence), _)) =
            waited_too_long.min_by_key(|((_, sequence), _)| *sequence)
        {
            return Some(Step::Restart(*offset, *sequence));
        }
        if self.pending.keys().any(|(offset, _)| in_reach(offset)) {
            Some(Step::Read)
        } else {
            Some(Step::Restart(*offset_min, *first))
        }
    }

    async fn read(&mut self) {
        let in_reach = |offset: &u64| self.buffer.reaches(*offset);
        let next_offset = self.pending.keys().map(|(offset, _)| *offset).find(in_reach);
        let Some(transfer) = &mut self.transfer else { return };
        // Skip large pieces, not the small ones in which the network delivers.
        if let Some(offset) = next_offset.filter(|_| self.buffer.head.len() >= MIN_SLICE_SIZE) {
            self.buffer.skip_to(offset);
        }
        let position = self.buffer.position();
        let head = &mut self.buffer.head;
        if head.is_empty() && head.capacity() == 0 {
            *head = BytesMut::with_capacity(chunk(&self.pending, position));
        } else if head.len() == head.capacity() {
            head.reserve(CHUNK_SIZE);
        }
        match transfer.read(&mut self.buffer.head).await {
            Ok(0) => self.outcome = Some(Ok(())),
            Ok(_) => {}
            Err(failure) => self.outcome = Some(Err(failure)),
        }
    }

    /// The data has ended, by end of file or by a failure; the backend's final reply decides.
    async fn finish(&mut self, file: &dyn SequentialFile) {
        let Some(transfer) = self.transfer.take() else { return };
        let position = self.buffer.position();
        let failure = match self.outcome.take() {
            None | Some(Ok(())) => transfer.finish().await.err(),
            Some(Err(failure)) => Some(transfer.abort().await.unwrap_or(failure)),
        };
        match failure {
            None => self.end = Some(locate_end(file, self.start, position).await),
            // The next step restarts it.
            Some(_) if std::mem::take(&mut self.stale) => {}
            Some(failure) => {
                self.answer_complete_reads();
                self.cut = Some((position, failure.clone()));
                self.fail_pending(&failure);
            }
        }
    }

    /// Answers reads whose bytes are all here before the failure is reported.
    fn answer_complete_reads(&mut self) {
        for (key, pending) in std::mem::take(&mut self.pending) {
            match self.buffer.take(key.0, pending.length, false) {
                Lookup::Bytes(bytes) => drop(pending.reply.send(Ok(Some(bytes)))),
                Lookup::NotYet | Lookup::Passed => drop(self.pending.insert(key, pending)),
            }
        }
    }

    async fn restart(&mut self, file: &dyn SequentialFile, (offset, sequence): (u64, u64)) {
        self.abort().await;
        self.buffer = ReadBuffer::at(offset);
        (self.end, self.cut) = (None, None);
        if offset > 0
            && let Err(changed) = file.check_unchanged().await
        {
            return self.fail_pending(&changed);
        }
        let failure = match file.start_read(offset).await {
            Ok(transfer) => {
                (self.transfer, self.start, self.stale) = (Some(transfer), offset, false);
                self.current = Some((offset, sequence));
                // Time spent waiting for other reads counts once.
                let now = Instant::now();
                self.pending.values_mut().for_each(|pending| pending.since = now);
                return;
            }
            Err(failure) => failure,
        };
        // Servers refuse an offset after the end.
        match file.size().await {
            Ok(Some(size)) if offset > 0 && offset >= size => {
                self.end = Some(End { at: size, seen: Instant::now(), exact: true });
            }
            _ => self.fail_pending(&failure),
        }
    }

    pub(super) fn fail_pending(&mut self, failure: &Failure) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            let _ = pending.reply.send(Err(failure.clone()));
        }
        self.idle_since = Some(Instant::now());
    }

    /// Ends a transfer that is no longer needed.
    pub(super) async fn abort(&mut self) {
        self.outcome = None;
        if let Some(transfer) = self.transfer.take() {
            transfer.abort().await;
        }
    }

    /// As [`Reading::abort`], when the file is closed: often only the end of the data is
    /// outstanding.
    pub(super) async fn close(&mut self) {
        /// Time for an end of data that is on its way.
        const END_TIMEOUT: Duration = Duration::from_millis(250);
        let Some(transfer) = &mut self.transfer else { return };
        self.buffer = ReadBuffer::default();
        if matches!(self.outcome.take(), Some(Ok(()))) {
            if let Some(transfer) = self.transfer.take() {
                let _ = transfer.finish().await;
            }
            return;
        }
        let read = tokio::time::timeout(END_TIMEOUT, transfer.read(&mut self.buffer.head)).await;
        match (read, self.transfer.take()) {
            (Ok(Ok(0)), Some(transfer)) => drop(transfer.finish().await),
            (_, Some(transfer)) => drop(transfer.abort().await),
            (_, None) => {}
        }
    }

    /// Discards the transfer and all that was read ahead.
    pub(super) async fn reset(&mut self) {
        self.abort().await;
        *self = Self { sequence: self.sequence, ..Self::default() };
    }
}

/// How much to read from `position` into an empty buffer: to where a pending read ends, so that
/// nothing is left over that would have to be copied.
fn chunk(pending: &BTreeMap<(u64, u64), PendingRead>, position: u64) -> usize {
    let far = position.saturating_add(CHUNK_SIZE as u64);
    let ends = pending.range(..(far, 0)).map(|((offset, _), w)| offset + w.length);
    let last = ends.filter(|end| *end > position && *end <= far).max();
    last.map(|end| (end - position) as usize)
        .filter(|length| *length >= MIN_SLICE_SIZE)
        .unwrap_or(CHUNK_SIZE)
}

/// Some servers accept an offset after the end and send nothing.
async fn locate_end(file: &dyn SequentialFile, start: u64, position: u64) -> End {
    let seen = Instant::now();
    if position > start || position == 0 {
        return End { at: position, seen, exact: true };
    }
    match file.size().await {
        Ok(Some(size)) if size <= position => End { at: size, seen, exact: true },
        _ => End { at: position, seen, exact: false },
    }
}
