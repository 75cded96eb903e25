//! The connection of a client, before and after its login.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tracing::Span;

use super::end::EndSlot;
use super::live::{Connection, LiveSession};
use super::numbers;
use crate::audit;
use crate::net::tls::ClientCertificate;
use crate::net::{Drain, Endpoints, Protection};
use crate::route::LoginRequest;

/// A client's connection, as records and routes know it.
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// The listener's name in the configuration.
    pub listener: String,
    /// `ftp`, `sftp`: for the record.
    pub protocol: &'static str,
    /// The client's address and port; from the PROXY protocol header where the listener requires one.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// Unique while the gateway runs, also over take-overs.
    pub session: u64,
    /// Why it ends.
    pub end: EndSlot,
    /// Version and algorithms of TLS or SSH, once they are negotiated.
    pub encryption: Arc<OnceLock<Protection>>,
    /// That the client sent under TLS (SNI); not escaped.
    pub server_name: Arc<OnceLock<String>>,
    /// The client's, verified in the TLS handshake.
    pub certificate: OnceLock<ClientCertificate>,
    /// The client program, from its SSH identification; not escaped.
    pub client: Arc<OnceLock<String>>,
    /// The session, for operators.
    pub live: Arc<LiveSession>,
}

impl ClientInfo {
    /// A new connection, with a number of its own. `drain` ends its session.
    pub fn new(
        listener: &str,
        protocol: &'static str,
        Endpoints { peer, local }: Endpoints,
        drain: &Drain,
    ) -> Self {
        let session = numbers::next();
        let (encryption, server_name, client) = (Arc::default(), Arc::default(), Arc::default());
        let connection = Connection {
            session,
            listener: listener.to_owned(),
            protocol,
            peer,
            local,
            encryption: Arc::clone(&encryption),
            server_name: Arc::clone(&server_name),
            software: Arc::clone(&client),
        };
        Self {
            live: LiveSession::new(connection, drain),
            listener: listener.to_owned(),
            protocol,
            peer,
            local,
            session,
            end: EndSlot::default(),
            encryption,
            server_name,
            certificate: OnceLock::new(),
            client,
        }
    }

    /// As the audit sees it before a login.
    pub(super) fn subject(&self) -> audit::Subject<'_> {
        audit::Subject {
            session: self.session,
            protocol: self.protocol,
            listener: &self.listener,
            client: self.peer,
            local: self.local,
            software: self.client.get().map(String::as_str),
            protection: self.encryption.get(),
            server_name: self.server_name.get().map(String::as_str),
            certificate: self.certificate.get().map(audit::Certificate::from),
            account: None,
        }
    }

    /// A login with this user name, for the choice of its route.
    pub(super) fn login<'a>(&'a self, name: &'a [u8]) -> LoginRequest<'a> {
        LoginRequest {
            listener: &self.listener,
            source: self.peer.ip(),
            server_name: self.server_name.get().map(String::as_str),
            name,
        }
    }

    /// The span of log lines before the login. It has the highest level, since lines of every level
    /// need it.
    pub fn span(&self) -> Span {
        let Self { session, peer, listener, .. } = self;
        tracing::error_span!(parent: None, "connection", session, %peer, listener)
    }
}
