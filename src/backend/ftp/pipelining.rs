//! Whether a server takes several commands in one flight: old ones drop what arrives while they answer
//! the first.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::servers::KEPT;

/// A server that seems to drop commands may have been slow only: after a while it is tried again.
#[derive(Debug, Default)]
pub(super) struct Pipelining {
    refused: Mutex<Option<Instant>>,
}

impl Pipelining {
    pub(super) fn is_refused(&self) -> bool {
        self.lock().is_some_and(|since| since.elapsed() < KEPT)
    }

    /// Whether that is news.
    pub(super) fn refuse(&self) -> bool {
        self.lock().replace(Instant::now()).is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_tried_again_after_a_while() {
        let pipelining = Pipelining::default();
        assert!(pipelining.refuse() && pipelining.is_refused());
        let long_ago = Instant::now().checked_sub(KEPT + Duration::from_secs(1));
        *pipelining.lock() = long_ago;
        assert!(!pipelining.is_refused() || long_ago.is_none());
    }
}
