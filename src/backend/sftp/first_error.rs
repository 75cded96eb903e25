//! The failure that ended a stream.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::op::Failure;

/// Carries the first failure of a stream to its owner: the stream itself can only fail with an I/O error.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstError(Arc<Mutex<Option<Failure>>>);

impl FirstError {
    /// Keeps the first failure. Returns the error for the stream.
    pub(super) fn record(&self, failure: Failure) -> io::Error {
        let error = io::Error::other(failure.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        error
    }

    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
