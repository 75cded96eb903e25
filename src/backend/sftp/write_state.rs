//! What a file's requests have done to it, as far as their answers tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::wire::sftp::{ResponseBody, StatusCode};

/// What requests did to a file.
#[derive(Debug)]
pub(super) struct Written {
    /// What was not given to the channel yet is not sent any more.
    cut: AtomicBool,
    /// The lowest begin of what the server has not taken, in bytes.
    refused: AtomicU64,
    /// The highest end of what the server has taken, in bytes.
    taken: AtomicU64,
}

impl Default for Written {
    fn default() -> Self {
        let cut = AtomicBool::new(false);
        Self { cut, refused: AtomicU64::new(u64::MAX), taken: AtomicU64::new(0) }
    }
}

impl Written {
    /// Where the first write began that was refused: what is there is not what was sent.
    pub(super) fn refused(&self) -> Option<u64> {
        Some(self.refused.load(Ordering::Acquire)).filter(|begin| *begin < u64::MAX)
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Nobody wants the rest of it.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// The file is to end at `end`.
    pub(super) fn cut_off(&self, end: u64) {
        self.taken.fetch_min(end, Ordering::AcqRel);
    }
}

/// To be noted before the answer is told: that it is a refusal, or that the file reaches to `end`.
pub(super) struct Noted {
    pub(super) written: Arc<Written>,
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Whether a refusal leaves the file as its owner expects it.
    pub(super) harmless: fn(StatusCode) -> bool,
}

impl Noted {
    pub(super) fn note(&self, body: &ResponseBody) {
        match body {
            ResponseBody::Status { code: StatusCode::OK, .. } => {
                self.written.taken.fetch_max(self.end, Ordering::AcqRel);
            }
            ResponseBody::Status { code, .. } if (self.harmless)(*code) => {}
            _ => drop(self.written.refused.fetch_min(self.begin, Ordering::AcqRel)),
        }
    }
}
