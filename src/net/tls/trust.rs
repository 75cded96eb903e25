//! Whether a server's certificate is trusted, and if not, what an operator has to know of it: whose it
//! is, until when it is valid, and what helps.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::{CertificateSummary, calendar_date};

/// Why a certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    Expired,
    NotYetValid,
    UnknownAuthority,
    OtherName,
    /// Damaged, revoked, signed with what is not understood, or made for another purpose.
    Invalid,
}

/// A certificate that is not trusted. Fault: the server's operator's, or the gateway's.
#[derive(Debug)]
pub struct DistrustedCertificate {
    pub why: Distrust,
    text: String,
}

impl fmt::Display for DistrustedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DistrustedCertificate {}

impl DistrustedCertificate {
    /// What a handshake failed of, where it was the server's certificate.
    pub fn of(error: &io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref()? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(error))) => {
                error.downcast_ref()
            }
            _ => None,
        }
    }

    fn new(certificate: &CertificateDer<'_>, expected: &str, error: &CertificateError) -> Self {
        use CertificateError as E;
        let (why, what) = match error {
            E::Expired | E::ExpiredContext { .. } => (
                Distrust::Expired,
                "it, or one that vouches for it, has expired: the server needs a new one".to_owned(),
            ),
            E::NotValidYet | E::NotValidYetContext { .. } => (
                Distrust::NotYetValid,
                "it is not valid yet: is a clock wrong, here or where it was made?".to_owned(),
            ),
            // An authority of that name may be known, with another key.
            E::UnknownIssuer | E::BadSignature => (
                Distrust::UnknownAuthority,
                "no authority that is trusted here has signed it: if it is the right one, `tls.ca` \
                 names the file with its authority's certificate"
                    .to_owned(),
            ),
            E::NotValidForName | E::NotValidForNameContext { .. } => (
                Distrust::OtherName,
                format!(
                    "it is not for \"{expected}\": if it is the right one, `tls.server_name` says \
                     which name it has"
                ),
            ),
            other => (Distrust::Invalid, other.to_string()),
        };
        let whose = CertificateSummary::of(certificate).map_or_else(
            |error| format!("which cannot be read ({error})"),
            |read| described(&read),
        );
        Self { why, text: format!("the server's certificate, {whose}: {what}") }
    }
}

/// Subject, names, issuer and days of validity.
fn described(certificate: &CertificateSummary) -> String {
    let CertificateSummary { subject, issuer, names, from, until } = certificate;
    let names = match names.is_empty() {
        true => String::new(),
        false => format!(" for {}", names.join(", ")),
    };
    let (from, until) = (calendar_date(*from), calendar_date(*until));
    format!("\"{subject}\"{names}, issued by \"{issuer}\", valid from {from} to {until} (UTC)")
}

/// Verifies as rustls does; what it refuses comes out as a [`DistrustedCertificate`].
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
                let told = DistrustedCertificate::new(certificate, &name.to_str(), &error);
                Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(told))))
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

    fn told(
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
        let DistrustedCertificate { why, text } = DistrustedCertificate::of(&error).unwrap();
        DistrustedCertificate { why: *why, text: text.clone() }
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

    #[test]
    fn a_distrusted_certificate_is_told_with_names_dates_and_what_helps() {
        let name = "files.example.com";
        let begin = "the server's certificate, \"CN=files\" for files.example.com, 10.1.2.3, issued by \
                     \"CN=an authority\", valid from";
        for (params, expected, is_known, why, parts) in [
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
            let told = told(params, expected, is_known);
            assert_eq!(told.why, why);
            assert!(told.text.starts_with(begin), "{told}");
            assert!(parts.iter().all(|part| told.text.contains(part)), "{told}");
        }
    }

    #[test]
    fn many_and_long_names_are_cut() {
        let names: Vec<_> = (0..50).map(|n| format!("{n}.example.com")).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "n".repeat(5000));
        let told = told(params, "localhost", true).text;
        assert!(told.contains("4.example.com, others"), "{told}");
        assert!(told.len() < 1000, "{told}");
    }
}
