//! Verification of the server's host key (RFC 4251 section 4.1).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use russh::client::{Handler, Session};
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKeyOrCertificate};
use russh::{Names, Preferred};

use super::host_certificate::{self, HostCertificateRefused};
use super::known_hosts::Verdict;
use super::settings::{HostKey, Settings};
use crate::net::{Protection, Protocol};
use crate::op::escape::printable;
use crate::op::{Failure, FailureKind, Outage, Timestamp};

/// Verifies the key that a server presents, for one connection.
pub(super) struct Verifier {
    settings: Arc<Settings>,
    host: String,
    port: u16,
    refusal: Refusal,
    negotiated: Arc<OnceLock<Protection>>,
    presented: Arc<OnceLock<String>>,
}

/// Kinds of host keys that a backend's server presented and that are not pinned: a fingerprint does not
/// show its kind. They are not requested again.
#[derive(Default)]
pub(super) struct Unpinned(Mutex<Vec<Algorithm>>);

impl Unpinned {
    pub(super) fn add(&self, kind: &Algorithm) {
        let mut kinds = self.kinds();
        if !kinds.contains(kind) {
            kinds.push(kind.clone());
        }
    }

    /// The server's keys may have changed: all kinds are requested again.
    pub(super) fn forget(&self) {
        self.kinds().clear();
    }

    pub(super) fn without(&self, preferred: Preferred) -> Preferred {
        let kinds = self.kinds();
        let is_left = |offered: &&Algorithm| {
            !kinds.iter().any(|kind| match offered {
                Algorithm::Rsa { .. } => matches!(kind, Algorithm::Rsa { .. }),
                offered => kind == *offered,
            })
        };
        let key = preferred.key.iter().filter(is_left).cloned().collect();
        Preferred { key, ..preferred }
    }

