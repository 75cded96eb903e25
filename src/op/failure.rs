use std::fmt;

use super::Outage;
use super::escape::printable;

/// Why an operation did not succeed: what kind, whose fault, what was tried, and the peer's own words.
///
/// One match in each front turns it into that protocol's reply.
#[derive(Debug, Clone)]
pub struct Failure {
    pub kind: FailureKind,
    pub fault: Fault,
    /// A sentence for a person at a terminal and a person reading a log: what was tried, what went
    /// wrong, and, where there is something to do, what to do. What is not printable is escaped.
    pub message: String,
    /// For the log only: addresses, system errors and what else clients need not know.
    pub detail: Option<String>,
    /// The peer's own reply, passed on between like protocols.
    pub peer: Option<PeerReply>,
    /// As `peer`, of a peer that answers with a status.
    pub status: Option<Status>,
    /// Of a login at a backend that failed for all who come.
    pub outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    NotFound,
    PermissionDenied,
    AlreadyExists,
    NotADirectory,
    IsADirectory,
    DirectoryNotEmpty,
    NoSpace,
    /// A name that a protocol on the way cannot carry.
    NameRefused,
    /// What cannot be translated, or the peer does not offer.
    Unsupported,
    InvalidArgument,
    /// A file ends before all that was to be copied of it.
    EndOfFile,
    LoginRefused,
    /// The backend wants ACCT before it lets the user in.
    AccountNeeded,
    /// A data connection could not be made.
    DataConnection,
    /// A transfer ended before its end.
    TransferCut,
    /// The client asked for the end (ABOR, a closed handle).
    Aborted,
    /// The backend cannot be reached or its session is lost; the client's session is over too.
    Unavailable,
    TimedOut,
    /// A cap is reached; later may be better.
    Busy,
    Internal,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    Client,
    Policy,
    Backend,
    Gateway,
}

/// A numeric status and its text as the peer gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub code: u32,
    pub message: Vec<u8>,
}

/// An FTP reply as the peer gave it: code and lines of text, without the line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReply {
    pub code: u16,
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
            FailureKind::NameRefused => "name-refused",
            FailureKind::Unsupported => "unsupported",
            FailureKind::InvalidArgument => "invalid-argument",
            FailureKind::EndOfFile => "end-of-file",
            FailureKind::LoginRefused => "login-refused",
            FailureKind::AccountNeeded => "account-needed",
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
    /// A sentence for clients who must not see a backend's own words, which may name its paths.
    pub fn sentence(self) -> &'static str {
        match self {
            FailureKind::NotFound => "no such file or folder",
            FailureKind::PermissionDenied => "the backend does not permit it",
            FailureKind::AlreadyExists => "it exists already",
            FailureKind::NotADirectory => "that is no folder",
            FailureKind::IsADirectory => "that is a folder, not a file",
            FailureKind::DirectoryNotEmpty => "the folder is not empty",
            FailureKind::NoSpace => "the backend has no space left",
            FailureKind::NameRefused => "the backend refuses this name",
            FailureKind::Unsupported => "the backend does not offer this",
            FailureKind::InvalidArgument => "the backend does not accept this argument",
            FailureKind::EndOfFile => "the file ends before that",
            FailureKind::LoginRefused => "the backend wants another login",
            FailureKind::AccountNeeded => "the backend wants an account",
            FailureKind::DataConnection => "no data connection to the backend could be made",
            FailureKind::TransferCut => "the backend ended the transfer before its end",
            FailureKind::Aborted => "the transfer was aborted",
            FailureKind::Unavailable => "the backend is not available; log in again",
            FailureKind::TimedOut => "the backend did not answer in time",
            FailureKind::Busy => "the backend is busy; try again",
            FailureKind::Internal => "the backend could not do it",
        }
    }
}

impl Failure {
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

    pub fn client(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self::new(kind, Fault::Client, message)
    }

    pub fn backend(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self::new(kind, Fault::Backend, message)
    }

    pub fn gateway(kind: FailureKind, message: impl fmt::Display) -> Self {
        Self::new(kind, Fault::Gateway, message)
    }

    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(escaped(detail));
        self
    }

    pub fn with_outage(mut self, outage: Outage) -> Self {
        self.outage = Some(outage);
        self
    }

    pub fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

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
