//! The order of requests that name paths (draft-ietf-secsh-filexfer-02 section 6.1: requests about
//! one file have the results that they would have one at a time).
//!
//! A request waits for earlier ones of its channel that could modify what it reads, or read what it
//! modifies: those about the same path, a directory above it, or the listing of its directory. All
//! others run concurrently. Two links to one file are two paths here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::op::RemotePath;

/// How a request uses a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    /// Returns its entries.
    List,
    /// Creates, writes, renames or removes it.
    Modify,
}

pub(super) type Uses = Vec<(RemotePath, Use)>;

/// The unfinished requests of one channel that name paths, in their order.
#[derive(Default)]
pub(super) struct PathOrder(Arc<Mutex<Vec<Arc<PendingRequest>>>>);

struct PendingRequest {
    uses: Uses,
    finished: CancellationToken,
}

/// A request's position in the order. Dropping it finishes the request.
pub(super) struct OrderGuard {
    request: Arc<PendingRequest>,
    conflicting: Vec<Arc<PendingRequest>>,
    pending: Arc<Mutex<Vec<Arc<PendingRequest>>>>,
}

impl PathOrder {
    /// Adds a request after all others.
    pub(super) fn add(&self, uses: Uses) -> OrderGuard {
        let request = Arc::new(PendingRequest { uses, finished: CancellationToken::new() });
        let mut pending = lock(&self.0);
        let conflicting =
            pending.iter().filter(|earlier| earlier.conflicts_with(&request)).cloned().collect();
        pending.push(request.clone());
        OrderGuard { request, conflicting, pending: self.0.clone() }
    }
}

impl PendingRequest {
    fn conflicts_with(&self, later: &PendingRequest) -> bool {
        let mut pairs = self.uses.iter().flat_map(|a| later.uses.iter().map(move |b| (a, b)));
        pairs.any(|(a, b)| affects(a, b) || affects(b, a))
    }
}

impl OrderGuard {
    /// Waits for the earlier requests that conflict with this one.
    pub(super) async fn wait(&mut self) {
        while let Some(earlier) = self.conflicting.last() {
            earlier.finished.cancelled().await;
            self.conflicting.pop();
        }
    }
}

impl Drop for OrderGuard {
    fn drop(&mut self) {
        lock(&self.pending).retain(|request| !Arc::ptr_eq(request, &self.request));
        self.request.finished.cancel();
    }
}

/// Whether `a` modifies what `b` uses, whichever comes first.
fn affects((a, a_use): &(RemotePath, Use), (b, b_use): &(RemotePath, Use)) -> bool {
    if *a_use != Use::Modify {
        return false;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let is_above = |upper: &[u8], lower: &[u8]| {
        upper == b"/" || lower.strip_prefix(upper).is_some_and(|rest| rest.starts_with(b"/"))
    };
    a == b || is_above(a, b) || (*b_use == Use::List && is_above(b, a))
}

fn lock(pending: &Mutex<Vec<Arc<PendingRequest>>>) -> MutexGuard<'_, Vec<Arc<PendingRequest>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::Use::*;
    use super::*;

    fn uses(all: &[(&str, Use)]) -> Uses {
        let root = RemotePath::root();
        let path = |path: &str| RemotePath::resolve(&root, path.as_bytes()).unwrap();
        all.iter().map(|(given, of_path)| (path(given), *of_path)).collect()
    }

    fn waits(later: &[(&str, Use)], earlier: &[(&str, Use)]) -> bool {
        let order = PathOrder::default();
        let first = order.add(uses(earlier));
        let mut second = order.add(uses(later));
        let waits = second.wait().now_or_never().is_none();
        drop(first);
        let mut third = order.add(uses(later));
        drop(second);
        assert!(third.wait().now_or_never().is_some(), "it waits for a finished request");
        waits
    }

    #[test]
    fn a_request_waits_for_conflicting_requests_only() {
        for (one, other, expected) in [
            (("/a", Read), ("/a", Read), false),
            (("/a", Read), ("/a", Modify), true),
            (("/a", Modify), ("/a", Modify), true),
            (("/a", Modify), ("/b", Modify), false),
            (("/a", Modify), ("/ab", Modify), false),
            (("/a", Modify), ("/a/b/c", Read), true),
            (("/", Modify), ("/a", Read), true),
            (("/a", Read), ("/a/b", Modify), false),
            (("/a", List), ("/a/b", Modify), true),
            (("/a", List), ("/a/b", Read), false),
            (("/", List), ("/a", Modify), true),
        ] {
            assert_eq!(waits(&[one], &[other]), expected, "{one:?} after {other:?}");
            assert_eq!(waits(&[other], &[one]), expected, "{other:?} after {one:?}");
        }
        assert!(waits(&[("/x", Read)], &[("/a", Modify), ("/x", Modify)]));
    }

    #[test]
    fn a_request_waits_for_all_conflicting_requests() {
        let order = PathOrder::default();
        let first = order.add(uses(&[("/a", Modify)]));
        let second = order.add(uses(&[("/b", Modify)]));
        let mut both = order.add(uses(&[("/a", Modify), ("/b", Modify)]));
        drop(second);
        assert!(both.wait().now_or_never().is_none());
        drop(first);
        assert!(both.wait().now_or_never().is_some());
    }
}
