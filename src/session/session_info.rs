//! The fields that all records of a session share, and its totals.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Span;

use super::client_info::ClientInfo;
use super::end::EndSlot;
use super::proof::Proof;
use crate::audit::{self, Audit};
use crate::auth::{CertificateSummary, PresentedKey};
use crate::net::{Peer, Protection};
use crate::route::{Access, Authenticator, Choice};

/// The fields of a session in its records.
pub(super) struct SessionInfo {
    /// Unique while the gateway runs.
    pub session: u64,
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    pub listener: String,
    pub protocol: &'static str,
    pub user: Vec<u8>,
    pub backend: String,
    pub login: LoginDetails,
    /// Known once the login has succeeded.
    pub established: OnceLock<Established>,
    /// The certificate that the gateway signed for the login at the backend.
    pub minted: OnceLock<CertificateSummary>,
    pub audit: Audit,
    pub end: EndSlot,
    pub totals: Totals,
}

/// How a user logs in.
#[derive(Default)]
pub(super) struct LoginDetails {
    /// `password`, `publickey` or both.
    pub method: String,
    /// Who checks that; `None` without a route.
    pub checked_by: Option<&'static str>,
    /// Of the public key.
    pub fingerprint: Option<String>,
    /// The key's certificate.
    pub certificate: Option<CertificateSummary>,
    /// The index of the route in the configuration; `None`: none matches.
    pub route: Option<usize>,
    /// What protects the connection; `None`: it is in clear.
    pub protection: Option<Protection>,
    /// That the client sent under TLS (SNI).
    pub server_name: Option<String>,
    /// The client program, from its SSH identification.
    pub client: Option<String>,
}

/// What a successful login adds.
pub(super) struct Established {
    /// Groups of a user whom the gateway authenticated.
    pub groups: Vec<String>,
    /// The backend's server.
    pub peer: Option<Peer>,
}

impl LoginDetails {
    pub(super) fn new(client: &ClientInfo, proof: &Proof, choice: Option<&Choice>) -> Self {
        let key = proof.key.as_deref();
        let checked_by = |choice: &Choice| match choice.backend.access {
            Access::Backend => "backend",
            Access::Gateway { by: Authenticator::Users, .. } => "gateway",
        };
        Self {
            method: proof.methods().to_string(),
            checked_by: choice.map(checked_by),
            fingerprint: key.map(PresentedKey::fingerprint),
            certificate: key.and_then(PresentedKey::certificate),
            route: choice.map(|choice| choice.number),
            protection: client.encryption.get().cloned(),
            server_name: client.server_name.get().cloned(),
            client: client.client.get().cloned(),
        }
    }
}

impl SessionInfo {
    /// The user name stays as the client sent it where no route was chosen.
    pub(super) fn new(
        client: &ClientInfo,
        proof: &Proof,
        choice: Option<&Choice>,
        audit: &Audit,
    ) -> Self {
        Self {
            session: client.session,
            peer: client.peer,
            local: client.local,
            listener: client.listener.clone(),
            protocol: client.protocol,
            user: choice.map_or(&proof.user, |choice| &choice.user).to_vec(),
            backend: choice.map(|choice| choice.backend.name.clone()).unwrap_or_default(),
            login: LoginDetails::new(client, proof, choice),
            established: OnceLock::new(),
            minted: OnceLock::new(),
            audit: audit.clone(),
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

    /// As the audit sees it.
    pub(super) fn subject(&self) -> audit::Subject<'_> {
        let login = &self.login;
        let established = self.established.get();
        let backend = login.route.map(|_| audit::BackendServer {
            name: &self.backend,
            peer: established.and_then(|established| established.peer.as_ref()),
            certificate: self.minted.get(),
        });
        audit::Subject {
            session: self.session,
            protocol: self.protocol,
            listener: &self.listener,
            client: self.peer,
            local: self.local,
            software: login.client.as_deref(),
            protection: login.protection.as_ref(),
            server_name: login.server_name.as_deref(),
            account: Some(audit::Account {
                user: &self.user,
                groups: established.map_or(&[], |established| &established.groups),
                method: &login.method,
                checked_by: login.checked_by,
                fingerprint: login.fingerprint.as_deref(),
                certificate: login.certificate.as_ref(),
                route: login.route,
                backend,
            }),
        }
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

    pub(super) fn get(&self) -> audit::SessionTotals {
        audit::SessionTotals {
            uploads: self.uploads.load(Ordering::Relaxed),
            uploaded_bytes: self.uploaded_bytes.load(Ordering::Relaxed),
            downloads: self.downloads.load(Ordering::Relaxed),
            downloaded_bytes: self.downloaded_bytes.load(Ordering::Relaxed),
        }
    }
}
