//! State that all control connections of a session share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::op::{Failure, FailureKind};

/// What all connections of a session share.
#[derive(Default)]
pub(super) struct SessionState {
    /// Several operations may run at once, each over a connection of its own.
    concurrent: AtomicBool,
    /// Counts the operations that may have moved directories.
    moves: AtomicU64,
}

impl SessionState {
    /// Returns whether this is the first call.
    pub(super) fn allow_concurrency(&self) -> bool {
        !self.concurrent.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_concurrent(&self) -> bool {
        self.concurrent.load(Ordering::Acquire)
    }

    /// The number of operations so far that may have moved directories.
    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }

    /// A directory may be removed or renamed: connections may be in it under its old name.
    pub(super) fn start_move(self: &Arc<Self>) -> MoveGuard {
        MoveGuard(self.clone())
    }

    /// With several connections, the loss of one ends its operation, not the session.
    pub(super) fn scoped(&self, failure: Failure) -> Failure {
        match failure.kind {
            FailureKind::Unavailable if self.is_concurrent() => Failure {
                kind: FailureKind::TransferCut,
                message:
                    "the connection to the backend server was lost during the operation; try again"
                        .into(),
                ..failure
            },
            _ => failure,
        }
    }
}

/// Held while directories may be moved, until the operation ends or is cancelled.
pub(super) struct MoveGuard(Arc<SessionState>);

impl Drop for MoveGuard {
    fn drop(&mut self) {
        self.0.moves.fetch_add(1, Ordering::AcqRel);
    }
}
