//! The settings of an output (`audit`).

use std::fmt;
use std::path::PathBuf;

use crate::net::tls::ClientTls;
use crate::op::escape::printable;

/// One output.
#[derive(Clone)]
pub struct Settings {
    /// Where records go.
    pub output: Output,
    /// How they are written (`format`).
    pub format: Format,
    /// Whether transfers have the SHA-256 of their content (`sha256`).
    pub sha256: bool,
    /// What happens when they cannot be written (`when_unavailable`).
    pub when_unavailable: WhenUnavailable,
}

/// Where records go.
#[derive(Clone)]
pub enum Output {
    /// Appended to a file, one on a line (`file`).
    File(PathBuf),
    /// To standard output, one on a line (`stdout`).
    Stdout,
    /// To a syslog receiver (`syslog`).
    Syslog(SyslogSettings),
}

/// A syslog receiver.
#[derive(Clone)]
pub struct SyslogSettings {
    /// How to reach it.
    pub receiver: Receiver,
    /// The facility of the messages (`facility`).
    pub facility: Facility,
}

/// How to reach a syslog receiver.
#[derive(Clone)]
pub enum Receiver {
    /// Over TCP, with TLS (RFC 5425) or without (RFC 6587).
    Tcp {
        /// `host:port`.
        address: String,
        /// Verifies the receiver; `None`: in clear.
        tls: Option<ClientTls>,
    },
    /// Over a Unix socket: datagrams, or a stream of lines.
    Socket(PathBuf),
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A JSON object for each event.
    #[default]
    Json,
    /// A line of xferlog(5) for each transfer, and nothing for other events.
    Xferlog,
}

/// What happens when records cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnavailable {
    /// The gateway keeps serving. Records that do not fit into the queue are lost, and counted.
    #[default]
    Serve,
    /// New logins and operations are refused until records can be written again.
    Refuse,
}

/// A facility of RFC 5424 section 6.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Facility {
    /// `daemon`: system daemons.
    Daemon,
    /// `auth`: security messages.
    Auth,
    /// `authpriv`: private security messages.
    AuthPriv,
    /// `ftp`: the FTP daemon.
    #[default]
    Ftp,
    /// `audit`: the log audit.
    Audit,
    /// `local0` to `local7`.
    Local(u8),
}

impl Facility {
    /// Its number.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Daemon => 3,
            Self::Auth => 4,
            Self::AuthPriv => 10,
            Self::Ftp => 11,
            Self::Audit => 13,
            Self::Local(number) => 16 + number.min(7),
        }
    }
}

/// For the log.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &PathBuf| printable(path.as_os_str().as_encoded_bytes()).to_string();
        match self {
            Self::File(file) => write!(f, "the audit file {}", path(file)),
            Self::Stdout => write!(f, "the audit output (standard output)"),
            Self::Syslog(SyslogSettings { receiver, .. }) => match receiver {
                Receiver::Tcp { address, .. } => write!(f, "the audit's syslog receiver {address}"),
                Receiver::Socket(socket) => {
                    write!(f, "the audit's syslog receiver {}", path(socket))
                }
            },
        }
    }
}
