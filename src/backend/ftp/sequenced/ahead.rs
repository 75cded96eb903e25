use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

use super::{PIECES, WINDOW};

/// A smaller piece is copied, in bytes: a slice would hold the whole read that brought it.
pub(super) const SLICE: usize = 128 * 1024;

/// What a read transfer has brought and nobody has read yet. What is read is gone.
#[derive(Default)]
pub(super) struct Ahead {
    /// The newest bytes: up to where the transfer is.
    pub(super) head: BytesMut,
    /// Where they begin in the file.
    start: u64,
    /// What was passed over, by offset; all before `start`.
    passed: BTreeMap<u64, Bytes>,
    passed_bytes: u64,
}

/// What there is for a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Bytes(Bytes),
    /// The transfer has to go on first.
    NotYet,
    /// The transfer was there before and will not come there again.
    Gone,
}

impl Ahead {
    /// Empty, before a transfer that begins at `offset`.
    pub(super) fn at(offset: u64) -> Self {
        Self { start: offset, ..Self::default() }
    }

    /// Where the transfer is.
    pub(super) fn position(&self) -> u64 {
        self.start + self.head.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.passed.is_empty()
    }

    /// What was passed over, in pieces; the memory of each, in bytes.
    #[cfg(test)]
    pub(super) fn into_pieces(self) -> Vec<usize> {
        let pieces = self.passed.into_values();
        pieces.map(|piece| piece.try_into_mut().map_or(0, |piece| piece.capacity())).collect()
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.passed_bytes + self.head.len() as u64
    }

    /// Whether the bytes at `offset` are here, or will be when the transfer has gone on for at most
    /// a window.
    pub(super) fn reaches(&self, offset: u64) -> bool {
        match offset < self.start {
            true => self.contiguous(offset) > offset,
            false => offset - self.start <= WINDOW,
        }
    }

    /// The bytes from `offset` on. `ended`: the transfer brings no more.
    pub(super) fn take(&mut self, offset: u64, length: u64, ended: bool) -> Found {
        if offset > self.position() {
            return if ended { Found::Bytes(Bytes::new()) } else { Found::NotYet };
        }
        let there = self.contiguous(offset);
        if there < offset + length && there == self.position() && !ended {
            return Found::NotYet;
        }
        // Nothing at the end is the end; nothing before it was read already.
        if there == offset && offset < self.start {
            return Found::Gone;
        }
        self.pass_to(offset);
        let end = there.min(offset + length);
        if offset == self.start {
            self.start = end;
            return Found::Bytes(self.head.split_to((end - offset) as usize).freeze());
        }
        Found::Bytes(self.gather(offset, end))
    }

    /// Makes room for a reader that wants nothing before `offset`: what is passed over is held, the
    /// oldest only as long as there is room.
    pub(super) fn pass_to(&mut self, offset: u64) {
        let end = offset.min(self.position());
        if end <= self.start {
            return;
        }
        let passed = self.head.split_to((end - self.start) as usize).freeze();
        self.passed_bytes += passed.len() as u64;
        self.keep(self.start, passed);
        self.start = end;
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.passed_bytes > WINDOW || self.passed.len() > PIECES {
            let Some((_, oldest)) = self.passed.pop_first() else { return };
            self.passed_bytes -= oldest.len() as u64;
        }
    }

    fn keep(&mut self, start: u64, bytes: Bytes) {
        let kept = if bytes.len() < SLICE { Bytes::copy_from_slice(&bytes) } else { bytes };
        self.passed.insert(start, kept);
    }

    /// Up to where there are bytes without a gap from `offset` on.
    fn contiguous(&self, offset: u64) -> u64 {
        let mut end = offset;
        if let Some((start, bytes)) = self.passed.range(..=offset).next_back() {
            end = end.max(start + bytes.len() as u64);
        }
        for (start, bytes) in self.passed.range(offset..).filter(|(start, _)| **start > offset) {
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
            let Some((&start, _)) = self.passed.range(..=at).next_back() else { break };
            let Some(mut bytes) = self.passed.remove(&start) else { break };
            let before = bytes.split_to(((at - start) as usize).min(bytes.len()));
            let piece = bytes.split_to(((end - at) as usize).min(bytes.len()));
            self.passed_bytes -= piece.len() as u64;
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
