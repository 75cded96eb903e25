//! Memory that several owners share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit in bytes that the files of one session share.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    held: AtomicUsize,
    limit: usize,
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Share {
    of: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes, none of them taken.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shares { held: AtomicUsize::new(0), limit }))
    }

    /// `None` when the limit is reached.
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let share = self.take_past_limit(bytes);
        (self.0.held.load(Ordering::Relaxed) <= self.0.limit).then_some(share)
    }

    /// Bytes taken so far.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Takes the bytes even past the limit, for an owner that could not go on without them.
    pub fn take_past_limit(&self, bytes: usize) -> Share {
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

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let budget = Budget::new(10);
        let first = budget.take(6).unwrap();
        assert!(budget.take(6).is_none());
        let forced = budget.take_past_limit(6);
        drop((first, forced));
        assert!(budget.take(10).is_some());
    }
}
