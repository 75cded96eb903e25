//! What rules and limits know of a session.

use std::net::IpAddr;

/// The properties of a session, fixed at its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// The user name in bytes, as the client sent it.
    pub user: Vec<u8>,
    /// Of a user whom the gateway authenticated; empty for others.
    pub groups: Vec<String>,
    /// The listener's name in the configuration.
    pub listener: String,
    /// The backend's name in the configuration.
    pub backend: String,
    /// The protocol of the front.
    pub protocol: Protocol,
    /// Whether the control connection has TLS, or the protocol is SFTP.
    pub encrypted: bool,
    /// The client's address; an IPv4 address mapped to IPv6 is an IPv4 address here.
    pub source: IpAddr,
}

/// A protocol that clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// FTP, with or without TLS.
    Ftp,
    /// SFTP.
    Sftp,
}

impl Protocol {
    /// Of a session's protocol in the log ("ftp", "ftps", "sftp").
    pub fn of(name: &str) -> Self {
        if name == "sftp" { Self::Sftp } else { Self::Ftp }
    }

    /// As in the configuration and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Sftp => "sftp",
        }
    }
}
