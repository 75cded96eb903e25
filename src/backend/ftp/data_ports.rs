//! The pool of ports that servers connect to in active mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::data::{OF_BACKENDS, Pool};

/// The ports of one session.
#[derive(Clone)]
pub(super) struct DataPorts {
    pub(super) pool: Arc<Pool>,
    pub(super) session: u64,
}

impl DataPorts {
    /// For a new session.
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(OF_BACKENDS);
        Self { pool, session: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}
