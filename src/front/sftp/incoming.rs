//! What a client has sent and what is not begun yet.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::room::{Cost, Room};
use crate::wire::sftp::{
    DecodeError, Extension, MAX_PACKET, PacketError, PacketReader, Request, RequestBody,
};

/// READs that wait for room while what is behind them goes on.
const READS: usize = 1024;
/// What the queue itself needs for each that waits, in bytes.
const ENTRY: usize = size_of::<(Request, Cost)>();

pub(super) struct Incoming {
    reader: PacketReader,
    /// Since when a packet is incomplete.
    incomplete_since: Option<Instant>,
    /// The client's first packet has been taken.
    greeted: bool,
    packets: VecDeque<Bytes>,
    /// The first of them, decoded, that has no room yet.
    next: Option<Arrived>,
    /// What they may bring has no room: it would wait for the client to take answers, which it may
    /// tell behind WRITEs to other files. So those go on.
    reads: VecDeque<(Request, Cost)>,
    /// In bytes.
    waiting: usize,
    /// What came was no SFTP: nothing behind it counts.
    broken: bool,
}

pub(super) enum Arrived {
    /// The first packet: to be INIT.
    Greeting(Bytes),
    Request(Request, Cost),
    /// A request of this id, of a type that is not known.
    Unknown(u32),
}

enum Fit {
    Now,
    Later,
    /// And nothing behind it goes on.
    Blocked,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            reader: PacketReader::new(MAX_PACKET),
            incomplete_since: None,
            greeted: false,
            packets: VecDeque::new(),
            next: None,
            reads: VecDeque::new(),
            waiting: 0,
            broken: false,
        }
    }

    /// Takes in a piece of the stream. An error stays; what was whole before it is kept.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), PacketError> {
        let length = piece.len();
        self.reader.push(piece);
        while let Some(packet) = self.reader.next()? {
            self.incomplete_since = None;
            // A small part must not hold the whole piece.
            let packet = match packet.len() < length / 2 {
                true => Bytes::copy_from_slice(&packet),
                false => packet,
            };
            self.waiting += packet.len() + ENTRY;
            self.packets.push_back(packet);
        }
        if self.is_cut() {
            self.incomplete_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Since when the packet that is being received is incomplete.
    pub(super) fn incomplete_since(&self) -> Option<Instant> {
        self.incomplete_since
    }

    /// What the client sends is not taken now: that is no fault of its own.
    pub(super) fn is_held_up(&mut self) {
        if let Some(since) = &mut self.incomplete_since {
            *since = Instant::now();
        }
    }

    /// The stream has stopped inside a packet.
    pub(super) fn is_cut(&self) -> bool {
        self.reader.held() > 0
    }

    /// In bytes.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none() && self.packets.is_empty() && self.reads.is_empty()
    }

    /// The next that fits, with so many channels on the connection.
    pub(super) fn next(
        &mut self,
        room: &Room,
        channels: usize,
    ) -> Result<Option<Arrived>, DecodeError> {
        loop {
            if self.reads.front().is_some_and(|(_, cost)| room.has(*cost, channels)) {
                return Ok(self.pop_read());
            }
            let next = match self.next.take() {
                None => self.decode_next()?,
                next => next,
            };
            let Some(next) = next else { return Ok(None) };
            match self.fit(&next, room, channels) {
                Fit::Now => return Ok(Some(next)),
                Fit::Later => {
                    if let Arrived::Request(request, cost) = next {
                        self.waiting += ENTRY;
                        self.reads.push_back((request, cost));
                    }
                }
                Fit::Blocked => {
                    self.next = Some(next);
                    return Ok(None);
                }
            }
        }
    }

    /// As [`Incoming::next`] when nobody listens any more: READs are left out, and what is broken ends it.
    pub(super) fn next_unheard(&mut self, room: &Room, channels: usize) -> Option<(Request, Cost)> {
        self.waiting = self.waiting.saturating_sub(self.reads.len() * ENTRY);
        self.reads.clear();
        while !self.broken {
            let next = match self.next.take() {
                None => self.decode_next(),
                next => Ok(next),
            };
            match next {
                Ok(Some(Arrived::Request(request, cost))) if cost.read == 0 => {
                    if room.has(cost, channels) {
                        return Some((request, cost));
                    }
                    self.next = Some(Arrived::Request(request, cost));
                    return None;
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(_) => self.broken = true,
            }
        }
        None
    }

    /// What was taken last is no SFTP.
    pub(super) fn is_broken(&mut self) {
        self.broken = true;
    }

    fn pop_read(&mut self) -> Option<Arrived> {
        let (request, cost) = self.reads.pop_front()?;
        self.waiting = self.waiting.saturating_sub(ENTRY);
        Some(Arrived::Request(request, cost))
    }

    fn decode_next(&mut self) -> Result<Option<Arrived>, DecodeError> {
        let Some(packet) = self.packets.pop_front() else { return Ok(None) };
        let length = packet.len();
        self.waiting = self.waiting.saturating_sub(length + ENTRY);
        if !self.greeted {
            self.greeted = true;
            return Ok(Some(Arrived::Greeting(packet)));
        }
        match Request::decode(packet) {
            Ok(request) => {
                let cost = Cost::of(&request.body, length);
                Ok(Some(Arrived::Request(request, cost)))
            }
            Err(DecodeError::UnknownType { id, .. }) => Ok(Some(Arrived::Unknown(id))),
            Err(error) => Err(error),
        }
    }

    fn fit(&self, next: &Arrived, room: &Room, channels: usize) -> Fit {
        let (has, reads) = match next {
            Arrived::Greeting(_) => return Fit::Now,
            Arrived::Unknown(_) => (room.has(Cost::ONE, channels), false),
            Arrived::Request(request, cost) => {
                let reads = matches!(request.body, RequestBody::Read { .. });
                if !reads && self.reads.iter().any(|(read, _)| same_file(read, request)) {
                    return Fit::Blocked;
                }
                (room.has(*cost, channels), reads)
            }
        };
        match has {
            true if !reads || self.reads.is_empty() => Fit::Now,
            _ if reads && self.reads.len() < READS => Fit::Later,
            _ => Fit::Blocked,
        }
    }
}

