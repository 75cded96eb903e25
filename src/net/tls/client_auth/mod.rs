//! Clients' certificates: whom the handshake admits, and whom they name.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::VerifierBuilderError;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::CertificateSummary;

mod authorities;
mod fingerprint;
mod lists;
mod names;
#[cfg(test)]
mod tests;
mod verifier;

pub use authorities::{Authority, AuthorityError, Crl};
use fingerprint::fingerprint;
use lists::Lists;
pub use names::{CertificateUser, CertificateUsers};
pub use verifier::RefusedCertificate;
use verifier::Verifier;

/// A listener's demands on its clients' certificates (`client_certificate`, `client_ca`, `client_crl`,
/// `certificate_user`).
#[derive(Debug, Clone)]
pub struct ClientAuth {
    verifier: Arc<Verifier>,
    user: CertificateUser,
}

impl ClientAuth {
    /// A certificate whose issuer is among `authorities`, too, is not trusted by itself: its own issuer
    /// could revoke it. With any of `crls`, each certificate of a chain must have a list of its issuer that
    /// has not expired.
    ///
    /// # Errors
    /// Without authorities, or with a list that rustls does not support: one of changes (delta), of an
    /// authority that did not issue the certificates (indirect), or for some reasons only.
    ///
    /// `files`: those of the lists, which are read again when they change; if they are unusable then, the
    /// earlier ones stay in force.
    pub fn new(
        authorities: &[Authority],
        (crls, files): (&[Crl], Vec<PathBuf>),
        is_required: bool,
        user: CertificateUser,
    ) -> Result<Self, VerifierBuilderError> {
        let is_intermediate = |authority: &&Authority| {
            let by_another = |other: &Authority| other.subject == authority.issuer;
            authority.subject != authority.issuer && authorities.iter().any(by_another)
        };
        let (intermediates, anchors): (Vec<&Authority>, Vec<&Authority>) =
            authorities.iter().partition(is_intermediate);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(anchors.into_iter().map(|anchor| anchor.der.clone()));
        let lists = Lists::new(authorities, roots, (crls, files), is_required)?;
        let intermediates = intermediates.into_iter().map(|it| it.der.clone()).collect();
        Ok(Self { verifier: Arc::new(Verifier::new(lists, intermediates)), user })
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }

    /// Whether certificates tell users apart: not with `certificate_user: any`.
    pub(super) fn names_users(&self) -> bool {
        self.user != CertificateUser::Any
    }

    /// Whether clients without a certificate are refused.
    pub fn is_required(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    /// What a certificate that was verified before counts for here. That it has expired meanwhile, or a list of
    /// that time, does not matter, nor that an authority's certificate is newer than the handshake.
    ///
    /// # Errors
    /// Why it would be refused, in words.
    pub fn verified_again(&self, earlier: &ClientCertificate) -> Result<ClientCertificate, String> {
        let (leaf, rest) = (earlier.leaf(), earlier.chain.get(1..).unwrap_or_default());
        self.verifier.check_again(leaf, rest, earlier.verified)?;
        Ok(self.certificate(earlier.chain.clone(), earlier.verified))
    }

    /// The facts of a certificate that a handshake has verified just now.
    pub(super) fn verified(&self, chain: &[CertificateDer<'_>]) -> Option<ClientCertificate> {
        chain.first()?;
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        Some(self.certificate(chain, UnixTime::now()))
    }

    /// `chain` is not empty.
    fn certificate(
        &self,
        chain: Arc<[CertificateDer<'static>]>,
        verified: UnixTime,
    ) -> ClientCertificate {
        let der = &chain[0];
        let users = match X509Certificate::from_der(der) {
            Ok((_, certificate)) => self.user.of(&certificate),
            Err(_) => CertificateUsers::Nobody("it cannot be parsed"),
        };
        let summary = CertificateSummary::of(der).ok();
        ClientCertificate {
            subject: summary.map(|it| it.display_name().to_owned()).unwrap_or_default(),
            fingerprint: fingerprint(der),
            users,
            verified,
            chain,
        }
    }
}

/// A client's certificate, verified by the handshake.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The subject's distinguished name, or its first alternative name; cut after 100 characters, not
    /// escaped.
    pub subject: String,
    /// SHA-256 of the certificate, 64 hexadecimal digits.
    pub fingerprint: String,
    /// The users whom it names.
    pub users: CertificateUsers,
    /// When the handshake verified it.
    verified: UnixTime,
    /// With what the client sent beside it; its own first.
    chain: Arc<[CertificateDer<'static>]>,
}

impl ClientCertificate {
    /// Its DER.
    pub fn der(&self) -> &[u8] {
        self.leaf()
    }

    fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }
}
