//! The progress of a transfer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::content_hash::{ContentHash, Sha256};

/// Bytes moved so far; can be read while the relay runs. Where asked, their SHA-256.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    /// When the first ones were moved.
    first: OnceLock<Instant>,
    hash: Option<Mutex<ContentHash>>,
}

impl Progress {
    /// As `default`, and hashes the bytes. `whole`: they are the whole file, if all goes well. Otherwise
    /// that depends on what is noted of the file's end and size.
    pub fn with_hash(whole: bool) -> Self {
        Self { hash: Some(Mutex::new(ContentHash::new(whole))), ..Self::default() }
    }

    /// The bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the first bytes were moved.
    pub fn first_byte(&self) -> Option<Instant> {
        self.first.get().copied()
    }

    /// Whether the bytes are hashed: they must pass through this process then.
    pub fn hashes(&self) -> bool {
        self.hash.is_some()
    }

    /// The SHA-256 of the file, if the bytes were moved in order and are all of it.
    pub fn sha256(&self) -> Option<Sha256> {
        self.hash()?.of(self.bytes())
    }

    /// Counts further bytes; to be called once they are moved.
    pub fn add(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) == 0 && bytes > 0 {
            let _ = self.first.set(Instant::now());
        }
    }

    /// Counts and hashes the next bytes of a stream; to be called once they are moved.
    pub fn add_stream(&self, bytes: &[u8]) {
        self.add(bytes.len());
        if let Some(mut hash) = self.hash() {
            hash.append(bytes);
        }
    }

    /// Counts and hashes bytes that were read at `offset`.
    pub fn add_read(&self, offset: u64, bytes: &Bytes) {
        self.add(bytes.len());
        if let Some(mut hash) = self.hash() {
            hash.read(offset, bytes);
        }
    }

    /// Hashes bytes that are written at `offset`; to be called in the order of the writes. They count by
    /// [`Progress::add`] once they are written.
    pub fn note_write(&self, offset: u64, bytes: &[u8]) {
        if let Some(mut hash) = self.hash() {
            hash.write(offset, bytes);
        }
    }

    /// The file has no byte at `offset` or after it.
    pub fn note_end(&self, offset: u64) {
        if let Some(mut hash) = self.hash() {
            hash.ends_at(offset);
        }
    }

    /// The end of the bytes that are hashed; for [`Progress::note_resized`].
    pub fn hashed(&self) -> u64 {
        self.hash().map_or(0, |hash| hash.next())
    }

    /// The file was cut or extended to `size`, when `hashed` bytes were hashed.
    pub fn note_resized(&self, size: u64, hashed: u64) {
        if let Some(mut hash) = self.hash() {
            hash.resized(size, hashed);
        }
    }

    /// The file's content changes in a way that these bytes do not show: it has no hash.
    pub fn spoil_hash(&self) {
        if let Some(mut hash) = self.hash() {
            hash.spoil();
        }
    }

    fn hash(&self) -> Option<MutexGuard<'_, ContentHash>> {
        Some(self.hash.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_the_first_that_moved() {
        let progress = Progress::with_hash(true);
        progress.add_stream(b"");
        assert_eq!(progress.first_byte(), None);
        let before = Instant::now();
        progress.add_stream(b"a");
        let first = progress.first_byte().expect("a byte");
        assert!(first >= before);
        progress.add(7);
        assert_eq!((progress.first_byte(), progress.bytes()), (Some(first), 8));
    }
}
