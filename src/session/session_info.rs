//! The fields that all records of a session share, and its totals.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tracing::Span;

use super::client_info::ClientInfo;
use super::end::EndSlot;
use super::live::{LiveAccount, LiveSession, RecentFailure};
use super::metrics::SessionLabels;
use super::proof::Proof;
use crate::audit::{self, Audit};
use crate::auth::{CertificateSummary, PresentedKey};
use crate::backend::ResumeNote;
use crate::expected::SessionFiles;
use crate::net::tls::ClientCertificate;
use crate::net::{Peer, Protection};
use crate::op::Failure;
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
    /// The name of the login, without the backend's on a route with `user_at_backend`.
    pub name: Vec<u8>,
    /// The route's backend.
    pub route_backend: String,
    pub login: LoginDetails,
    /// What a login hook has made of both.
    pub granted: OnceLock<Granted>,
    /// Known once the login has succeeded.
    pub established: OnceLock<Established>,
    /// The certificate that the gateway signed for the login at the backend.
    pub minted: OnceLock<CertificateSummary>,
    pub audit: Audit,
    pub end: EndSlot,
    pub totals: Totals,
    /// The session, for operators.
    pub live: Arc<LiveSession>,
}

/// How a user logs in.
#[derive(Default)]
pub(super) struct LoginDetails {
    /// `password`, `publickey`, both separated by a comma, `certificate` or `anonymous`.
    pub method: String,
    /// Who checks that; `None` without a route, or if nobody does.
    pub checked_by: Option<&'static str>,
    /// The name of the login hook that does.
    pub hook: Option<String>,
    /// Of the public key.
    pub fingerprint: Option<String>,
    /// The key's certificate.
    pub key_certificate: Option<CertificateSummary>,
    /// The index of the route in the configuration; `None`: none matches.
    pub route: Option<usize>,
    /// What protects the connection; `None`: it is in clear.
    pub protection: Option<Protection>,
    /// That the client sent under TLS (SNI).
    pub server_name: Option<String>,
    /// The client's, of its TLS connection.
    pub certificate: Option<ClientCertificate>,
    /// The client program, from its SSH identification.
    pub client: Option<String>,
}

/// The user and the backend in a login hook's answer.
pub(super) struct Granted {
    pub user: Vec<u8>,
    pub backend: String,
}

/// What a successful login adds.
pub(super) struct Established {
    /// Groups of a user whom the gateway authenticated.
    pub groups: Vec<String>,
    /// The backend's server.
    pub peer: Option<Peer>,
    /// Gets told of files that have arrived.
    pub files: Option<SessionFiles>,
    /// Gets told of interrupted uploads.
    pub resume_note: Option<Arc<ResumeNote>>,
}

impl LoginDetails {
    pub(super) fn new(client: &ClientInfo, proof: &Proof, choice: Option<&Choice>) -> Self {
        let key = proof.key.as_deref();
        let checked_by = |choice: &Choice| match &choice.backend.access {
            Access::Backend => Some("backend"),
            Access::Gateway { by: Authenticator::Users, .. } => Some("gateway"),
            Access::Gateway { by: Authenticator::Hook(_), .. } => Some("hook"),
            Access::Gateway { by: Authenticator::Anonymous, .. } => None,
        };
        let checked_by = choice.map(checked_by);
        Self {
            method: match checked_by {
                Some(None) if key.is_none() => "anonymous".to_owned(),
                _ if proof.methods().is_empty() => "certificate".to_owned(),
                _ => proof.methods().to_string(),
            },
            checked_by: checked_by.flatten(),
            hook: choice.and_then(|choice| match &choice.backend.access {
                Access::Gateway { by: Authenticator::Hook(hook), .. } => Some(hook.to_string()),
                _ => None,
            }),
            fingerprint: key.map(PresentedKey::fingerprint),
            key_certificate: key.and_then(PresentedKey::certificate),
            route: choice.map(|choice| choice.number),
            protection: client.encryption.get().cloned(),
            server_name: client.server_name.get().cloned(),
            certificate: client.certificate.get().cloned(),
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
            name: choice.map_or(&proof.user, |choice| &choice.user).clone(),
            route_backend: choice.map(|choice| choice.backend.name.clone()).unwrap_or_default(),
            login: LoginDetails::new(client, proof, choice),
            granted: OnceLock::new(),
            established: OnceLock::new(),
            minted: OnceLock::new(),
            audit: audit.clone(),
            end: client.end.clone(),
            totals: Totals::default(),
            live: client.live.clone(),
        }
    }

    /// The user, for policy and records.
    pub(super) fn user(&self) -> &[u8] {
        self.granted.get().map_or(&self.name, |granted| &granted.user)
    }

    /// The backend's name in the configuration; empty without a route.
    pub(super) fn backend(&self) -> &str {
        self.granted.get().map_or(&self.route_backend, |granted| &granted.backend)
    }

    /// For metrics.
    pub(super) fn labels(&self) -> SessionLabels<'_> {
        let Self { listener, protocol, .. } = self;
        SessionLabels { listener, protocol, backend: self.backend(), user: self.user() }
    }

    /// As [`ClientInfo::span`], with the user and the backend.
    pub(super) fn span(&self) -> Span {
        let Self { session, peer, listener, .. } = self;
        let (user, backend) = (self.user(), self.backend());
        tracing::error_span!(parent: None, "session", session, %peer, listener, user, backend)
    }

    /// As operators see it.
    pub(super) fn account(&self) -> LiveAccount {
        let established = self.established.get();
        LiveAccount {
            user: self.user().to_vec(),
            login_name: (self.name != self.user()).then(|| self.name.clone()),
            groups: established.map_or_else(Vec::new, |established| established.groups.clone()),
            method: self.login.method.clone(),
            route: self.login.route,
            backend: self.backend().to_owned(),
            server: established.and_then(|established| established.peer.clone()),
        }
    }

    /// As operators see a failure of this session, without its paths.
    pub(super) fn recent_failure(
        &self,
        operation: &'static str,
        outcome: &'static str,
        failure: &Failure,
    ) -> RecentFailure {
        RecentFailure {
            at: SystemTime::now(),
            session: self.session,
            listener: self.listener.clone(),
            protocol: self.protocol,
            client: self.peer,
            user: self.user().to_vec(),
            backend: self.backend().to_owned(),
            operation,
            path: None,
            to: None,
            outcome,
            fault: failure.fault.as_str(),
            rule: None,
            reason: failure.message.clone(),
        }
    }

    /// The user's next session should get the server that has the part of the file.
    pub(super) fn note_interrupted_upload(&self) {
        let note = self.established.get().and_then(|it| it.resume_note.as_ref());
        note.into_iter().for_each(|note| note.upload_interrupted());
    }

    /// As the audit sees it.
    pub(super) fn subject(&self) -> audit::Subject<'_> {
        let login = &self.login;
        let established = self.established.get();
        let backend = login.route.map(|_| audit::BackendServer {
            name: self.backend(),
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
            certificate: login.certificate.as_ref().map(audit::Certificate::from),
            account: Some(audit::Account {
                user: self.user(),
                login_name: Some(self.name.as_slice()).filter(|name| *name != self.user()),
                groups: established.map_or(&[], |established| &established.groups),
                method: &login.method,
                checked_by: login.checked_by,
                hook: login.hook.as_deref(),
                fingerprint: login.fingerprint.as_deref(),
                certificate: login.key_certificate.as_ref(),
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
