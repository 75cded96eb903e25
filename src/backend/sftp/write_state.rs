//! The effects of a file's requests, as far as their responses show them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::wire::sftp::{ResponseBody, StatusCode};

#[derive(Debug)]
pub(super) struct WriteState {
    /// Writes that the channel has not taken yet are not sent.
    cancelled: AtomicBool,
    /// The lowest start of what the server refused, in bytes.
    refused_from: AtomicU64,
    /// The highest end of what the server accepted, in bytes.
    accepted_to: AtomicU64,
}

impl Default for WriteState {
    fn default() -> Self {
        let cancelled = AtomicBool::new(false);
        Self { cancelled, refused_from: AtomicU64::new(u64::MAX), accepted_to: AtomicU64::new(0) }
    }
}

impl WriteState {
    /// The start of the first refused write: from there on the content is not what was sent.
    pub(super) fn refused_from(&self) -> Option<u64> {
        Some(self.refused_from.load(Ordering::Acquire)).filter(|start| *start < u64::MAX)
    }

    pub(super) fn accepted_to(&self) -> u64 {
        self.accepted_to.load(Ordering::Acquire)
    }

    /// The rest of the writes is no longer needed.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// The file will be truncated to `size`.
    pub(super) fn truncate(&self, size: u64) {
        self.accepted_to.fetch_min(size, Ordering::AcqRel);
    }
}

/// The effect of one write, from its response. It is recorded before the response is delivered.
pub(super) struct WriteEffect {
    pub(super) state: Arc<WriteState>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Whether a refusal leaves the file as its owner expects it.
    pub(super) is_harmless: fn(StatusCode) -> bool,
}

impl WriteEffect {
    pub(super) fn record(&self, response: &ResponseBody) {
        match response {
            ResponseBody::Status { code: StatusCode::OK, .. } => {
                self.state.accepted_to.fetch_max(self.end, Ordering::AcqRel);
            }
            ResponseBody::Status { code, .. } if (self.is_harmless)(*code) => {}
            _ => drop(self.state.refused_from.fetch_min(self.start, Ordering::AcqRel)),
        }
    }
}
