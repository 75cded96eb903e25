//! The rate of a counter over the last seconds.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// The age of the oldest sample that is needed.
const WINDOW: Duration = Duration::from_secs(5);
/// A rate over less time would say little.
const PERIOD_MIN: Duration = Duration::from_secs(1);

/// Samples of a counter that only grows.
#[derive(Debug)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    /// Of a counter that begins now, at 0.
    pub(super) fn new() -> Self {
        Self([(Instant::now(), 0)].into())
    }

    /// Takes a sample; to be called every [`INTERVAL`].
    pub(super) fn sample(&mut self, now: Instant, value: u64) {
        let samples = &mut self.0;
        if samples.iter().all(|(_, before)| *before == value) {
            // Most sessions are idle most of the time.
            samples.clear();
        }
        samples.push_back((now, value));
        while samples.get(1).is_some_and(|(at, _)| now - *at >= WINDOW) {
            samples.pop_front();
        }
    }

    /// Per second, over the last five to six seconds, or since the counter began.
    pub(super) fn per_second(&self, now: Instant, value: u64) -> u64 {
        let Some((since, before)) = self.0.front() else { return 0 };
        let period = (now - *since).max(PERIOD_MIN).as_millis();
        let rate = u128::from(value.saturating_sub(*before)) * 1000 / period;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::new();
        let mut value = 0;
        assert_eq!(rate.per_second(Instant::now(), 700), 700, "within the first second");
        for _ in 0..100 {
            tokio::time::advance(INTERVAL).await;
            value += 1000;
            rate.sample(Instant::now(), value);
        }
        assert_eq!(rate.per_second(Instant::now(), value), 1000);
        assert!(rate.0.len() <= 7, "{rate:?}");
        // It slows down, and stands still.
        for (seconds, expected) in [(2, 600..=700), (10, 0..=0)] {
            for _ in 0..seconds {
                tokio::time::advance(INTERVAL).await;
                rate.sample(Instant::now(), value);
            }
            let slower = rate.per_second(Instant::now(), value);
            assert!(expected.contains(&slower), "{slower} after {seconds} s");
        }
        assert_eq!(rate.0.len(), 1, "{rate:?}");
        tokio::time::advance(INTERVAL / 2).await;
        assert_eq!(rate.per_second(Instant::now(), value + 3000), 3000);
    }
}
