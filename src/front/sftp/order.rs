//! The order of requests that name paths (draft-ietf-secsh-filexfer-02 section 6.1: those about one
//! file give the results that they would give one at a time).
//!
//! A request waits for earlier ones of its channel that could change what it finds, or find what it
//! changes: those about the same path, a folder above it, or the listing of its folder. All others go
//! on at the same time. Two names of one file (links) are two paths here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::op::RemotePath;

/// What a request does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Looks,
    /// Its entries are told.
    Lists,
    /// Makes it, writes it, renames it, takes it away.
    Changes,
}

pub(super) type Uses = Vec<(RemotePath, Use)>;

/// The requests of one channel that name paths and are under way, in their order.
#[derive(Default)]
pub(super) struct Order(Arc<Mutex<Vec<Arc<Claim>>>>);

struct Claim {
    uses: Uses,
    over: CancellationToken,
}

/// A request's place among the others; when dropped, those behind it go on.
pub(super) struct Turn {
    claim: Arc<Claim>,
    before: Vec<Arc<Claim>>,
    all: Arc<Mutex<Vec<Arc<Claim>>>>,
}

impl Order {
    /// A place behind all that was here before.
    pub(super) fn turn(&self, uses: Uses) -> Turn {
        let claim = Arc::new(Claim { uses, over: CancellationToken::new() });
        let mut all = lock(&self.0);
        let before = all.iter().filter(|earlier| earlier.is_before(&claim)).cloned().collect();
        all.push(claim.clone());
        Turn { claim, before, all: self.0.clone() }
    }
}

impl Claim {
    fn is_before(&self, later: &Claim) -> bool {
        let mut pairs = self.uses.iter().flat_map(|a| later.uses.iter().map(move |b| (a, b)));
        pairs.any(|(a, b)| touches(a, b) || touches(b, a))
    }
}

impl Turn {
    /// Returns when all that matters to this one is over.
    pub(super) async fn come(&mut self) {
        while let Some(earlier) = self.before.last() {
            earlier.over.cancelled().await;
            self.before.pop();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.all).retain(|claim| !Arc::ptr_eq(claim, &self.claim));
        self.claim.over.cancel();
    }
}

/// Whether a change of `a` matters to `b`, whichever is first.
fn touches((a, a_use): &(RemotePath, Use), (b, b_use): &(RemotePath, Use)) -> bool {
    if *a_use != Use::Changes {
        return false;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let above = |upper: &[u8], lower: &[u8]| {
        upper == b"/" || lower.strip_prefix(upper).is_some_and(|rest| rest.starts_with(b"/"))
    };
    a == b || above(a, b) || (*b_use == Use::Lists && above(b, a))
}

fn lock(all: &Mutex<Vec<Arc<Claim>>>) -> MutexGuard<'_, Vec<Arc<Claim>>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Use::*;
    use super::*;

    fn uses(all: &[(&str, Use)]) -> Uses {
        let root = RemotePath::root();
        let path = |path: &str| RemotePath::resolve(&root, path.as_bytes()).unwrap();
        all.iter().map(|(given, what)| (path(given), *what)).collect()
    }

    fn waits(later: &[(&str, Use)], earlier: &[(&str, Use)]) -> bool {
        let order = Order::default();
        let first = order.turn(uses(earlier));
        let mut second = order.turn(uses(later));
        let waits = second.come().now_or_never().is_none();
        drop(first);
        let mut third = order.turn(uses(later));
        drop(second);
        assert!(third.come().now_or_never().is_some(), "what is over is not waited for");
        waits
    }

    #[test]
    fn only_what_matters_is_waited_for() {
        for (one, other, expected) in [
            (("/a", Looks), ("/a", Looks), false),
            (("/a", Looks), ("/a", Changes), true),
            (("/a", Changes), ("/a", Changes), true),
            (("/a", Changes), ("/b", Changes), false),
            (("/a", Changes), ("/ab", Changes), false),
            (("/a", Changes), ("/a/b/c", Looks), true),
            (("/", Changes), ("/a", Looks), true),
            (("/a", Looks), ("/a/b", Changes), false),
            (("/a", Lists), ("/a/b", Changes), true),
            (("/a", Lists), ("/a/b", Looks), false),
            (("/", Lists), ("/a", Changes), true),
        ] {
            assert_eq!(waits(&[one], &[other]), expected, "{one:?} behind {other:?}");
            assert_eq!(waits(&[other], &[one]), expected, "{other:?} behind {one:?}");
        }
        assert!(waits(&[("/x", Looks)], &[("/a", Changes), ("/x", Changes)]));
    }

    #[test]
    fn all_that_matter_are_waited_for() {
        let order = Order::default();
        let first = order.turn(uses(&[("/a", Changes)]));
        let second = order.turn(uses(&[("/b", Changes)]));
        let mut both = order.turn(uses(&[("/a", Changes), ("/b", Changes)]));
        drop(second);
        assert!(both.come().now_or_never().is_none());
        drop(first);
        assert!(both.come().now_or_never().is_some());
    }
}
