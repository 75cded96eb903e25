//! Verification of a server's certificate. The error describes the certificate and what would help.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::description;
use super::certificate_error::{cause, explained, refused};

/// Why a certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It, or a certificate of its chain, has expired.
    Expired,
    /// It, or a certificate of its chain, is not valid yet; perhaps a clock is wrong.
    NotYetValid,
    /// No trusted authority (`tls.ca`) has signed it.
    UnknownAuthority,
    /// The expected name (`tls.server_name`) is not among its names.
    OtherName,
    /// Damaged, revoked, with an unsupported signature, or issued for another purpose.
    Invalid,
}

/// A certificate that is not trusted. Fault: the operator's, of the server or of the gateway.
#[derive(Debug)]
pub struct DistrustedCertificate {
    /// The first check that failed.
    pub reason: Distrust,
    text: String,
}

impl fmt::Display for DistrustedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DistrustedCertificate {}

impl DistrustedCertificate {
    /// The cause of a failed handshake, where that is the server's certificate.
    pub fn of(error: &io::Error) -> Option<&Self> {
        cause(error)
    }

    fn new(certificate: &CertificateDer<'_>, expected: &str, error: &CertificateError) -> Self {
        use CertificateError as E;
        let (reason, what) = match error {
            E::Expired | E::ExpiredContext { .. } => (
                Distrust::Expired,
                "it, or a certificate of its chain, has expired: the server needs a new one".to_owned(),
            ),
            E::NotValidYet | E::NotValidYetContext { .. } => (
                Distrust::NotYetValid,
                "it is not valid yet: check the clocks of the gateway and of the issuer".to_owned(),
            ),
            // BadSignature: an authority of that name is trusted, with another key.
            E::UnknownIssuer | E::BadSignature => (
                Distrust::UnknownAuthority,
                "no trusted certificate authority has signed it: if it is genuine, set `tls.ca` to the \
                 file with its authority's certificate"
                    .to_owned(),
            ),
            E::NotValidForName | E::NotValidForNameContext { .. } => (
                Distrust::OtherName,
                format!(
                    "it is not valid for \"{expected}\": if it is genuine, set `tls.server_name` to one \
                     of its names"
                ),
            ),
            other => (Distrust::Invalid, explained(other)),
        };
        let description = description(certificate);
        Self { reason, text: format!("the server's certificate, {description}: {what}") }
    }
}

/// Verifies as rustls does; reports a refused certificate as a [`DistrustedCertificate`].
#[derive(Debug)]
pub(super) struct Verifier(pub(super) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(certificate, intermediates, name, ocsp, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(error) => {
                refused(DistrustedCertificate::new(certificate, &name.to_str(), &error))
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };
    use rustls::RootCertStore;

    use super::*;

    fn verification_error(
        params: CertificateParams,
        expected: &'static str,
        is_known: bool,
    ) -> DistrustedCertificate {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "an authority");
        let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = authority.self_signed(if is_known { &own } else { &other }).unwrap();
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &Issuer::new(authority, own)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = Verifier(inner.build().unwrap());
        let name = ServerName::try_from(expected).unwrap();
        let now = UnixTime::now();
        let error = verifier.verify_server_cert(made.der(), &[], &name, &[], now).unwrap_err();
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        let DistrustedCertificate { reason, text } = DistrustedCertificate::of(&error).unwrap();
        DistrustedCertificate { reason: *reason, text: text.clone() }
    }

    fn params(from: i32, to: i32) -> CertificateParams {
        let mut params =
            CertificateParams::new(["files.example.com".into(), "10.1.2.3".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "files");
        params.not_before = date_time_ymd(from, 2, 3);
        params.not_after = date_time_ymd(to, 4, 5);
        params
    }

    /// As `openssl req -x509` makes them.
    #[test]
    fn an_authoritys_certificate_is_told_as_that() {
        let mut authority = params(2020, 2150);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let error = verification_error(authority, "files.example.com", true);
        assert_eq!(error.reason, Distrust::Invalid);
        assert!(error.text.contains("`basicConstraints=CA:FALSE`"), "{}", error.text);
    }

    #[test]
    fn the_error_has_the_certificates_names_its_dates_and_the_setting_that_helps() {
        let name = "files.example.com";
        let begin = "the server's certificate, \"CN=files\" for files.example.com, 10.1.2.3, issued by \
                     \"CN=an authority\", valid from";
        for (params, expected, is_known, reason, parts) in [
            (
                params(2020, 2021),
                name,
                true,
                Distrust::Expired,
                ["2020-02-03 to 2021-04-05 (UTC)", "has expired"],
            ),
            (
                params(2150, 2160),
                name,
                true,
                Distrust::NotYetValid,
                ["2150-02-03 to 2160-04-05", "not valid yet"],
            ),
            (
                params(2020, 2160),
                name,
                false,
                Distrust::UnknownAuthority,
                ["2020-02-03", "`tls.ca`"],
            ),
            (
                params(2020, 2160),
                "other.example.com",
                true,
                Distrust::OtherName,
                ["\"other.example.com\"", "`tls.server_name`"],
            ),
        ] {
            let error = verification_error(params, expected, is_known);
            assert_eq!(error.reason, reason);
            assert!(error.text.starts_with(begin), "{error}");
            assert!(parts.iter().all(|part| error.text.contains(part)), "{error}");
        }
    }

    #[test]
    fn many_and_long_names_are_shortened() {
        let names: Vec<_> = (0..50).map(|n| format!("{n}.example.com")).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "n".repeat(5000));
        let text = verification_error(params, "localhost", true).text;
        assert!(text.contains("4.example.com, others"), "{text}");
        assert!(text.len() < 1000, "{text}");
    }
}
