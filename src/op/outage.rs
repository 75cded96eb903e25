//! Why a backend as a whole cannot be used: what its operator, or the gateway's, has to look at.

/// Each has a word of its own in the log and in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outage {
    /// No connection: its name is not known, or nobody answers at its addresses.
    Unreachable,
    Timeout,
    /// It was reached, but does not answer as its protocol wants, or ends the connection.
    UnexpectedAnswer,
    /// TLS did not come about, for another reason than the certificate.
    Tls,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateAuthority,
    CertificateName,
    CertificateInvalid,
    /// Nobody has said which host key it has.
    HostKeyUnknown,
    /// It has another host key than the one that was said.
    HostKeyChanged,
    HostKeyRevoked,
    /// It does not let the gateway's own account in.
    AccountRefused,
}

impl Outage {
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
