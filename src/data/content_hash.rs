//! The SHA-256 of a file, computed beside its transfer.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use bytes::Bytes;

/// What may wait for the bytes before it: more than a client can have requested.
const PENDING_MAX: usize = 16 * 1024 * 1024;

/// A SHA-256 digest.
pub type Sha256 = [u8; SHA256_OUTPUT_LEN];

/// The hash of a file whose bytes come in order, from its start. There is none where they do not, or where
/// it is not certain that they are the whole file.
pub(super) struct ContentHash {
    context: Context,
    /// The end of the bytes that are hashed.
    next: u64,
    /// Bytes whose turn has not come, by their offsets: answers of a server may overtake each other.
    pending: BTreeMap<u64, Bytes>,
    pending_bytes: usize,
    /// Whether the file has no other bytes.
    whole: bool,
    /// The end of the file, as the backend reported it.
    end: Option<u64>,
    spoiled: bool,
}

impl ContentHash {
    /// `whole`: the file consists of the bytes that follow.
    pub(super) fn new(whole: bool) -> Self {
        Self {
            context: Context::new(&SHA256),
            next: 0,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            whole,
            end: None,
            spoiled: false,
        }
    }

    /// The next bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.next += bytes.len() as u64;
    }

    /// Bytes that were read at `offset`. They may come before those that precede them.
    pub(super) fn read(&mut self, offset: u64, bytes: &Bytes) {
        if self.spoiled || bytes.is_empty() {
            return;
        }
        if offset != self.next {
            self.pending_bytes += bytes.len();
            let again = self.pending.insert(offset, bytes.clone()).is_some();
            if again || offset < self.next || self.pending_bytes > PENDING_MAX {
                self.spoil();
            }
            return;
        }
        self.append(bytes);
        while let Some(bytes) = self.pending.remove(&self.next) {
            self.pending_bytes -= bytes.len();
            self.append(&bytes);
        }
    }

    /// Bytes that are written at `offset`.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if offset == self.next && !self.spoiled {
            self.append(bytes);
        } else {
            self.spoil();
        }
    }

    /// The file has no byte at `offset` or after it.
    pub(super) fn ends_at(&mut self, offset: u64) {
        self.end = Some(self.end.map_or(offset, |end| end.min(offset)));
    }

    /// The end of the bytes that are hashed.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The file was cut or extended to `size`, when `hashed` bytes were hashed: if they end there, and no
    /// others came meanwhile, the file consists of them.
    pub(super) fn resized(&mut self, size: u64, hashed: u64) {
        if size == hashed && hashed == self.next {
            self.whole = true;
        } else {
            self.spoil();
        }
    }

    /// From now on there is no hash.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
        self.pending.clear();
    }

    /// The hash, if the file consists of `bytes` bytes that came in order.
    pub(super) fn of(&self, bytes: u64) -> Option<Sha256> {
        let complete = self.whole || self.end == Some(self.next);
        if self.spoiled || !complete || !self.pending.is_empty() || bytes != self.next {
            return None;
        }
        self.context.clone().finish().as_ref().try_into().ok()
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHash").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sha256(bytes: &[u8]) -> Option<Sha256> {
        aws_lc_rs::digest::digest(&SHA256, bytes).as_ref().try_into().ok()
    }

    #[test]
    fn a_stream_has_the_hash_of_its_bytes() {
        let mut hash = ContentHash::new(true);
        // FIPS 180-4, of the empty message.
        let empty = hash.of(0).unwrap();
        assert_eq!(empty[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        hash.append(b"ab");
        hash.append(b"c");
        assert_eq!(hash.of(3).unwrap()[..4], [0xba, 0x78, 0x16, 0xbf]);
        // A byte was hashed that did not arrive.
        assert_eq!(hash.of(2), None);
    }

    #[test]
    fn a_file_that_is_not_read_whole_has_no_hash() {
        let mut hash = ContentHash::new(false);
        hash.read(0, &Bytes::from_static(b"abc"));
        assert_eq!(hash.of(3), None);
        hash.ends_at(9);
        assert_eq!(hash.of(3), None);
        hash.ends_at(3);
        assert_eq!(hash.of(3), sha256(b"abc"));
        hash.read(1, &Bytes::from_static(b"b"));
        assert_eq!(hash.of(4), None);
    }

    #[test]
    fn a_file_that_is_not_truncated_may_have_a_tail() {
        let mut hash = ContentHash::new(false);
        hash.write(0, b"abc");
        assert_eq!(hash.of(3), None);
        hash.resized(3, hash.next());
        assert_eq!(hash.of(3), sha256(b"abc"));
        hash.write(3, b"d");
        assert_eq!(hash.of(4), sha256(b"abcd"));
        hash.resized(2, hash.next());
        assert_eq!(hash.of(4), None);
    }

    #[test]
    fn writes_out_of_order_have_no_hash() {
        for offsets in [[0, 2], [1, 2], [0, 0]] {
            let mut hash = ContentHash::new(true);
            hash.write(offsets[0], b"a");
            hash.write(offsets[1], b"b");
            assert_eq!(hash.of(2), None, "{offsets:?}");
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut hash = ContentHash::new(false);
        let chunk = Bytes::from(vec![0; 1024 * 1024]);
        for index in 1..=17 {
            hash.read(index << 20, &chunk);
        }
        assert!(hash.pending.is_empty());
        hash.ends_at(0);
        assert_eq!(hash.of(0), None);
    }

    proptest! {
        #[test]
        fn answers_may_overtake_each_other(
            lengths in proptest::collection::vec(1_usize..9, 1..12), seed: u64,
        ) {
            let whole: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|i| i as u8).collect();
            let mut offset = 0;
            let mut reads: Vec<_> = lengths.iter().map(|length| {
                let read = (offset as u64, Bytes::copy_from_slice(&whole[offset..offset + length]));
                offset += length;
                read
            }).collect();
            reads.sort_by_key(|(offset, _)| (offset + 1).wrapping_mul(seed | 1) >> 7);
            let mut hash = ContentHash::new(false);
            for (offset, bytes) in &reads {
                hash.read(*offset, bytes);
            }
            hash.ends_at(whole.len() as u64);
            prop_assert_eq!(hash.of(whole.len() as u64), sha256(&whole));
            // Without one of them there is no hash.
            let mut hash = ContentHash::new(false);
            for (offset, bytes) in &reads[1..] {
                hash.read(*offset, bytes);
            }
            hash.ends_at(whole.len() as u64);
            let moved = whole.len() - reads[0].1.len();
            prop_assert_eq!(hash.of(moved as u64), None);
        }
    }
}
