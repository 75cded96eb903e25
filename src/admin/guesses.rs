//! How many wrong tokens are answered and logged: a flood of them costs little, and fills no log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At once.
const BURST: u32 = 10;
/// Until one more is answered.
const INTERVAL: Duration = Duration::from_secs(1);

/// Wrong tokens of all clients.
pub(super) struct Guesses {
    /// What is left, and when it was counted.
    left: Mutex<(u32, Instant)>,
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self { left: Mutex::new((BURST, Instant::now())) }
    }

    /// One more. Whether it is answered.
    pub(super) fn is_answered(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = *left;
        let regained = u32::try_from(since.elapsed().as_secs() / INTERVAL.as_secs());
        let regained = regained.unwrap_or(BURST).min(BURST);
        // What is left of an interval counts for the next one.
        let since = if regained == BURST { Instant::now() } else { since + INTERVAL * regained };
        let count = (count + regained).min(BURST);
        *left = (count.saturating_sub(1), since);
        count > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_answered_then_one_a_second() {
        let guesses = Guesses::new();
        let answered = |count: u32| (0..count).filter(|_| guesses.is_answered()).count() as u32;
        assert_eq!(answered(1000), BURST);
        for _ in 0..20 {
            tokio::time::advance(INTERVAL / 2).await;
            let half = answered(5);
            tokio::time::advance(INTERVAL / 2).await;
            assert_eq!((half, answered(5)), (0, 1));
        }
        tokio::time::advance(INTERVAL * 1000).await;
        assert_eq!(answered(1000), BURST);
    }
}
