//! Which keys and certificates of users a listener accepts.

use std::net::IpAddr;
use std::sync::Arc;

use russh::keys::{Certificate, HashAlg, PublicKey};

use super::authority::PublicKeys;
use super::check::{CertificateRefused, check};
use super::revoked::{Revoked, RevokedFile};
use super::summary::CertificateSummary;
use crate::auth::{KeyRefused, User};

/// Who vouches for users at a listener, and which keys are revoked there.
#[derive(Clone, Default)]
pub struct KeyTrust {
    /// Whose user certificates are accepted (`trusted_user_ca_keys`); empty: nobody's.
    pub authorities: PublicKeys,
    /// Keys and certificates that are refused (`revoked_keys`).
    pub revoked: Vec<Arc<RevokedFile>>,
}

/// Why a client's key is not accepted; fault: the client's, or the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// As a key of the user's `authorized_keys`.
    #[error(transparent)]
    Key(#[from] KeyRefused),
    /// As a certificate, or it is revoked.
    #[error("the key or certificate is not accepted: {0}")]
    Certificate(#[from] CertificateRefused),
}

/// With what a client made its signature.
#[derive(Clone)]
pub enum PresentedKey {
    /// A plain key.
    Key(PublicKey),
    /// The key of a certificate.
    Certificate(Box<Certificate>),
}

impl PresentedKey {
    /// Its certificate, for records.
    pub fn certificate(&self) -> Option<CertificateSummary> {
        match self {
            Self::Key(_) => None,
            Self::Certificate(certificate) => Some(CertificateSummary::from(certificate.as_ref())),
        }
    }

    /// The SHA-256 fingerprint of the key, in OpenSSH's form.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Key(key) => key.fingerprint(HashAlg::Sha256).to_string(),
            Self::Certificate(certificate) => {
                certificate.public_key().fingerprint(HashAlg::Sha256).to_string()
            }
        }
    }
}

impl KeyTrust {
    /// No certificate is accepted, and no key is revoked.
    pub const NONE: Self = Self { authorities: PublicKeys::NONE, revoked: Vec::new() };

    /// Whether a certificate can be accepted at all.
    pub fn accepts_certificates(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// Whether `user`, whose name is `name`, may log in with `key` from `source` at a time in seconds since the
    /// epoch.
    pub fn admits(
        &self,
        user: &User,
        name: &[u8],
        key: &PresentedKey,
        source: IpAddr,
        at: i64,
    ) -> Result<(), NotAdmitted> {
        match key {
            PresentedKey::Key(key) => {
                user.keys.admits(key, source)?;
                self.refuse_revoked_key(key)?;
            }
            PresentedKey::Certificate(certificate) => {
                let own = [name];
                let listed: Vec<_> = user.principals.iter().map(String::as_bytes).collect();
                let principals = if listed.is_empty() { &own[..] } else { &listed[..] };
                let at = u64::try_from(at).unwrap_or_default();
                check(certificate, &self.authorities, principals, source, at)?;
                self.refuse_revoked(|revoked| revoked.has_certificate(certificate))?;
            }
        }
        Ok(())
    }

    /// Whether a key that somebody else accepts, as a login hook, is not revoked.
    pub fn refuse_revoked_key(&self, key: &PublicKey) -> Result<(), CertificateRefused> {
        self.refuse_revoked(|revoked| revoked.has_key(key.key_data()))
    }

    fn refuse_revoked(&self, lists: impl Fn(&Revoked) -> bool) -> Result<(), CertificateRefused> {
        for file in &self.revoked {
            let revoked = file.current();
            let revoked =
                revoked.map_err(|why| CertificateRefused::RevokedUnreadable(why.to_string()))?;
            if lists(&revoked) {
                return Err(CertificateRefused::Revoked);
            }
        }
        Ok(())
    }
}
