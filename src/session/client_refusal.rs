//! Why clients are turned away before a login.

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
