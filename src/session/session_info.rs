//! The fields that all records of a session share, and its totals.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Span;

use super::client_info::ClientInfo;
use super::end::EndSlot;
use crate::route::Choice;

/// The fields of a session in its records.
pub(super) struct SessionInfo {
    /// Unique while the gateway runs.
    pub session: u64,
    pub peer: SocketAddr,
    pub listener: String,
    pub protocol: &'static str,
    pub user: Vec<u8>,
    pub backend: String,
    pub end: EndSlot,
    pub totals: Totals,
}

impl SessionInfo {
    /// `name`: the user name as the client sent it, which stays where no route was chosen.
    pub(super) fn new(client: &ClientInfo, name: &[u8], choice: Option<&Choice>) -> Self {
        Self {
            session: client.session,
            peer: client.peer,
            listener: client.listener.clone(),
            protocol: client.protocol,
            user: choice.map_or(name, |choice| &choice.user).to_vec(),
            backend: choice.map(|choice| choice.backend.name.clone()).unwrap_or_default(),
            end: client.end.clone(),
            totals: Totals::default(),
        }
    }

    /// As [`ClientInfo::span`], with the user and the backend.
    pub(super) fn span(&self) -> Span {
        let Self { session, peer, listener, backend, .. } = self;
        let user = self.user.as_slice();
        tracing::error_span!(parent: None, "session", session, %peer, listener, user, backend)
    }
}

/// The transfers of a session.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) uploads: AtomicU64,
    pub(super) uploaded_bytes: AtomicU64,
    pub(super) downloads: AtomicU64,
    pub(super) downloaded_bytes: AtomicU64,
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
