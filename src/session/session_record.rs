//! The record of a session: what it did and why it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::end::SessionEnd;
use super::session_info::SessionInfo;
use crate::op::Fault;

/// The record of a logged in session. It is written when the last part of the session is dropped,
/// after the records of its files.
pub(super) struct SessionRecord {
    who: Arc<SessionInfo>,
    started: Instant,
}

impl SessionRecord {
    pub(super) fn new(who: Arc<SessionInfo>) -> Self {
        Self { who, started: Instant::now() }
    }
}

impl Drop for SessionRecord {
    fn drop(&mut self) {
        let who = &*self.who;
        let get = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let end = who.end.get();
        tracing::info!(
            target: "lockgate::record",
            event = "session",
            session = who.session,
            peer = %who.peer,
            listener = who.listener,
            protocol = who.protocol,
            user = who.user.as_slice(),
            backend = who.backend,
            seconds = self.started.elapsed().as_secs_f64(),
            uploads = get(&who.totals.uploads),
            uploaded_bytes = get(&who.totals.uploaded_bytes),
            downloads = get(&who.totals.downloads),
            downloaded_bytes = get(&who.totals.downloaded_bytes),
            fault = end.and_then(|end| end.fault).map(Fault::as_str),
            reason = end.map(SessionEnd::reason),
            "session ended"
        );
    }
}
