//! What all sessions have moved in each of the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::rate::INTERVAL;
use super::running::Moved;

/// Of each value of a [`Throughput`].
pub const THROUGHPUT_INTERVAL: Duration = INTERVAL;
/// Ten minutes.
const KEPT: usize = 600;

/// Bytes of files that passed the gateway, the oldest second first; at most ten minutes.
#[derive(Debug, Clone, Default)]
pub struct Throughput {
    /// The end of the last one.
    pub until: Option<SystemTime>,
    /// Each a second long.
    pub seconds: Vec<Moved>,
}

/// Samples of a sum that only grows.
#[derive(Default)]
pub(super) struct Samples {
    last: Option<(Instant, Moved)>,
    until: Option<SystemTime>,
    seconds: VecDeque<Moved>,
}

impl Samples {
    /// To be called every [`INTERVAL`] with the sum of all bytes.
    pub(super) fn sample(&mut self, now: Instant, sum: Moved) {
        if let Some((before, last)) = self.last.replace((now, sum)) {
            let period = (now - before).as_millis().max(1);
            let rate = |sum: u64, last: u64| {
                let moved = u128::from(sum.saturating_sub(last)) * INTERVAL.as_millis() / period;
                u64::try_from(moved).unwrap_or(u64::MAX)
            };
            if self.seconds.len() == KEPT {
                self.seconds.pop_front();
            }
            let moved = Moved { up: rate(sum.up, last.up), down: rate(sum.down, last.down) };
            self.seconds.push_back(moved);
            self.until = Some(SystemTime::now());
        }
    }

    pub(super) fn view(&self) -> Throughput {
        Throughput { until: self.until, seconds: self.seconds.iter().copied().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_second_has_what_it_moved_and_ten_minutes_are_kept() {
        let mut samples = Samples::default();
        let mut sum = Moved { up: 5000, down: 0 };
        samples.sample(Instant::now(), sum);
        assert!(samples.view().seconds.is_empty(), "what was moved before");
        for second in 1..=700 {
            tokio::time::advance(INTERVAL).await;
            sum = Moved { up: sum.up + second, down: sum.down + 2 * second };
            samples.sample(Instant::now(), sum);
        }
        let view = samples.view();
        assert_eq!(view.seconds.len(), KEPT);
        assert_eq!(view.seconds[0], Moved { up: 101, down: 202 });
        assert_eq!(view.seconds[599], Moved { up: 700, down: 1400 });
        // A late sample is of a longer time.
        tokio::time::advance(INTERVAL * 4).await;
        samples.sample(Instant::now(), Moved { up: sum.up + 100, ..sum });
        assert_eq!(samples.view().seconds[599], Moved { up: 25, down: 0 });
    }
}
