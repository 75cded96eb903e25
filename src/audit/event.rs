//! What is recorded.

use std::net::SocketAddr;

use crate::auth::CertificateSummary;
use crate::data::Sha256;
use crate::net::tls::ClientCertificate;
use crate::net::{Peer, Protection};
use crate::op::{Failure, Fault};

/// An event, borrowed from where it arises.
pub struct Event<'a> {
    /// Whose it is.
    pub subject: Subject<'a>,
    /// What happened.
    pub what: What<'a>,
    /// `ok`, or how it failed, as in the log.
    pub outcome: &'a str,
    /// The policy rule that decided.
    pub rule: Option<&'a str>,
    /// Who is at fault; `None` where nobody is.
    pub fault: Option<Fault>,
    /// Why it failed or ended.
    pub reason: Option<&'a str>,
    /// Details of the failure that clients do not see.
    pub detail: Option<&'a str>,
    /// How long it took.
    pub seconds: Option<f64>,
}

/// A client's connection, and the login.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Unique while the gateway runs.
    pub session: u64,
    /// `ftp`, `ftps`, `sftp`.
    pub protocol: &'a str,
    /// The listener's name in the configuration.
    pub listener: &'a str,
    /// The client's address and port; from the PROXY protocol header where the listener requires one.
    pub client: SocketAddr,
    /// The address and port that the client connected to.
    pub local: SocketAddr,
    /// The client program, from its SSH identification; not escaped.
    pub software: Option<&'a str>,
    /// `None`: in clear.
    pub protection: Option<&'a Protection>,
    /// That the client sent under TLS (SNI); not escaped.
    pub server_name: Option<&'a str>,
    /// The client's, of its TLS connection.
    pub certificate: Option<Certificate<'a>>,
    /// `None` before a login.
    pub account: Option<Account<'a>>,
}

/// A client's certificate.
#[derive(Clone, Copy)]
pub struct Certificate<'a> {
    /// The subject's distinguished name; not escaped.
    pub subject: &'a str,
    /// SHA-256, in hexadecimal digits.
    pub fingerprint: &'a str,
}

impl<'a> From<&'a ClientCertificate> for Certificate<'a> {
    fn from(certificate: &'a ClientCertificate) -> Self {
        Self { subject: &certificate.subject, fingerprint: &certificate.fingerprint }
    }
}

/// The user, as far as a login has come.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// The user in bytes: the name of the login, or what a login hook has made of it.
    pub user: &'a [u8],
    /// The name of the login, if the user is another.
    pub login_name: Option<&'a [u8]>,
    /// Groups of a user whom the gateway authenticated.
    pub groups: &'a [String],
    /// `password`, `publickey`, both separated by a comma, `certificate` or `anonymous`.
    pub method: &'a str,
    /// Who checks the proof: `gateway`, `backend` or `hook`; `None` without a route, or if nobody does.
    pub checked_by: Option<&'static str>,
    /// The login hook's name in the configuration.
    pub hook: Option<&'a str>,
    /// Of the public key.
    pub fingerprint: Option<&'a str>,
    /// The key's certificate.
    pub certificate: Option<&'a CertificateSummary>,
    /// The index in `routes`; `None`: none matches.
    pub route: Option<usize>,
    /// The route's backend.
    pub backend: Option<BackendServer<'a>>,
}

/// A backend.
#[derive(Clone, Copy)]
pub struct BackendServer<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// Its server, once the login there has succeeded.
    pub peer: Option<&'a Peer>,
    /// The certificate that the gateway signed for the login there.
    pub certificate: Option<&'a CertificateSummary>,
}

/// What happened.
pub enum What<'a> {
    /// A login, or a public key that was refused before a login.
    Login,
    /// A client was refused before a login. The kind, as in `lockgate_clients_refused_total`.
    ClientRefused(&'static str),
    /// A data connection was refused before its transfer. The FTP command.
    DataConnection(&'a str),
    /// An operation that moves no file data.
    Operation {
        /// As in the log.
        name: &'static str,
        /// In bytes, as the client sees it.
        path: &'a [u8],
        /// The second path.
        to: Option<&'a [u8]>,
    },
    /// A transfer of a file.
    Transfer(FileTransfer<'a>),
    /// The end of a logged-in session.
    SessionEnd(SessionTotals),
}

/// A transfer of a file.
pub struct FileTransfer<'a> {
    /// As in the log.
    pub name: &'static str,
    /// `upload`, `download`, `copy`.
    pub direction: &'static str,
    /// In bytes, as the client sees it.
    pub path: &'a [u8],
    /// The file that a copy writes.
    pub to: Option<&'a [u8]>,
    /// The bytes moved.
    pub bytes: u64,
    /// Bytes that were read from a file that is also written.
    pub bytes_read: u64,
    /// The size of a file that was read in part, where it is known.
    pub size: Option<u64>,
    /// Whether lines were converted (TYPE A).
    pub is_text: bool,
    /// Of the file, where it was moved whole, in order, and successfully.
    pub sha256: Option<Sha256>,
}

/// What a session did.
#[derive(Clone, Copy)]
pub struct SessionTotals {
    /// Files sent by the client.
    pub uploads: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Files sent to the client.
    pub downloads: u64,
    /// Their bytes.
    pub downloaded_bytes: u64,
}

impl<'a> Event<'a> {
    /// An event with this failure, if it failed.
    pub fn new(
        subject: Subject<'a>,
        what: What<'a>,
        outcome: &'a str,
        failure: Option<&'a Failure>,
    ) -> Self {
        Self {
            subject,
            what,
            outcome,
            rule: None,
            fault: failure.map(|failure| failure.fault),
            reason: failure.map(|failure| failure.message.as_str()),
            detail: failure.and_then(|failure| failure.detail.as_deref()),
            seconds: None,
        }
    }

    /// The name of its kind.
    pub(super) fn name(&self) -> &'static str {
        match self.what {
            What::Login => "login",
            What::ClientRefused(_) => "client-refused",
            What::DataConnection(_) => "data-connection",
            What::Operation { .. } => "operation",
            What::Transfer(_) => "transfer",
            What::SessionEnd(_) => "session-end",
        }
    }

    /// Whether it is nothing to look at: it succeeded, or a file was read in part.
    pub(super) fn is_routine(&self) -> bool {
        matches!(self.outcome, "ok" | "partial") && self.fault.is_none()
            || matches!(self.what, What::SessionEnd(_))
    }
}