    fn kinds(&self) -> MutexGuard<'_, Vec<Algorithm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a host key was refused; russh reports only that it was.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<Refused>>>);

/// With the key's kind, where a key of another kind may be pinned.
type Refused = (Failure, Option<Algorithm>);

impl Refusal {
    pub(super) fn take(&self) -> Option<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Verifier {
    pub(super) fn new(settings: Arc<Settings>, host: &str, port: u16) -> Self {
        Self {
            settings,
            host: host.to_owned(),
            port,
            refusal: Refusal::default(),
            negotiated: Arc::default(),
            presented: Arc::default(),
        }
    }

    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    /// The algorithms of the first key exchange, once it is done.
    pub(super) fn negotiated(&self) -> Arc<OnceLock<Protection>> {
        self.negotiated.clone()
    }

    /// The server's host key, once it is known.
    pub(super) fn presented(&self) -> Arc<OnceLock<String>> {
        self.presented.clone()
    }

    /// Requests certificates first where an authority is known, then the kinds of known host keys, as OpenSSH
    /// does: otherwise a server with several keys might present an unknown one.
    pub(super) fn order(&self, preferred: Preferred) -> Preferred {
        let HostKey::KnownHosts(known) = &self.settings.host_key else { return preferred };
        let host_key_certificates = if known.has_authority(&self.host, self.port) {
            preferred.key.clone()
        } else {
            preferred.host_key_certificates.clone()
        };
        let known = known.algorithms(&self.host, self.port);
        // A known RSA key signs with any hash.
        let is_known = |offered: &&Algorithm| match offered {
            Algorithm::Rsa { .. } => known.iter().any(|k| matches!(k, Algorithm::Rsa { .. })),
            offered => known.contains(offered),
        };
        let (first, rest): (Vec<_>, Vec<_>) = preferred.key.iter().partition(is_known);
        let key = first.into_iter().chain(rest).cloned().collect();
        Preferred { key, host_key_certificates, ..preferred }
    }

    fn verify(&self, key: &PublicKeyOrCertificate) -> Result<(), (Outage, String)> {
        let Self { settings, host, port, .. } = self;
        let key = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key,
            PublicKeyOrCertificate::Certificate(certificate) => {
                return self.verify_certificate(certificate);
            }
        };
        let presented = key.fingerprint(HashAlg::Sha256).to_string();
        let kind = key.algorithm();
        let kind = kind.as_str();
        match &settings.host_key {
            HostKey::AcceptAny => Ok(()),
            HostKey::Fingerprints(expected) => {
                // Some tools write the optional padding.
                let matches = |one: &String| one.trim_end_matches('=') == presented;
                expected.iter().any(matches).then_some(()).ok_or_else(|| {
                    let why = format!(
                        "{host}:{port} presented {kind} {presented}, but `host_key` is {}; if the server's key was changed on purpose, set `host_key: \"{presented}\"` on the backend",
                        expected.join(", ")
                    );
                    (Outage::HostKeyChanged, why)
                })
            }
            HostKey::KnownHosts(known) => match known.check(host, *port, key) {
                Verdict::Known => Ok(()),
                Verdict::Unknown => {
                    let name = if *port == 22 { host.clone() } else { format!("[{host}]:{port}") };
                    let line = key.to_openssh().unwrap_or_default();
                    let outage = if known.algorithms(host, *port).is_empty() {
                        Outage::HostKeyUnknown
                    } else {
                        Outage::HostKeyChanged
                    };
                    let why = format!(
                        "{host}:{port} presented {kind} {presented}, which is not in `known_hosts` for this server; if it is the right key, add the line `{name} {line}` there, or set `host_key: \"{presented}\"`"
                    );
                    Err((outage, why))
                }
                Verdict::Revoked => {
                    let why = format!(
                        "{host}:{port} presented {kind} {presented}, which is @revoked in `known_hosts`"
                    );
                    Err((Outage::HostKeyRevoked, why))
                }
            },
        }
    }
}

impl Verifier {
    /// Only requested where `known_hosts` has an authority for the host.
    fn verify_certificate(&self, certificate: &Certificate) -> Result<(), (Outage, String)> {
        let Self { settings, host, port, .. } = self;
        let HostKey::KnownHosts(known) = &settings.host_key else {
            let why = "it presented a host certificate that was not requested".to_owned();
            return Err((Outage::HostKeyUnknown, why));
        };
        let now = u64::try_from(Timestamp::now()).unwrap_or_default();
        let at = (host.as_str(), *port);
        let checked = host_certificate::check(known, at, certificate, &settings.algorithms, now);
        checked.map_err(|refused| {
            let outage = match refused {
                HostCertificateRefused::Revoked => Outage::HostKeyRevoked,
                HostCertificateRefused::Expired => Outage::CertificateExpired,
                HostCertificateRefused::NotYetValid => Outage::CertificateNotYetValid,
                HostCertificateRefused::Authority(..) => Outage::CertificateAuthority,
                HostCertificateRefused::Name(_) => Outage::CertificateName,
                HostCertificateRefused::ForUser
                | HostCertificateRefused::SignatureAlgorithm(_)
                | HostCertificateRefused::Signature
                | HostCertificateRefused::CriticalOption(_) => Outage::CertificateInvalid,
            };
            let id = certificate.key_id();
            (outage, format!("the host certificate of {host}:{port} (\"{id}\") {refused}"))
        })
    }
}

/// For operators.
fn description(key: &PublicKeyOrCertificate) -> String {
    match key {
        PublicKeyOrCertificate::PublicKey { key, .. } => {
            format!("{} {}", key.algorithm().as_str(), key.fingerprint(HashAlg::Sha256))
        }
        PublicKeyOrCertificate::Certificate(certificate) => {
            let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
            let id = printable(certificate.key_id().as_bytes());
            format!("certificate \"{id}\" of the authority {authority}")
        }
    }
}

impl Handler for Verifier {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let _ = self.presented.set(description(key));
        let Err((outage, detail)) = self.verify(key) else { return Ok(true) };
        let failure = Failure::backend(
            FailureKind::Unavailable,
            "the backend server's host key is not the one the gateway expects; contact the gateway's operator",
        );
        let failure = failure.with_detail(detail).with_outage(outage);
        let kind = match (&self.settings.host_key, key) {
            (HostKey::Fingerprints(_), PublicKeyOrCertificate::PublicKey { key, .. }) => {
                Some(key.algorithm())
            }
            _ => None,
        };
        *self.refusal.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((failure, kind));
        Ok(false)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let _ = self.negotiated.set(Protection {
            protocol: Protocol::Ssh,
            version: Some("2.0"),
            cipher: Some(names.cipher.as_ref().to_owned()),
            key_exchange: Some(names.kex.as_ref().to_owned()),
        });
        Ok(())
    }
}
