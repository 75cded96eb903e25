//! Failures: kind, fault, message, and the peer's reply.

use std::fmt;

use super::Outage;
use super::escape::printable;

/// Why an operation failed. One match in each front turns it into that protocol's reply.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// Who caused it.
    pub fault: Fault,
    /// A sentence for users and for the log: what was tried, what failed, and what to do. Non-printable
    /// characters are escaped.
    pub message: String,
    /// For the log only: addresses, system errors and other details that clients must not see.
    pub detail: Option<String>,
    /// The backend server's FTP reply, forwarded to FTP clients.
    pub peer: Option<PeerReply>,
    /// The backend server's SFTP status, forwarded to SFTP clients.
    pub status: Option<Status>,
    /// Set if a login failed for a reason that affects all users of the backend.
    pub outage: Option<Outage>,
}

/// What went wrong, independent of protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// There is no such file or folder.
    NotFound,
    /// The user may not do that.
    PermissionDenied,
    /// The name is in use.
    AlreadyExists,
    /// A folder was expected.
    NotADirectory,
    /// A file was expected.
    IsADirectory,
    /// The folder still has entries.
    DirectoryNotEmpty,
    /// The disk or a quota is full.
    NoSpace,
    /// A quota of the gateway is used up.
    QuotaExceeded,
    /// A name that a protocol cannot carry.
    NameRefused,
    /// Not translatable, or not supported by the backend.
    Unsupported,
    /// A value of the request is not valid.
    InvalidArgument,
    /// A file ends before the range to copy.
    EndOfFile,
    /// The credentials were refused, or no route fits.
    LoginRefused,
    /// The login needs ACCT.
    AccountNeeded,
    /// What was presented is accepted, and a further authentication method is required (RFC 4252 section 5.1).
    MethodNeeded,
    /// A data connection could not be established.
    DataConnection,
    /// A transfer was interrupted.
    TransferCut,
    /// The client aborted (ABOR, a closed handle).
    Aborted,
    /// The backend is unreachable or its session is lost; the client's session also ends.
    Unavailable,
    /// No reply within the time limit.
    TimedOut,
    /// A limit is reached; a later attempt may succeed.
    Busy,
    /// An error of the gateway itself.
    Internal,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request was wrong, or the client ended it.
    Client,
    /// A rule of the configuration refused it.
    Policy,
    /// The backend server refused it or failed.
    Backend,
    /// The gateway failed.
    Gateway,
}

/// An SFTP status as received: code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The number of the status (SSH_FXP_STATUS).
    pub code: u32,
    /// The server's message, as it was received.
    pub message: Vec<u8>,
}

/// An FTP reply as received: code and lines of text, without the line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReply {
    /// The three digits (RFC 959 section 4.2).
    pub code: u16,
    /// The text without the code, one element per line.
    pub lines: Vec<Vec<u8>>,
}

impl Fault {
    /// The name in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Client => "client",
            Fault::Policy => "policy",
            Fault::Backend => "backend",
            Fault::Gateway => "gateway",
        }
    }
}

impl FailureKind {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::NotFound => "not-found",
            FailureKind::PermissionDenied => "permission-denied",
            FailureKind::AlreadyExists => "already-exists",
            FailureKind::NotADirectory => "not-a-directory",
            FailureKind::IsADirectory => "is-a-directory",
            FailureKind::DirectoryNotEmpty => "directory-not-empty",
            FailureKind::NoSpace => "no-space",
            FailureKind::QuotaExceeded => "quota-exceeded",
            FailureKind::NameRefused => "name-refused",
            FailureKind::Unsupported => "unsupported",
            FailureKind::InvalidArgument => "invalid-argument",
            FailureKind::EndOfFile => "end-of-file",
            FailureKind::LoginRefused => "login-refused",
            FailureKind::AccountNeeded => "account-needed",
            FailureKind::MethodNeeded => "method-needed",
            FailureKind::DataConnection => "data-connection",
            FailureKind::TransferCut => "transfer-cut",
            FailureKind::Aborted => "aborted",
            FailureKind::Unavailable => "unavailable",
            FailureKind::TimedOut => "timed-out",
            FailureKind::Busy => "busy",
            FailureKind::Internal => "internal",
        }
    }
}

impl FailureKind {
    /// A sentence for clients that must not see the backend's reply, which may contain its paths.
    pub fn sentence(self) -> &'static str {
        match self {
            FailureKind::NotFound => "no such file or directory",
            FailureKind::PermissionDenied => "the backend denies permission",
            FailureKind::AlreadyExists => "already exists",
            FailureKind::NotADirectory => "not a directory",
            FailureKind::IsADirectory => "is a directory",
            FailureKind::DirectoryNotEmpty => "the directory is not empty",
            FailureKind::NoSpace => "the backend has no space left",
            FailureKind::QuotaExceeded => "a quota is used up",
            FailureKind::NameRefused => "the backend refuses this name",
            FailureKind::Unsupported => "the backend does not support this",
            FailureKind::InvalidArgument => "the backend does not accept this argument",
            FailureKind::EndOfFile => "the file ends before this position",
            FailureKind::LoginRefused => "the backend refuses the login",
            FailureKind::AccountNeeded => "the backend requires an account (ACCT)",
            FailureKind::MethodNeeded => "a further authentication method is required",
            FailureKind::DataConnection => "the data connection to the backend failed",
            FailureKind::TransferCut => "the backend interrupted the transfer",
            FailureKind::Aborted => "the transfer was aborted",
            FailureKind::Unavailable => "the backend is unavailable; log in again",
            FailureKind::TimedOut => "the backend did not reply in time",
            FailureKind::Busy => "the backend is busy; try again",
            FailureKind::Internal => "the backend failed",
        }
    }
}

impl Failure {
    /// A failure with a message for the client.
    pub fn new(kind: FailureKind, fault: Fault, message: impl fmt::Display) -> Self {
        Self {
            kind,
            fault,
            message: escaped(message),
            detail: None,
            peer: None,
            status: None,
            outage: None,
        }
    }

    /// A failure that is the client's fault.
    pub fn client(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self::new(kind, Fault::Client, message)
    }

    /// A failure that is the backend's fault.
    pub fn backend(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self::new(kind, Fault::Backend, message)
    }

    /// A failure that is the gateway's fault.
    pub fn gateway(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self::new(kind, Fault::Gateway, message)
    }

    /// Adds a text for the log only.
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(escaped(detail));
        self
    }

    /// Adds the reason why the backend cannot be used.
    pub fn with_outage(mut self, outage: Outage) -> Self {
        self.outage = Some(outage);
        self
    }

    /// Adds the SFTP server's status.
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds the FTP server's reply.
    pub fn with_peer(mut self, peer: PeerReply) -> Self {
        self.peer = Some(peer);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for PeerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for line in &self.lines {
            write!(f, " {}", printable(line))?;
        }
        Ok(())
    }
}

fn escaped(text: impl fmt::Display) -> String {
    printable(text.to_string().as_bytes()).to_string()
}
