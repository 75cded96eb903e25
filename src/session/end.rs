//! The end of a session: why it ends, and the record of what it did.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::record::Who;
use crate::op::{Failure, FailureKind, Fault};

/// Why a session ends.
#[derive(Debug, Clone)]
pub struct SessionEnd {
    /// Whose fault it is that it ends now; `None`: nobody's, its client was done.
    fault: Option<Fault>,
    reason: Cow<'static, str>,
}

impl SessionEnd {
    pub fn done(reason: &'static str) -> Self {
        Self { fault: None, reason: reason.into() }
    }

    pub fn by(fault: Fault, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { fault: Some(fault), reason: reason.into() }
    }

    pub fn shutdown() -> Self {
        Self::by(Fault::Gateway, "the gateway is shutting down")
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What becomes of an operation that is under way then.
    pub fn failure(&self) -> Failure {
        let fault = self.fault.unwrap_or(Fault::Client);
        Failure::new(
            FailureKind::Aborted,
            fault,
            format_args!("the session ended: {}", self.reason),
        )
    }
}

/// Where a connection's front notes why its session ends; the first reason counts.
#[derive(Debug, Clone, Default)]
pub struct EndSlot(Arc<OnceLock<SessionEnd>>);

impl EndSlot {
    pub fn set(&self, end: SessionEnd) {
        let _ = self.0.set(end);
    }

    pub fn get(&self) -> Option<&SessionEnd> {
        self.0.get()
    }
}

/// What a session has moved.
#[derive(Default)]
pub(super) struct Totals {
    uploads: AtomicU64,
    uploaded_bytes: AtomicU64,
    downloads: AtomicU64,
    downloaded_bytes: AtomicU64,
}

impl Totals {
    pub(super) fn add_upload(&self, bytes: u64) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        self.uploaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_download(&self, bytes: u64) {
        self.downloads.fetch_add(1, Ordering::Relaxed);
        self.downloaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A session that somebody has logged in to; its record is written when the last of it is dropped, behind
/// the records of its files.
pub(super) struct SessionRecord {
    who: Arc<Who>,
    begun: Instant,
}

impl SessionRecord {
    pub(super) fn new(who: Arc<Who>) -> Self {
        Self { who, begun: Instant::now() }
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
            seconds = self.begun.elapsed().as_secs_f64(),
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
