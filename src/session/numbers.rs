//! The numbers of sessions: one series for all processes of a gateway that take over from each other, so that a
//! number means one session in all of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many numbers are left to this process when another takes over: for connections that it has accepted, and
/// whose PROXY protocol header is still to come.
const LEFT: u64 = 10_000;

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(super) fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// With which number the process that takes over begins.
pub fn first_of_next_process() -> u64 {
    after(NEXT.load(Ordering::Relaxed))
}

/// This process has taken over.
pub fn begin_with(first: u64) {
    NEXT.fetch_max(first, Ordering::Relaxed);
}

fn after(next: u64) -> u64 {
    next.saturating_add(LEFT).div_ceil(LEFT).saturating_mul(LEFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_before_has_numbers_left() {
        for (next, first) in [(1, 20_000), (10_000, 20_000), (10_001, 30_000), (29_999, 40_000)] {
            assert_eq!(after(next), first);
            assert!(first - next >= LEFT);
        }
        let before = next();
        begin_with(before + 1000);
        assert!(next() >= before + 1000);
        begin_with(before);
        assert!(next() > before + 1000, "numbers never go back");
    }
}
