//! What the permit of an open file says of the bytes that are written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::core::refuse;
use crate::op::{Failure, RemotePath};
use crate::policy::{SessionPolicy, Terms};

/// Checks the WRITEs of a file against its permit. Once it has refused one, the file is incomplete.
#[derive(Clone)]
pub(super) struct WriteLimit {
    path: RemotePath,
    terms: Terms,
    /// Counts a refusal.
    policy: Option<Arc<SessionPolicy>>,
    appends: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    appended: u64,
    refused: Option<Failure>,
}

impl WriteLimit {
    /// `appends`: the backend writes every byte at the end, whatever its offset is.
    pub(super) fn new(
        path: RemotePath,
        terms: Terms,
        policy: Option<Arc<SessionPolicy>>,
        appends: bool,
    ) -> Self {
        Self { path, terms, policy, appends, state: Arc::default() }
    }

    /// Whether it can refuse anything.
    pub(super) fn is_needed(&self) -> bool {
        self.terms.kept_bytes > 0 || self.terms.max_size.is_some()
    }

    /// Refuses a write of `length` bytes that the permit does not include.
    pub(super) fn check(&self, offset: u64, length: u64) -> Result<(), Failure> {
        if !self.is_needed() {
            return Ok(());
        }
        let mut state = self.state();
        let start = if self.appends { self.terms.size_before + state.appended } else { offset };
        let checked = if start < self.terms.kept_bytes {
            Err(self.terms.shortens(&self.path))
        } else {
            self.terms.check_size(&self.path, start.saturating_add(length))
        };
        match checked {
            Ok(()) => {
                state.appended = state.appended.saturating_add(length);
                Ok(())
            }
            Err(denial) => {
                let failure = || refuse(&denial, self.policy.as_deref());
                Err(state.refused.get_or_insert_with(failure).clone())
            }
        }
    }

    /// Notes that a write was refused for another reason: the file is incomplete.
    pub(super) fn refuse(&self, failure: Failure) -> Failure {
        self.state().refused.get_or_insert(failure).clone()
    }

    /// Refuses a size that the permit does not include. The file stays complete.
    pub(super) fn check_size(&self, size: u64) -> Result<(), Failure> {
        if size < self.terms.kept_bytes {
            return Err(refuse(&self.terms.shortens(&self.path), self.policy.as_deref()));
        }
        let checked = self.terms.check_size(&self.path, size);
        checked.map_err(|denial| refuse(&denial, self.policy.as_deref()))
    }

    /// Why the file is incomplete.
    pub(super) fn refused(&self) -> Option<Failure> {
        self.state().refused.clone()
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
