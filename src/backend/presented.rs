//! What a server presents before a login, for operators.

use crate::net::Peer;
use crate::net::tls::CertificateSummary;

/// What a server presents before a login. Empty for a folder.
#[derive(Debug, Clone, Default)]
pub struct Presented {
    /// The server, and what protects the connection.
    pub peer: Option<Peer>,
    /// The FTP greeting, escaped.
    pub greeting: Option<String>,
    /// The TLS certificate. It was verified as configured.
    pub certificate: Option<CertificateSummary>,
    /// The SSH host key: its kind and `SHA256:…`; of a certificate, its ID. It was verified as configured.
    pub host_key: Option<String>,
}
