//! Token buckets, kept as the time at which the next unit is due: whoever asks gets a time of its own, and
//! nobody holds a lock while waiting for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// Between two looks at what was used.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A token bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the next unit is due; `None` before the first, when the whole burst may be used.
    next: Option<Instant>,
    /// The time that all units so far take, those that are not due yet included.
    taken: Duration,
    /// The last two looks: when, and the time that the units until then took.
    looks: [Option<(Instant, Duration)>; 2],
}

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
        let mut state = self.lock();
        let now = Instant::now();
        state.look(now);
        let earliest = now.checked_sub(rate.burst).unwrap_or(now);
        let due = state.next.map_or(earliest, |next| next.max(earliest));
        let wait = due.saturating_duration_since(now);
        if wait > longest {
            return Err(wait);
        }
        let step = rate.time_for(units);
        state.next = Some(due + step);
        state.taken = state.taken.saturating_add(step);
        Ok(due)
    }

    /// The part of the rate that was used in the last seconds, from 0 to 1.
    pub(super) fn used(&self) -> f64 {
        let mut state = self.lock();
        let now = Instant::now();
        state.look(now);
        let [before, last] = state.looks;
        let Some((at, until_then)) = before.or(last) else { return 0.0 };
        let past = now.duration_since(at);
        let used = state.used_until(now).saturating_sub(until_then);
        if past.is_zero() { 0.0 } else { (used.as_secs_f64() / past.as_secs_f64()).min(1.0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The time that the units until `now` took. From `now` until `next` there is no gap, as units are due one
    /// after the other.
    fn used_until(&self, now: Instant) -> Duration {
        let to_come = self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
        self.taken.saturating_sub(to_come)
    }

    fn look(&mut self, now: Instant) {
        let [_, last] = self.looks;
        if last.is_none_or(|(at, _)| now.duration_since(at) >= LOOK_INTERVAL) {
            self.looks = [last, Some((now, self.used_until(now)))];
        }
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
    async fn what_is_used_is_known_as_a_part_of_the_rate() {
        let (bucket, rate) = (Bucket::default(), per_second(1000));
        assert_eq!(bucket.used(), 0.0);
        for _ in 0..50 {
            sleep_until(bucket.take(50, &rate)).await;
            advance(Duration::from_millis(100)).await;
        }
        assert!((0.3..0.7).contains(&bucket.used()), "{}", bucket.used());
        // One large request fills the rate until its end.
        bucket.take(10_000, &rate);
        for _ in 0..4 {
            advance(Duration::from_secs(2)).await;
            assert!(bucket.used() > 0.95, "{}", bucket.used());
        }
        advance(Duration::from_secs(60)).await;
        assert!(bucket.used() < 0.1);
        advance(Duration::from_secs(2)).await;
        assert_eq!(bucket.used(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn extreme_amounts_do_not_overflow() {
        let bucket = Bucket::default();
        for _ in 0..1000 {
            bucket.take(u64::MAX, &Rate { units: 0, ..per_second(0) });
        }
    }
}
