//! Why a backend is unusable for all users.

/// Each reason has its own name in the log and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outage {
    /// No connection: its name does not resolve, or no address accepts connections.
    Unreachable,
    /// No connection or reply within the time limit.
    Timeout,
    /// It violates its protocol, or closes the connection.
    UnexpectedAnswer,
    /// The TLS handshake failed, for another reason than the certificate.
    Tls,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate is not valid yet.
    CertificateNotYetValid,
    /// No trusted authority has signed the certificate.
    CertificateAuthority,
    /// The certificate is for another name.
    CertificateName,
    /// The certificate is not valid for another reason.
    CertificateInvalid,
    /// No host key is configured for it.
    HostKeyUnknown,
    /// Its host key differs from the configured one.
    HostKeyChanged,
    /// `known_hosts` marks the host key as revoked.
    HostKeyRevoked,
    /// It refuses the login of the gateway's own account.
    AccountRefused,
}

impl Outage {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Unreachable,
        Self::Timeout,
        Self::UnexpectedAnswer,
        Self::Tls,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateAuthority,
        Self::CertificateName,
        Self::CertificateInvalid,
        Self::HostKeyUnknown,
        Self::HostKeyChanged,
        Self::HostKeyRevoked,
        Self::AccountRefused,
    ];

    /// The name in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Outage::Unreachable => "unreachable",
            Outage::Timeout => "timeout",
            Outage::UnexpectedAnswer => "unexpected-answer",
            Outage::Tls => "tls",
            Outage::CertificateExpired => "certificate-expired",
            Outage::CertificateNotYetValid => "certificate-not-yet-valid",
            Outage::CertificateAuthority => "certificate-authority",
            Outage::CertificateName => "certificate-name",
            Outage::CertificateInvalid => "certificate-invalid",
            Outage::HostKeyUnknown => "host-key-unknown",
            Outage::HostKeyChanged => "host-key-changed",
            Outage::HostKeyRevoked => "host-key-revoked",
            Outage::AccountRefused => "account-refused",
        }
    }
}
