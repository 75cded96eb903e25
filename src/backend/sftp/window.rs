//! How many bytes are asked for, or sent, before their answers are waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The shortest time over which a rate is measured: shorter ones measure the scheduler.
const EPOCH: Duration = Duration::from_millis(5);

/// A window of four times the bandwidth-delay product that is measured. What arrives in a round trip
/// was asked for in the one before, so it doubles with each as long as it is what limits the rate, and
/// it stays small where the peer is near.
#[derive(Debug)]
pub struct Window {
    size: usize,
    least: usize,
    most: usize,
    /// Since when `delivered` is counted; nothing is before something has arrived.
    epoch: Option<Instant>,
    delivered: usize,
}

impl Window {
    /// In bytes: what it starts with, and its bounds once something has been delivered.
    pub fn new(start: usize, least: usize, most: usize) -> Self {
        Self { size: start, least, most, epoch: None, delivered: 0 }
    }

    /// Bytes that may be under way.
    pub fn size(&self) -> usize {
        self.size
    }

    /// So many bytes have arrived over a connection with this round trip.
    pub fn delivered(&mut self, bytes: usize, round_trip: Duration) {
        self.size = self.size.max(self.least);
        let Some(epoch) = self.epoch else {
            self.epoch = Some(Instant::now());
            return;
        };
        self.delivered += bytes;
        let elapsed = epoch.elapsed();
        if elapsed < round_trip.max(EPOCH) {
            return;
        }
        let product = self.delivered as f64 / elapsed.as_secs_f64() * round_trip.as_secs_f64();
        let target = ((product * 4.0) as usize).clamp(self.least, self.most);
        // A pause of the consumer is no reason to begin anew.
        self.size = target.max(self.size - self.size / 4).max(self.least);
        (self.epoch, self.delivered) = (Some(Instant::now()), 0);
    }
}

/// Bytes that the files of one session may hold together.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    held: AtomicUsize,
    most: usize,
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Share {
    of: Budget,
    bytes: usize,
}

impl Budget {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shares { held: AtomicUsize::new(0), most }))
    }

    /// `None` where it is used up.
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let share = self.take_anyway(bytes);
        (self.0.held.load(Ordering::Relaxed) <= self.0.most).then_some(share)
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// For what cannot do without.
    pub fn take_anyway(&self, bytes: usize) -> Share {
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        Share { of: self.clone(), bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
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
    fn grows_with_distance_only() {
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

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let budget = Budget::new(10);
        let first = budget.take(6).unwrap();
        assert!(budget.take(6).is_none());
        let forced = budget.take_anyway(6);
        drop((first, forced));
        assert!(budget.take(10).is_some());
    }
}
