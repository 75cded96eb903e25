//! How far a login has come: its record says so whatever ends it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::auth::CertificateSummary;

#[derive(Default)]
pub(super) struct Progress {
    at_backend: AtomicBool,
    minted: OnceLock<CertificateSummary>,
}

impl Progress {
    /// The backend is asked.
    pub(super) fn reached_backend(&self) {
        self.at_backend.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_at_backend(&self) -> bool {
        self.at_backend.load(Ordering::Relaxed)
    }

    /// The gateway has signed this certificate for the login.
    pub(super) fn minted(&self, certificate: CertificateSummary) {
        let _ = self.minted.set(certificate);
    }

    pub(super) fn into_minted(self) -> Option<CertificateSummary> {
        self.minted.into_inner()
    }
}
