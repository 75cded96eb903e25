//! What records say of a certificate.

use std::fmt;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg};

/// Characters of a key id that are kept: its authority chooses the text.
const KEY_ID_MAX: usize = 256;

/// A certificate, as records name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The serial, which its authority chose; 0: none.
    pub serial: u64,
    /// The key id, which its authority chose: at most 256 characters, not escaped.
    pub key_id: String,
    /// The SHA-256 fingerprint of the authority's key.
    pub authority: String,
}

impl From<&Certificate> for CertificateSummary {
    fn from(certificate: &Certificate) -> Self {
        let authority: &KeyData = certificate.signature_key();
        Self {
            serial: certificate.serial(),
            key_id: certificate.key_id().chars().take(KEY_ID_MAX).collect(),
            authority: authority.fingerprint(HashAlg::Sha256).to_string(),
        }
    }
}

/// As sshd logs it.
impl fmt::Display for CertificateSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ID {} (serial {}) CA {}", self.key_id, self.serial, self.authority)
    }
}
