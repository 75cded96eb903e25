//! The largest size of a file that is uploaded as a stream (`policy.uploads[].max_size`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use super::core::refuse;
use crate::data::Throttle;
use crate::op::{Failure, RemotePath};
use crate::policy::{SessionPolicy, Terms};

/// Ends a transfer before its file becomes larger than its permit allows; the session's limits apply, too.
pub(super) struct SizeLimit {
    path: RemotePath,
    terms: Terms,
    /// Counts a refusal.
    policy: Option<Arc<SessionPolicy>>,
    moved: AtomicU64,
    other: Option<Arc<dyn Throttle>>,
}

impl SizeLimit {
    /// The limits of an upload: `other`, and the permit's.
    pub(super) fn over(
        other: Option<Arc<dyn Throttle>>,
        path: &RemotePath,
        terms: &Terms,
        policy: Option<&Arc<SessionPolicy>>,
    ) -> Option<Arc<dyn Throttle>> {
        if terms.max_size.is_none() {
            return other;
        }
        let (path, terms, moved) = (path.clone(), terms.clone(), AtomicU64::new(0));
        Some(Arc::new(Self { path, terms, policy: policy.cloned(), moved, other }))
    }
}

impl Throttle for SizeLimit {
    fn chunk(&self) -> usize {
        self.other.as_ref().map_or(usize::MAX, |other| other.chunk())
    }

    fn count(&self, bytes: usize) -> Result<(), Failure> {
        let bytes = bytes as u64;
        let moved = self.moved.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let size = self.terms.size_before.saturating_add(moved);
        self.terms
            .check_size(&self.path, size)
            .map_err(|denial| refuse(&denial, self.policy.as_deref()))?;
        self.other.as_ref().map_or(Ok(()), |other| other.count(bytes as usize))
    }

    fn wait(&self, bytes: usize) -> BoxFuture<'_, ()> {
        match &self.other {
            Some(other) => other.wait(bytes),
            None => Box::pin(std::future::ready(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::FailureKind;

    #[test]
    fn a_file_may_become_as_large_as_its_permit_says() {
        let path = RemotePath::root();
        let terms =
            Terms { max_size: Some((100, "small".into())), size_before: 40, ..Terms::default() };
        let limit = SizeLimit::over(None, &path, &terms, None).unwrap();
        limit.count(59).unwrap();
        limit.count(1).unwrap();
        let refused = limit.count(1).unwrap_err();
        assert_eq!(refused.kind, FailureKind::QuotaExceeded);
        assert!(refused.detail.unwrap().contains("\"small\""));
        assert!(SizeLimit::over(None, &path, &Terms::default(), None).is_none());
    }
}
