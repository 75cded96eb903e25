//! Short-lived user certificates that the gateway signs for its own logins at backends.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use russh::keys::key::safe_rng;
use russh::keys::ssh_key;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::rand_core::Rng;
use russh::keys::{Algorithm, HashAlg, PrivateKey};

use crate::auth::LoginKey;
use crate::op::Timestamp;

/// How far the backend's clock may be behind.
const BACKDATED: Duration = Duration::from_secs(60);

/// A certificate authority of the gateway.
#[derive(Clone)]
pub struct CertificateAuthority {
    key: Arc<PrivateKey>,
}

/// What a certificate says.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// The one principal.
    pub principal: String,
    /// For the backend's log and the audit: for which login it was made.
    pub key_id: String,
    /// Until it expires.
    pub valid_for: Duration,
    /// `source-address`: from where it may be used; empty: from anywhere.
    pub source_addresses: Vec<IpNet>,
    /// `force-command`; `None`: whatever the client requests.
    pub force_command: Option<String>,
}

/// A certificate could not be made; fault: the gateway's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a certificate for the backend could not be signed: {0}")]
pub struct MintError(#[from] ssh_key::Error);

impl CertificateAuthority {
    /// An authority that signs with `key`.
    pub fn new(key: Arc<PrivateKey>) -> Self {
        Self { key }
    }

    /// The fingerprint of its public key, which backends must trust.
    pub fn fingerprint(&self) -> String {
        self.key.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// A new key with a certificate, both in memory only. The certificate is valid from a minute ago, without
    /// extensions: no terminal, no forwarding.
    ///
    /// # Errors
    /// If the authority's key cannot sign.
    pub fn sign(&self, request: &CertificateRequest) -> Result<LoginKey, MintError> {
        self.sign_at(request, u64::try_from(Timestamp::now()).unwrap_or_default())
    }

    /// As [`CertificateAuthority::sign`], at `now` in seconds since the epoch.
    pub(super) fn sign_at(
        &self,
        request: &CertificateRequest,
        now: u64,
    ) -> Result<LoginKey, MintError> {
        let mut random = safe_rng();
        let key = PrivateKey::random(&mut random, Algorithm::Ed25519)?;
        let from = now.saturating_sub(BACKDATED.as_secs());
        let until = now.saturating_add(request.valid_for.as_secs());
        let public = key.public_key();
        let mut builder = Builder::new_with_random_nonce(&mut random, public, from, until)?;
        // 0 means that certificates are not numbered.
        builder.serial(random.next_u64().max(1))?.cert_type(CertType::User)?;
        builder.key_id(request.key_id.as_str())?.valid_principal(request.principal.as_str())?;
        if let Some(command) = &request.force_command {
            builder.critical_option("force-command", command.as_str())?;
        }
        if !request.source_addresses.is_empty() {
            let networks: Vec<_> = request.source_addresses.iter().map(IpNet::to_string).collect();
            builder.critical_option("source-address", networks.join(","))?;
        }
        let certificate = builder.sign(&*self.key)?;
        Ok(LoginKey { key: Arc::new(key), certificate: Some(Arc::new(certificate)) })
    }
}
