//! Token buckets, kept as the time at which the next unit is due: whoever asks gets a time of its own, and
//! nobody holds a lock while waiting for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So that no sum of waits overflows.
const LONGEST_STEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// A number of units in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) units: u64,
    pub(super) period: Duration,
    /// What was not used for up to this long may be used at once.
    pub(super) burst: Duration,
}

/// When the next unit is due; `None` before the first, when the whole burst may be used.
#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<Option<Instant>>);

impl Bucket {
    /// Takes `units`; returns when they may be used. However many they are, only what follows waits for
    /// them.
    pub(super) fn take(&self, units: u64, rate: &Rate) -> Instant {
        self.take_within(units, rate, Duration::MAX).unwrap_or_else(|_| Instant::now())
    }

    /// As [`Bucket::take`], unless the wait is longer than `longest`: then nothing is taken.
    ///
    /// # Errors
    /// The wait.
    pub(super) fn take_within(
        &self,
        units: u64,
        rate: &Rate,
        longest: Duration,
    ) -> Result<Instant, Duration> {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earliest = now.checked_sub(rate.burst).unwrap_or(now);
        let due = next.map_or(earliest, |next| next.max(earliest));
        let wait = due.saturating_duration_since(now);
        if wait > longest {
            return Err(wait);
        }
        *next = Some(due + rate.time_for(units));
        Ok(due)
    }
}

impl Rate {
    fn time_for(&self, units: u64) -> Duration {
        let nanos = self.period.as_nanos() * u128::from(units) / u128::from(self.units.max(1));
        let step = u64::try_from(nanos).map_or(LONGEST_STEP, Duration::from_nanos);
        step.min(LONGEST_STEP)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep_until};

    use super::*;

    const BURST: Duration = Duration::from_millis(50);

    fn per_second(units: u64) -> Rate {
        Rate { units, period: Duration::from_secs(1), burst: BURST }
    }

    #[tokio::test(start_paused = true)]
    async fn units_are_due_at_the_rate() {
        let (bucket, rate, started) = (Bucket::default(), per_second(1000), Instant::now());
        for n in 0..3000 {
            let due = bucket.take(1, &rate);
            sleep_until(due).await;
            assert!(started.elapsed() + BURST >= Duration::from_millis(n), "{n}");
        }
        assert!(started.elapsed() <= Duration::from_millis(2951), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn late_wake_ups_do_not_slow_it_down_but_a_pause_gives_no_more_than_the_burst() {
        let (bucket, rate) = (Bucket::default(), per_second(1000));
        bucket.take(1, &rate);
        advance(Duration::from_secs(3600)).await;
        let now = Instant::now();
        let at_once = (0..1000).filter(|_| bucket.take(1, &rate) <= now).count();
        assert_eq!(at_once, 51, "50 ms are saved, and one is due now");
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_wait_too_long_takes_nothing() {
        let (bucket, rate) = (Bucket::default(), per_second(10));
        let longest = Duration::from_secs(1);
        let taken = (0..100).filter(|_| bucket.take_within(1, &rate, longest).is_ok()).count();
        assert_eq!(taken, 11);
        assert!(bucket.take_within(1, &rate, longest).unwrap_err() > longest);
        advance(Duration::from_millis(100)).await;
        assert!(bucket.take_within(1, &rate, longest).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn extreme_amounts_do_not_overflow() {
        let bucket = Bucket::default();
        for _ in 0..1000 {
            bucket.take(u64::MAX, &Rate { units: 0, ..per_second(0) });
        }
    }
}
