//! Why a relay ended early.

use std::io;
use std::time::Duration;

/// Why a relay ended early, and on which side.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("reading: {0}")]
    Source(io::Error),
    #[error("writing: {0}")]
    Sink(io::Error),
    #[error("no byte moved for {}", humantime::format_duration(*.after))]
    Stalled { side: Side, after: Duration },
}

/// One of a relay's two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Sink,
}

impl Side {
    pub(super) fn stalled(self, after: Duration) -> RelayError {
        RelayError::Stalled { side: self, after }
    }
}
