//! Received requests that are not started yet.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::budget::{Budget, Usage};
use crate::wire::sftp::{
    DecodeError, Extension, MAX_PACKET, PacketError, PacketReader, Request, RequestBody,
};

/// READs that wait for the budget while requests after them start.
const WAITING_READS_MAX: usize = 1024;
/// Memory of the queue for each entry.
const ENTRY_SIZE: usize = size_of::<(Request, Usage)>();

pub(super) struct RequestQueue {
    reader: PacketReader,
    incomplete_since: Option<Instant>,
    /// The client's first packet has been returned.
    initialized: bool,
    packets: VecDeque<Bytes>,
    /// The next packet, decoded, which does not fit the budget yet.
    next: Option<Received>,
    /// READs whose responses do not fit the budget. They wait until the client has read responses;
    /// it may report that with its window only after WRITEs to other files, which therefore go on.
    waiting_reads: VecDeque<(Request, Usage)>,
    queued_bytes: usize,
    /// The client has violated the protocol: later packets are ignored.
    invalid: bool,
}

pub(super) enum Received {
    /// The first packet, which must be INIT.
    Init(Bytes),
    Request(Request, Usage),
    /// A request of an unknown type, with its id.
    Unknown(u32),
}

enum Fit {
    Now,
    Later,
    /// Later requests wait, too.
    Blocked,
}

impl RequestQueue {
    pub(super) fn new() -> Self {
        Self {
            reader: PacketReader::new(MAX_PACKET),
            incomplete_since: None,
            initialized: false,
            packets: VecDeque::new(),
            next: None,
            waiting_reads: VecDeque::new(),
            queued_bytes: 0,
            invalid: false,
        }
    }