/// Whether a request is about the file that a READ is about.
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

    use super::super::room::{LONGEST_DATA, READ};
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

    fn sent(bodies: impl IntoIterator<Item = RequestBody>) -> Incoming {
        let mut incoming = Incoming::new();
        incoming.push(packets(bodies)).unwrap();
        assert!(matches!(incoming.next(&Room::default(), 1), Ok(Some(Arrived::Greeting(_)))));
        incoming
    }

    fn begun(incoming: &mut Incoming, room: &mut Room) -> Vec<u32> {
        let mut ids = Vec::new();
        while let Some(arrived) = incoming.next(room, 1).unwrap() {
            let Arrived::Request(request, cost) = arrived else { panic!("{ids:?}") };
            room.take(cost);
            ids.push(request.id);
        }
        ids
    }

    #[test]
    fn reads_without_room_hold_up_only_their_own_file() {
        let reads = (0..20).map(|_| read(A));
        let others = [write(B), RequestBody::Close { handle: B }];
        let own = [RequestBody::Close { handle: A }, write(B)];
        let mut incoming = sent(reads.chain(others).chain(own));
        let mut room = Room::default();
        let first = begun(&mut incoming, &mut room);
        let fit = (READ / LONGEST_DATA as usize) as u32;
        assert_eq!(
            first,
            (0..fit).chain([20, 21]).collect::<Vec<_>>(),
            "the CLOSE of the same file waits, and what is behind it"
        );
        room = Room::default();
        let rest: Vec<_> = (fit..20).chain([22, 23]).collect();
        assert_eq!(begun(&mut incoming, &mut room), rest);
        assert!(incoming.is_empty());
        assert_eq!(incoming.waiting(), 0);
    }

    #[test]
    fn reads_that_wait_are_bounded() {
        let mut incoming = sent((0..2000).map(|_| read(A)));
        let mut room = Room::default();
        begun(&mut incoming, &mut room);
        assert_eq!(incoming.reads.len(), READS);
        assert!(incoming.next.is_some() && !incoming.packets.is_empty());
    }

    #[test]
    fn what_arrived_whole_is_done_though_nobody_listens() {
        let close = || RequestBody::Close { handle: A };
        let mut all = packets([write(A), read(B), close()]).to_vec();
        all.extend(b"\0\0\0\x09\x04");
        let mut incoming = Incoming::new();
        incoming.push(all.into()).unwrap();
        assert!(incoming.is_cut());
        let next = |incoming: &mut Incoming, room: &Room| {
            incoming.next_unheard(room, 1).map(|(request, _)| request.id)
        };
        let mut full = Room::default();
        (0..1000).for_each(|_| full.take(Cost { writes: 1, ..Cost::ONE }));
        assert_eq!(next(&mut incoming, &full), None, "as long as there is no room");
        let ids = std::iter::from_fn(|| next(&mut incoming, &Room::default()));
        assert_eq!(ids.collect::<Vec<_>>(), [0, 2]);
        // Nothing behind what is broken.
        let mut broken = sent([write(A)]);
        broken.push(Bytes::from_static(b"\0\0\0\x02\x04\0")).unwrap();
        broken.push(packets([close()]).slice(9..)).unwrap();
        assert!(next(&mut broken, &Room::default()).is_some());
        assert!(next(&mut broken, &Room::default()).is_none());
    }

    #[test]
    fn small_packets_hold_no_large_pieces() {
        let large = RequestBody::Write { handle: A, offset: 0, data: vec![0; 60_000].into() };
        let piece = packets([write(B), large]);
        let within = piece.as_ptr_range();
        let mut incoming = Incoming::new();
        incoming.push(piece).unwrap();
        let held = incoming.packets.iter().map(|packet| within.contains(&packet.as_ptr()));
        assert_eq!(held.collect::<Vec<_>>(), [false, false, true]);
        assert!(incoming.waiting() > 60_000 + 3 * ENTRY);
    }
}
