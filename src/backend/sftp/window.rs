//! How many bytes may be requested, or sent, before their responses arrive.

use std::time::{Duration, Instant};

/// The shortest time over which a rate is measured: shorter ones measure the scheduler.
const EPOCH_MIN: Duration = Duration::from_millis(5);

/// A window of four times the measured bandwidth-delay product. What arrives in a round trip was requested
/// in the one before. So the window doubles with each round trip as long as it limits the rate, and stays
/// small where the peer is near.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    min: usize,
    max: usize,
    /// Start of the time in which `delivered` is counted; `None` before the first delivery.
    epoch: Option<Instant>,
    delivered: usize,
}

impl Window {
    /// In bytes: the size at the start, and its bounds after the first delivery.
    pub(super) fn new(start: usize, min: usize, max: usize) -> Self {
        Self { size: start, min, max, epoch: None, delivered: 0 }
    }

    /// Bytes that may be in flight.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Counts bytes that arrived over a connection with this round trip.
    pub(super) fn delivered(&mut self, bytes: usize, round_trip: Duration) {
        self.size = self.size.max(self.min);
        let Some(epoch) = self.epoch else {
            self.epoch = Some(Instant::now());
            return;
        };
        self.delivered += bytes;
        let elapsed = epoch.elapsed();
        if elapsed < round_trip.max(EPOCH_MIN) {
            return;
        }
        let product = self.delivered as f64 / elapsed.as_secs_f64() * round_trip.as_secs_f64();
        let target = ((product * 4.0) as usize).clamp(self.min, self.max);
        // A pause of the consumer must not reset the window.
        self.size = target.max(self.size - self.size / 4).max(self.min);
        (self.epoch, self.delivered) = (Some(Instant::now()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn window() -> Window {
        Window::new(MIB / 2, MIB, 10 * MIB)
    }

    #[test]
    fn the_window_grows_only_if_the_round_trip_is_long() {
        let (mut near, mut far) = (window(), window());
        for _ in 0..5 {
            for window in [&mut near, &mut far] {
                window.epoch = Some(Instant::now() - Duration::from_millis(50));
            }
            // A window's worth in each round trip of the far one; 1 GiB/s at the near one.
            let all = far.size();
            far.delivered(all, Duration::from_millis(50));
            near.delivered(50 * MIB, Duration::from_micros(100));
        }
        assert_eq!(near.size(), MIB);
        assert!(far.size() > 9 * MIB, "{far:?}");
    }
}
