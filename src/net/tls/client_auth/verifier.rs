//! Verification of clients' certificates. The error describes the certificate and what would help.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, Error,
    SignatureScheme,
};

use super::fingerprint::fingerprint;
use super::lists::Lists;
use crate::net::tls::certificate::description;
use crate::net::tls::certificate_error::{cause, explained, refused};

/// A client's certificate that was refused.
#[derive(Debug)]
pub struct RefusedCertificate(String);

impl RefusedCertificate {
    /// The cause of a failed handshake, where that is the client's certificate.
    pub fn of(error: &io::Error) -> Option<&Self> {
        cause(error)
    }

    fn new(certificate: &CertificateDer<'_>, error: &Error) -> Self {
        let description = description(certificate);
        let (fingerprint, reason) = (fingerprint(certificate), reason(error));
        Self(format!("the client's certificate, {description}, SHA-256 {fingerprint}: {reason}"))
    }
}

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RefusedCertificate {}

fn reason(error: &Error) -> String {
    use CertificateError as E;
    let reason = match error {
        Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => {
            "it, or a certificate of its chain, has expired: the client needs a new one"
        }
        Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => {
            "it is not valid yet: check the clocks of the gateway and of the issuer"
        }
        // BadSignature: an authority of that name is trusted, with another key.
        Error::InvalidCertificate(E::UnknownIssuer | E::BadSignature) => {
            "no authority of `tls.client_ca` has issued it, or the client did not send the certificates \
             between"
        }
        Error::InvalidCertificate(E::Revoked) => "it is revoked (tls.client_crl)",
        Error::InvalidCertificate(E::UnknownRevocationStatus) => {
            "no list of `tls.client_crl` is from its issuer: add that authority's list, and its \
             certificate to `tls.client_ca`"
        }
        Error::InvalidCertificate(
            E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. },
        ) => {
            "its issuer's list of revoked certificates (tls.client_crl) has expired: until the file is \
             replaced, none of the issuer's certificates is accepted"
        }
        Error::InvalidCertificate(E::InvalidPurpose | E::InvalidPurposeContext { .. }) => {
            "it was not issued for clients (extended key usage)"
        }
        Error::InvalidCertRevocationList(CertRevocationListError::BadSignature) => {
            "its issuer's list of revoked certificates (tls.client_crl) has a wrong signature"
        }
        Error::InvalidCertificate(other) => return explained(other),
        other => return other.to_string(),
    };
    reason.to_owned()
}

/// Verifies as rustls does, with the intermediate certificates of `client_ca` besides the client's own;
/// reports a refused certificate as a [`RefusedCertificate`].
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) lists: Lists,
    intermediates: Vec<CertificateDer<'static>>,
    /// For all that does not depend on the lists.
    inner: Arc<dyn ClientCertVerifier>,
}

impl Verifier {
    pub(super) fn new(lists: Lists, intermediates: Vec<CertificateDer<'static>>) -> Self {
        let inner = lists.verifier();
        Self { lists, intermediates, inner }
    }

    /// Whether the certificate is accepted now, or would have been accepted at `earlier`: it may have expired
    /// since then, and an authority between may have been renewed since then.
    ///
    /// # Errors
    /// Why it is refused, in words that do not name it.
    pub(super) fn check_again(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        earlier: UnixTime,
    ) -> Result<(), String> {
        use CertificateError as E;
        let verify = |at| self.verify(certificate, intermediates, at);
        let Err(then) = verify(earlier) else { return Ok(()) };
        let Err(now) = verify(UnixTime::now()) else { return Ok(()) };
        Err(reason(match &then {
            // Of an authority that is newer.
            Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => &now,
            _ => &then,
        }))
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let all: Vec<_> = self.intermediates.iter().chain(intermediates).cloned().collect();
        self.lists.verifier().verify_client_cert(certificate, &all, now)
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(certificate, intermediates, now)
            .map_err(|error| refused(RefusedCertificate::new(certificate, &error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
