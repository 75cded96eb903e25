//! Packets in a stream of bytes (draft-ietf-secsh-filexfer-02 section 3).

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// The longest packet, in bytes without its length field. OpenSSH takes and sends 256 KiB; the rest is
/// for peers that count only the data.
pub const MAX_PACKET: usize = 256 * 1024 + 1024;

/// The stream cannot be cut any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("an SFTP packet without content")]
    Empty,
    #[error("an SFTP packet of {length} bytes; {max} are the most")]
    TooLong { length: u32, max: usize },
}

/// Cuts arriving chunks into packets, without copying where a packet lies in one chunk.
///
/// Call `next` until it gives none after each `push`: then at most one packet that is not whole is
/// held, in a buffer of its announced length, which `max` bounds.
#[derive(Debug)]
pub struct PacketReader {
    max: usize,
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    waiting: usize,
    header: [u8; 4],
    header_filled: usize,
    /// A packet that began in a chunk and ends in a later one.
    partial: Option<BytesMut>,
}

impl PacketReader {
    /// `max`: bytes a packet may have without its length field.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            chunks: VecDeque::new(),
            waiting: 0,
            header: [0; 4],
            header_filled: 0,
            partial: None,
        }
    }

    /// Takes what arrived.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.waiting += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Bytes that were pushed and not yet given out; 0 at the stream's end if it ended well.
    pub fn held(&self) -> usize {
        self.waiting + self.header_filled + self.partial.as_ref().map_or(0, BytesMut::len)
    }

    /// The next whole packet without its length: its type is the first byte. An error stays.
    #[expect(clippy::should_implement_trait, reason = "an error ends the stream, `None` does not")]
    pub fn next(&mut self) -> Result<Option<Bytes>, PacketError> {
        let Some(length) = self.length()? else { return Ok(None) };
        let Some(front) = self.chunks.front() else { return Ok(None) };
        if self.partial.is_none() && front.len() >= length {
            self.header_filled = 0;
            return Ok(Some(self.take(length)));
        }
        let mut packet = self.partial.take().unwrap_or_else(|| BytesMut::with_capacity(length));
        while packet.len() < length && !self.chunks.is_empty() {
            packet.extend_from_slice(&self.take(length - packet.len()));
        }
        if packet.len() < length {
            self.partial = Some(packet);
            return Ok(None);
        }
        self.header_filled = 0;
        Ok(Some(packet.freeze()))
    }

    /// The length that the current packet announces, once it has arrived.
    fn length(&mut self) -> Result<Option<usize>, PacketError> {
        while self.header_filled < 4 {
            if self.chunks.is_empty() {
                return Ok(None);
            }
            let part = self.take(4 - self.header_filled);
            self.header[self.header_filled..][..part.len()].copy_from_slice(&part);
            self.header_filled += part.len();
        }
        let announced = u32::from_be_bytes(self.header);
        match usize::try_from(announced) {
            Ok(0) => Err(PacketError::Empty),
            Ok(length) if length <= self.max => Ok(Some(length)),
            _ => Err(PacketError::TooLong { length: announced, max: self.max }),
        }
    }

    /// At most `most` bytes, all from the first chunk.
    fn take(&mut self, most: usize) -> Bytes {
        let Some(front) = self.chunks.front_mut() else { return Bytes::new() };
        let part = front.split_to(most.min(front.len()));
        if !front.has_remaining() {
            self.chunks.pop_front();
        }
        self.waiting -= part.len();
        part
    }
}
