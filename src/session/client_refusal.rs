//! Clients that are turned away before a login: one line and one count each.

use std::fmt::Display;

use super::{Door, Gateway};
use crate::wire::first_bytes::Protocol;

/// Why a client is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRefusal {
    /// It speaks in clear where TLS is required.
    NoTls,
    /// It asked for TLS where none is offered.
    TlsNotOffered,
    /// It knows no version of TLS that is served.
    TlsTooOld,
    /// The TLS handshake failed for another reason.
    TlsHandshake,
    /// It speaks another protocol than the listener.
    Speaks(Protocol),
    /// It speaks no protocol that is known here.
    NotSsh,
    /// It and the listener have no SSH algorithm in common.
    SshAlgorithms,
    /// Its address has asked for too many costly SSH key exchanges.
    KeyExchanges,
    /// The SSH connection failed for another reason.
    SshHandshake,
    /// It has not logged in in time.
    LoginTimeout,
    /// The most sessions are open, in all or of its address.
    TooManySessions,
}

impl ClientRefusal {
    /// The label `reason` of `lockgate_clients_refused_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoTls => "no-tls",
            Self::TlsNotOffered => "tls-not-offered",
            Self::TlsTooOld => "tls-too-old",
            Self::TlsHandshake => "tls-handshake",
            Self::Speaks(Protocol::Tls) => "speaks-tls",
            Self::Speaks(Protocol::Ssh) => "speaks-ssh",
            Self::Speaks(Protocol::Http) => "speaks-http",
            Self::NotSsh => "not-ssh",
            Self::SshAlgorithms => "ssh-algorithms",
            Self::KeyExchanges => "key-exchanges",
            Self::SshHandshake => "ssh-handshake",
            Self::LoginTimeout => "login-timeout",
            Self::TooManySessions => "too-many-sessions",
        }
    }
}

impl Gateway {
    /// Counts a client that is turned away and is not told of.
    pub fn count_refused(&self, door: &Door, why: ClientRefusal) {
        self.metrics.client_refused(&door.listener, why);
    }

    /// Logs and counts a client that is turned away. `what` says what it did and what would help.
    pub fn client_refused(&self, door: &Door, why: ClientRefusal, what: impl Display) {
        self.count_refused(door, why);
        tracing::info!(
            target: "lockgate::record",
            event = "client-refused",
            session = door.session,
            peer = %door.peer,
            listener = door.listener,
            protocol = door.protocol,
            refusal = why.as_str(),
            reason = what.to_string(),
            "client refused"
        );
    }
}
