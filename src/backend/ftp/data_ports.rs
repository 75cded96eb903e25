//! The pool of ports that servers connect to in active mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::data::{BACKEND_SESSION_BASE, Pool};

/// The ports of one session.
#[derive(Clone)]
pub(super) struct DataPorts {
    pub(super) pool: Arc<Pool>,
    pub(super) session: u64,
}

impl DataPorts {
    /// For a new session.
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(BACKEND_SESSION_BASE);
        Self { pool, session: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}
