//! Waits for what only can be asked for: no event tells it.

use std::time::{Duration, Instant};

use super::process::POLL;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Whether the condition becomes true in time.
pub fn becomes_true(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + TIMEOUT;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
}