    /// Adds received bytes. An error is permanent; complete packets before it are kept.
    pub(super) fn push(&mut self, bytes: Bytes) -> Result<(), PacketError> {
        let length = bytes.len();
        self.reader.push(bytes);
        while let Some(packet) = self.reader.next()? {
            self.incomplete_since = None;
            // A small packet must not keep a large buffer alive.
            let packet =
                if packet.len() < length / 2 { Bytes::copy_from_slice(&packet) } else { packet };
            self.queued_bytes += packet.len() + ENTRY_SIZE;
            self.packets.push_back(packet);
        }
        if self.is_incomplete() {
            self.incomplete_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// When the packet that is being received became incomplete.
    pub(super) fn incomplete_since(&self) -> Option<Instant> {
        self.incomplete_since
    }

    /// Restarts the time of an incomplete packet: the gateway does not read from the client now.
    pub(super) fn restart_incomplete(&mut self) {
        if let Some(since) = &mut self.incomplete_since {
            *since = Instant::now();
        }
    }

    /// Whether a packet has been received in part.
    pub(super) fn is_incomplete(&self) -> bool {
        self.reader.held() > 0
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none() && self.packets.is_empty() && self.waiting_reads.is_empty()
    }

    /// The next request that fits the budget, with this number of channels on the connection.
    pub(super) fn next(
        &mut self,
        budget: &Budget,
        channels: usize,
    ) -> Result<Option<Received>, DecodeError> {
        loop {
            if self.waiting_reads.front().is_some_and(|(_, usage)| budget.fits(*usage, channels)) {
                return Ok(self.pop_read());
            }
            let next = match self.next.take() {
                None => self.decode_next()?,
                next => next,
            };
            let Some(next) = next else { return Ok(None) };
            match self.fit(&next, budget, channels) {
                Fit::Now => return Ok(Some(next)),
                Fit::Later => {
                    if let Received::Request(request, usage) = next {
                        self.queued_bytes += ENTRY_SIZE;
                        self.waiting_reads.push_back((request, usage));
                    }
                }
                Fit::Blocked => {
                    self.next = Some(next);
                    return Ok(None);
                }
            }
        }
    }

    /// As [`RequestQueue::next`] once responses are discarded: skips READs and ends at a protocol
    /// error.
    pub(super) fn next_without_response(
        &mut self,
        budget: &Budget,
        channels: usize,
    ) -> Option<(Request, Usage)> {
        self.queued_bytes = self.queued_bytes.saturating_sub(self.waiting_reads.len() * ENTRY_SIZE);
        self.waiting_reads.clear();
        while !self.invalid {
            let next = match self.next.take() {
                None => self.decode_next(),
                next => Ok(next),
            };
            match next {
                Ok(Some(Received::Request(request, usage))) if usage.response_bytes == 0 => {
                    if budget.fits(usage, channels) {
                        return Some((request, usage));
                    }
                    self.next = Some(Received::Request(request, usage));
                    return None;
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(_) => self.invalid = true,
            }
        }
        None
    }

    /// Ignores all later packets after a protocol error.
    pub(super) fn set_invalid(&mut self) {
        self.invalid = true;
    }

    fn pop_read(&mut self) -> Option<Received> {
        let (request, usage) = self.waiting_reads.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(ENTRY_SIZE);
        Some(Received::Request(request, usage))
    }

    fn decode_next(&mut self) -> Result<Option<Received>, DecodeError> {
        let Some(packet) = self.packets.pop_front() else { return Ok(None) };
        let length = packet.len();
        self.queued_bytes = self.queued_bytes.saturating_sub(length + ENTRY_SIZE);
        if !self.initialized {
            self.initialized = true;
            return Ok(Some(Received::Init(packet)));
        }
        match Request::decode(packet) {
            Ok(request) => {
                let usage = Usage::of(&request.body, length);
                Ok(Some(Received::Request(request, usage)))
            }
            Err(DecodeError::UnknownType { id, .. }) => Ok(Some(Received::Unknown(id))),
            Err(error) => Err(error),
        }
    }

    fn fit(&self, next: &Received, budget: &Budget, channels: usize) -> Fit {
        let (fits, is_read) = match next {
            Received::Init(_) => return Fit::Now,
            Received::Unknown(_) => (budget.fits(Usage::ONE_REQUEST, channels), false),
            Received::Request(request, usage) => {
                let is_read = matches!(request.body, RequestBody::Read { .. });
                if !is_read && self.waiting_reads.iter().any(|(read, _)| same_file(read, request)) {
                    return Fit::Blocked;
                }
                (budget.fits(*usage, channels), is_read)
            }
        };
        if fits && (!is_read || self.waiting_reads.is_empty()) {
            Fit::Now
        } else if is_read && self.waiting_reads.len() < WAITING_READS_MAX {
            Fit::Later
        } else {
            Fit::Blocked
        }
    }
}

/// Whether a request uses the file of a READ.
fn same_file(read: &Request, other: &Request) -> bool {
    use RequestBody as R;
    let R::Read { handle: read, .. } = &read.body else { return false };
    match &other.body {
        R::Close { handle }
        | R::Write { handle, .. }
        | R::FileSetStat { handle, .. }
        | R::Extended(Extension::FileSync { handle }) => handle == read,
        R::Extended(Extension::CopyData { from_handle, to_handle, .. }) => {
            from_handle == read || to_handle == read
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::budget::{DATA_MAX, RESPONSE_BYTES_MAX};
    use super::*;

    const A: Bytes = Bytes::from_static(b"a");
    const B: Bytes = Bytes::from_static(b"b");

    fn read(handle: Bytes) -> RequestBody {
        RequestBody::Read { handle, offset: 0, length: 255 * 1024 }
    }

    fn write(handle: Bytes) -> RequestBody {
        RequestBody::Write { handle, offset: 0, data: Bytes::from_static(b"data") }
    }

    /// Numbered from 0.
    fn packets(bodies: impl IntoIterator<Item = RequestBody>) -> Bytes {
        let mut packets = BytesMut::from(&b"\0\0\0\x05\x01\0\0\0\x03"[..]);
        for (id, body) in (0..).zip(bodies) {
            Request { id, body }.encode(&mut packets);
        }
        packets.freeze()
    }

    fn queue_of(bodies: impl IntoIterator<Item = RequestBody>) -> RequestQueue {
        let mut queue = RequestQueue::new();
        queue.push(packets(bodies)).unwrap();
        assert!(matches!(queue.next(&Budget::default(), 1), Ok(Some(Received::Init(_)))));
        queue
    }

    fn start_all(queue: &mut RequestQueue, budget: &mut Budget) -> Vec<u32> {
        let mut ids = Vec::new();
        while let Some(arrived) = queue.next(budget, 1).unwrap() {
            let Received::Request(request, usage) = arrived else { panic!("{ids:?}") };
            budget.acquire(usage);
            ids.push(request.id);
        }
        ids
    }

    #[test]
    fn reads_that_do_not_fit_delay_only_their_own_file() {
        let reads = (0..20).map(|_| read(A));
        let others = [write(B), RequestBody::Close { handle: B }];
        let own = [RequestBody::Close { handle: A }, write(B)];
        let mut queue = queue_of(reads.chain(others).chain(own));
        let mut budget = Budget::default();
        let first = start_all(&mut queue, &mut budget);
        let fit = (RESPONSE_BYTES_MAX / DATA_MAX as usize) as u32;
        assert_eq!(
            first,
            (0..fit).chain([20, 21]).collect::<Vec<_>>(),
            "the CLOSE of the same file waits, and so does what follows it"
        );
        budget = Budget::default();
        let rest: Vec<_> = (fit..20).chain([22, 23]).collect();
        assert_eq!(start_all(&mut queue, &mut budget), rest);
        assert!(queue.is_empty());
        assert_eq!(queue.queued_bytes(), 0);
    }

    #[test]
    fn waiting_reads_are_bounded() {
        let mut queue = queue_of((0..2000).map(|_| read(A)));
        let mut budget = Budget::default();
        start_all(&mut queue, &mut budget);
        assert_eq!(queue.waiting_reads.len(), WAITING_READS_MAX);
        assert!(queue.next.is_some() && !queue.packets.is_empty());
    }

    #[test]
    fn complete_requests_are_returned_without_responses_except_reads() {
        let close = || RequestBody::Close { handle: A };
        let mut all = packets([write(A), read(B), close()]).to_vec();
        all.extend(b"\0\0\0\x09\x04");
        let mut queue = RequestQueue::new();
        queue.push(all.into()).unwrap();
        assert!(queue.is_incomplete());
        let next = |queue: &mut RequestQueue, budget: &Budget| {
            queue.next_without_response(budget, 1).map(|(request, _)| request.id)
        };
        let mut full = Budget::default();
        (0..1000).for_each(|_| full.acquire(Usage { writes: 1, ..Usage::ONE_REQUEST }));
        assert_eq!(next(&mut queue, &full), None, "the budget is used up");
        let ids = std::iter::from_fn(|| next(&mut queue, &Budget::default()));
        assert_eq!(ids.collect::<Vec<_>>(), [0, 2]);
        // Nothing after a protocol error.
        let mut invalid = queue_of([write(A)]);
        invalid.push(Bytes::from_static(b"\0\0\0\x02\x04\0")).unwrap();
        invalid.push(packets([close()]).slice(9..)).unwrap();
        assert!(next(&mut invalid, &Budget::default()).is_some());
        assert!(next(&mut invalid, &Budget::default()).is_none());
    }

    #[test]
    fn small_packets_keep_no_large_buffer_alive() {
        let large = RequestBody::Write { handle: A, offset: 0, data: vec![0; 60_000].into() };
        let piece = packets([write(B), large]);
        let within = piece.as_ptr_range();
        let mut queue = RequestQueue::new();
        queue.push(piece).unwrap();
        let held = queue.packets.iter().map(|packet| within.contains(&packet.as_ptr()));
        assert_eq!(held.collect::<Vec<_>>(), [false, false, true]);
        assert!(queue.queued_bytes() > 60_000 + 3 * ENTRY_SIZE);
    }
}
