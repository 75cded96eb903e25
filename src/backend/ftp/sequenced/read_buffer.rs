//! Bytes that a read transfer has received and that no read has taken yet.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

use super::{MAX_PIECES, WINDOW_SIZE};

/// Pieces smaller than this are copied: a slice keeps the whole buffer alive.
pub(super) const MIN_SLICE_SIZE: usize = 128 * 1024;

/// Bytes received by a read transfer and not read yet. Bytes that are read are removed.
#[derive(Default)]
pub(super) struct ReadBuffer {
    /// The newest bytes, up to the position of the transfer.
    pub(super) head: BytesMut,
    /// Offset of `head` in the file.
    start: u64,
    /// Skipped bytes by offset, all before `start`.
    skipped: BTreeMap<u64, Bytes>,
    skipped_bytes: u64,
}

/// What the buffer has for a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Bytes(Bytes),
    /// The transfer has not reached these bytes yet.
    NotYet,
    /// The transfer has passed these bytes, and they are no longer held.
    Passed,
}

impl ReadBuffer {
    /// Empty, for a transfer that starts at `offset`.
    pub(super) fn at(offset: u64) -> Self {
        Self { start: offset, ..Self::default() }
    }

    /// The position of the transfer.
    pub(super) fn position(&self) -> u64 {
        self.start + self.head.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.skipped.is_empty()
    }

    /// The capacity of each skipped piece, in bytes.
    #[cfg(test)]
    pub(super) fn into_pieces(self) -> Vec<usize> {
        let pieces = self.skipped.into_values();
        pieces.map(|piece| piece.try_into_mut().map_or(0, |piece| piece.capacity())).collect()
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.skipped_bytes + self.head.len() as u64
    }

    /// Whether the bytes at `offset` are held, or at most a window ahead of the transfer.
    pub(super) fn reaches(&self, offset: u64) -> bool {
        if offset < self.start {
            self.contiguous(offset) > offset
        } else {
            offset - self.start <= WINDOW_SIZE
        }
    }

    /// Takes the bytes from `offset` on. `ended`: the transfer brings no more.
    pub(super) fn take(&mut self, offset: u64, length: u64, ended: bool) -> Lookup {
        if offset > self.position() {
            return if ended { Lookup::Bytes(Bytes::new()) } else { Lookup::NotYet };
        }
        let there = self.contiguous(offset);
        if there < offset + length && there == self.position() && !ended {
            return Lookup::NotYet;
        }
        // No bytes at the end mean end of file; no bytes before it were read already.
        if there == offset && offset < self.start {
            return Lookup::Passed;
        }
        self.skip_to(offset);
        let end = there.min(offset + length);
        if offset == self.start {
            self.start = end;
            return Lookup::Bytes(self.head.split_to((end - offset) as usize).freeze());
        }
        Lookup::Bytes(self.gather(offset, end))
    }

    /// Skips to `offset`. The skipped bytes are held, the oldest ones while there is room.
    pub(super) fn skip_to(&mut self, offset: u64) {
        let end = offset.min(self.position());
        if end <= self.start {
            return;
        }
        let skipped = self.head.split_to((end - self.start) as usize).freeze();
        self.skipped_bytes += skipped.len() as u64;
        self.keep(self.start, skipped);
        self.start = end;
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.skipped_bytes > WINDOW_SIZE || self.skipped.len() > MAX_PIECES {
            let Some((_, oldest)) = self.skipped.pop_first() else { return };
            self.skipped_bytes -= oldest.len() as u64;
        }
    }

    fn keep(&mut self, start: u64, bytes: Bytes) {
        let kept =
            if bytes.len() < MIN_SLICE_SIZE { Bytes::copy_from_slice(&bytes) } else { bytes };
        self.skipped.insert(start, kept);
    }

    /// The end of the contiguous bytes from `offset` on.
    fn contiguous(&self, offset: u64) -> u64 {
        let mut end = offset;
        if let Some((start, bytes)) = self.skipped.range(..=offset).next_back() {
            end = end.max(start + bytes.len() as u64);
        }
        for (start, bytes) in self.skipped.range(offset..).filter(|(start, _)| **start > offset) {
            if *start != end {
                break;
            }
            end += bytes.len() as u64;
        }
        if end >= self.start { self.position() } else { end }
    }

    fn gather(&mut self, offset: u64, end: u64) -> Bytes {
        let mut pieces = Vec::new();
        let mut at = offset;
        while at < end && at < self.start {
            let Some((&start, _)) = self.skipped.range(..=at).next_back() else { break };
            let Some(mut bytes) = self.skipped.remove(&start) else { break };
            let before = bytes.split_to(((at - start) as usize).min(bytes.len()));
            let piece = bytes.split_to(((end - at) as usize).min(bytes.len()));
            self.skipped_bytes -= piece.len() as u64;
            if !before.is_empty() {
                self.keep(start, before);
            }
            at += piece.len() as u64;
            if bytes.has_remaining() {
                self.keep(at, bytes);
            }
            if piece.is_empty() {
                break;
            }
            pieces.push(piece);
        }
        if at < end && at == self.start {
            let piece = self.head.split_to(((end - at) as usize).min(self.head.len())).freeze();
            self.start += piece.len() as u64;
            pieces.push(piece);
        }
        self.drop_oldest();
        match pieces.len() {
            1 => pieces.swap_remove(0),
            _ => pieces.concat().into(),
        }
    }
}
