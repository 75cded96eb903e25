//! Why clients are refused before a login.

use crate::wire::first_bytes::Protocol;

/// Why a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRefusal {
    /// It does not use TLS where TLS is required.
    NoTls,
    /// It requested TLS where none is offered.
    TlsNotOffered,
    /// It supports only old versions of TLS.
    TlsTooOld,
    /// It has no client certificate where one is required.
    NoClientCertificate,
    /// Its client certificate is not accepted.
    ClientCertificate,
    /// The TLS handshake failed for another reason.
    TlsHandshake,
    /// It speaks another protocol than the listener.
    Speaks(Protocol),
    /// It speaks neither SSH nor a known protocol.
    NotSsh,
    /// It and the listener have no SSH algorithm in common.
    SshAlgorithms,
    /// Its address has requested too many expensive SSH key exchanges.
    KeyExchanges,
    /// The SSH connection failed for another reason.
    SshHandshake,
    /// It has not logged in in time.
    LoginTimeout,
    /// Too many sessions are open, in all or from its address.
    TooManySessions,
    /// Its address is banned after failed logins.
    Banned,
}

impl ClientRefusal {
    /// Every reason.
    pub(super) const ALL: [Self; 16] = [
        Self::NoTls,
        Self::TlsNotOffered,
        Self::TlsTooOld,
        Self::NoClientCertificate,
        Self::ClientCertificate,
        Self::TlsHandshake,
        Self::Speaks(Protocol::Tls),
        Self::Speaks(Protocol::Ssh),
        Self::Speaks(Protocol::Http),
        Self::NotSsh,
        Self::SshAlgorithms,
        Self::KeyExchanges,
        Self::SshHandshake,
        Self::LoginTimeout,
        Self::TooManySessions,
        Self::Banned,
    ];

    /// Whether a listener with clients of these protocols (`ftp`, `ftps`, `sftp`) may refuse one so.
    pub(super) fn is_possible(self, protocols: &[&str]) -> bool {
        let is_sftp = protocols.contains(&"sftp");
        match self {
            Self::NoTls | Self::TlsTooOld | Self::TlsHandshake => protocols.contains(&"ftps"),
            Self::NoClientCertificate | Self::ClientCertificate => protocols.contains(&"ftps"),
            Self::TlsNotOffered => protocols.contains(&"ftp"),
            Self::Speaks(Protocol::Ssh) => !is_sftp,
            Self::Speaks(Protocol::Tls) => is_sftp || protocols.contains(&"ftp"),
            Self::NotSsh | Self::SshAlgorithms | Self::KeyExchanges | Self::SshHandshake => is_sftp,
            Self::Speaks(Protocol::Http)
            | Self::LoginTimeout
            | Self::TooManySessions
            | Self::Banned => true,
        }
    }

    /// The label `reason` of `lockgate_clients_refused_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoTls => "no-tls",
            Self::TlsNotOffered => "tls-not-offered",
            Self::TlsTooOld => "tls-too-old",
            Self::NoClientCertificate => "no-client-certificate",
            Self::ClientCertificate => "client-certificate",
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
            Self::Banned => "banned",
        }
    }
}
