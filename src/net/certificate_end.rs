//! From when until when a certificate or a list of revoked ones is valid, for the metrics.

/// The validity of what a file of the configuration holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnd {
    /// What it holds.
    pub kind: CertificateKind,
    /// Whose it is in the configuration: `listeners.public`.
    pub used_by: String,
    /// The file, as the configuration names it.
    pub file: String,
    /// Seconds since the epoch, UTC. Of several certificates, such as a chain, that of the first that ends.
    pub from: i64,
    /// The same, of its end.
    pub until: i64,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// The gateway's own, as a server.
    Certificate,
    /// The gateway's own, as a client of a server.
    ClientCertificate,
    /// Those of authorities.
    Authority,
    /// Lists of revoked certificates.
    Crl,
    /// The certificate of an SSH host key.
    HostCertificate,
}

impl CertificateKind {
    /// The label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::ClientCertificate => "client-certificate",
            Self::Authority => "ca",
            Self::Crl => "crl",
            Self::HostCertificate => "host-certificate",
        }
    }
}
