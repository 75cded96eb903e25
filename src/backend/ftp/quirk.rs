//! A deviation of a server from the standards, remembered for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a quirk is remembered: servers are fixed and replaced.
pub(super) const QUIRK_TTL: Duration = Duration::from_secs(600);

/// A quirk expires: the server may only have been slow, or was fixed.
#[derive(Debug, Default)]
pub(super) struct Quirk {
    note_loss: Mutex<Option<Instant>>,
}

impl Quirk {
    pub(super) fn is_known(&self) -> bool {
        self.lock().is_some_and(|since| since.elapsed() < QUIRK_TTL)
    }

    /// Returns whether the quirk is new, for the log.
    pub(super) fn note(&self) -> bool {
        self.lock().replace(Instant::now()).is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.note_loss.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quirk_expires() {
        let quirk = Quirk::default();
        assert!(quirk.note() && quirk.is_known() && !quirk.note());
        let long_ago = Instant::now().checked_sub(QUIRK_TTL + Duration::from_secs(1));
        *quirk.lock() = long_ago;
        assert!(!quirk.is_known() || long_ago.is_none());
    }
}
