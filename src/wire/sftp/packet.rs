//! Splits a stream of bytes into packets (draft-ietf-secsh-filexfer-02 section 3).

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// The longest packet, in bytes without its length field. OpenSSH accepts and sends 256 KiB; the rest is
/// for peers that count the data only.
pub const MAX_PACKET: usize = 256 * 1024 + 1024;

/// An invalid length, after which the stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The length is 0, but every packet has a type.
    #[error("an empty SFTP packet")]
    Empty,
    /// The length is more than the limit of [`PacketReader::new`].
    #[error("an SFTP packet of {length} bytes; the limit is {max}")]
    TooLong {
        /// The announced length, in bytes without the length field.
        length: u32,
        /// The limit, in bytes without the length field.
        max: usize,
    },
}

/// Splits received chunks into packets, without copying a packet that is in one chunk.
///
/// Call `next` until it returns `None` after each `push`: then at most one incomplete packet is held, in a
/// buffer of its announced length, which `max` bounds.
#[derive(Debug)]
pub struct PacketReader {
    max: usize,
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    waiting: usize,
    header: [u8; 4],
    header_filled: usize,
    /// A packet that starts in one chunk and ends in a later one.
    partial: Option<BytesMut>,
}

impl PacketReader {
    /// `max`: of a packet, in bytes without its length field.
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

    /// Adds a received chunk.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.waiting += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Bytes that were pushed and not yet returned; 0 if the stream ended after a complete packet.
    pub fn held(&self) -> usize {
        self.waiting + self.header_filled + self.partial.as_ref().map_or(0, BytesMut::len)
    }

    /// The next complete packet without its length: its type is the first byte. After an error it returns
    /// the same error.
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

    /// The length of the current packet, once it has arrived.
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

    /// At most `max` bytes, all from the first chunk.
    fn take(&mut self, max: usize) -> Bytes {
        let Some(front) = self.chunks.front_mut() else { return Bytes::new() };
        let part = front.split_to(max.min(front.len()));
        if !front.has_remaining() {
            self.chunks.pop_front();
        }
        self.waiting -= part.len();
        part
    }
}
