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
    info: Arc<SessionInfo>,
    started: Instant,
}

impl SessionRecord {
    pub(super) fn new(info: Arc<SessionInfo>) -> Self {
        Self { info, started: Instant::now() }
    }
}

impl Drop for SessionRecord {
    fn drop(&mut self) {
        let info = &*self.info;
        let get = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let end = info.end.get();
        tracing::info!(
            target: "lockgate::record",
            event = "session",
            session = info.session,
            peer = %info.peer,
            listener = info.listener,
            protocol = info.protocol,
            user = info.user.as_slice(),
            backend = info.backend,
            seconds = self.started.elapsed().as_secs_f64(),
            uploads = get(&info.totals.uploads),
            uploaded_bytes = get(&info.totals.uploaded_bytes),
            downloads = get(&info.totals.downloads),
            downloaded_bytes = get(&info.totals.downloaded_bytes),
            fault = end.and_then(|end| end.fault).map(Fault::as_str),
            reason = end.map(SessionEnd::reason),
            "session ended"
        );
    }
}
