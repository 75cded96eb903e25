//! The progress of a transfer.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes moved so far; can be read while the relay runs.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// The bytes so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts further bytes; to be called once they are moved.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
