//! The fields of packets (draft-ietf-secsh-filexfer-02 section 3, RFC 4251 section 5).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why a packet cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The channel cannot continue: the start of the next packet is not certain either.
    #[error("a malformed SFTP packet: it ends too early, or contains an impossible count")]
    Broken {
        /// The request's id, if the packet has one.
        id: Option<u32>,
    },
    /// The reply is OP_UNSUPPORTED.
    #[error("unknown SFTP packet type {kind}")]
    UnknownType {
        /// The type, the packet's first byte.
        kind: u8,
        /// The request's id.
        id: u32,
    },
}

/// Reads fields from the front of a packet; `None`: the packet ends before the field does.
#[derive(Debug)]
pub(super) struct Fields(Bytes);

impl Fields {
    pub(super) fn new(packet: Bytes) -> Self {
        Self(packet)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.0.try_get_u32().ok()
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    pub(super) fn string(&mut self) -> Option<Bytes> {
        // The length is consumed even if the string is incomplete: decoding stops at a broken field.
        let length = usize::try_from(self.u32()?).ok()?;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    pub(super) fn pair(&mut self) -> Option<(Bytes, Bytes)> {
        Some((self.string()?, self.string()?))
    }

    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A count and that many items, each at min_size `min_size` bytes long. A count that the packet cannot
    /// hold is an error at once; memory is allocated only for items that were read.
    pub(super) fn counted<T>(
        &mut self,
        min_size: usize,
        item: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::try_from(self.u32()?).ok()?;
        if count > self.0.len() / min_size {
            return None;
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }
}

/// A length or count on the wire.
pub(super) fn count(length: usize) -> u32 {
    debug_assert!(u32::try_from(length).is_ok(), "a field of {length} bytes");
    length as u32
}

pub(super) fn put_string(string: &[u8], out: &mut BytesMut) {
    out.put_u32(count(string.len()));
    out.put_slice(string);
}

pub(super) fn put_pair(pair: &(Bytes, Bytes), out: &mut BytesMut) {
    put_string(&pair.0, out);
    put_string(&pair.1, out);
}

/// Writes a packet: its length, `kind`, `number` (the id; the version in INIT and VERSION), and what
/// `body` writes. `follows`: the number of further bytes of the packet, which the caller sends.
pub(super) fn put_packet(
    kind: u8,
    number: u32,
    follows: usize,
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    out.put_u32(number);
    body(out);
    let length = count(out.len() - start - 4 + follows);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
