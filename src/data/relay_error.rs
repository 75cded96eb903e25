//! Why a relay ended early.

use std::io;
use std::time::Duration;

use crate::op::Failure;

/// Why a relay ended early, and on which side.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A read from the source failed.
    #[error("reading: {0}")]
    Source(io::Error),
    /// A write to the sink failed, or the sink accepts no more bytes.
    #[error("writing: {0}")]
    Sink(io::Error),
    /// No byte moved for the whole timeout (`limits.stall_timeout`).
    #[error("no byte moved for {}", humantime::format_duration(*.after))]
    Stalled {
        /// The side that the relay waited for.
        side: Side,
        /// The timeout.
        after: Duration,
    },
    /// A limit of the configuration ended it.
    #[error(transparent)]
    Limit(Failure),
}

/// One of a relay's two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The side that bytes are read from.
    Source,
    /// The side that bytes are written to.
    Sink,
}

impl Side {
    pub(super) fn stalled(self, after: Duration) -> RelayError {
        RelayError::Stalled { side: self, after }
    }
}
