//! The record of a session: what it did and why it ended.

use std::sync::Arc;
use std::time::Instant;

use super::end::SessionEnd;
use super::session_info::SessionInfo;
use crate::audit::{Event, What};
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
        info.live.logged_out();
        let (totals, end) = (info.totals.get(), info.end.get());
        let seconds = self.started.elapsed().as_secs_f64();
        let fault = end.and_then(|end| end.fault);
        tracing::info!(
            target: "lockgate::record",
            event = "session",
            session = info.session,
            peer = %info.peer,
            listener = info.listener,
            protocol = info.protocol,
            user = info.user(),
            backend = info.backend(),
            seconds,
            uploads = totals.uploads,
            uploaded_bytes = totals.uploaded_bytes,
            downloads = totals.downloads,
            downloaded_bytes = totals.downloaded_bytes,
            fault = fault.map(Fault::as_str),
            reason = end.map(SessionEnd::reason),
            "session ended"
        );
        if info.audit.is_on() {
            let event = Event::new(info.subject(), What::SessionEnd(totals), "ok", None);
            let (reason, seconds) = (end.map(SessionEnd::reason), Some(seconds));
            info.audit.record(&Event { fault, reason, seconds, ..event });
        }
    }
}
