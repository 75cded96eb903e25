//! A certificate's subject, issuer, names and validity (RFC 5280 section 4.1.2), for messages and metrics.

use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::PemError;
use super::files::certificates;
use crate::net::Stream;
use crate::op::escape::shortened;

/// The longest name that is shown, in characters.
const NAME_MAX: usize = 100;
/// The most names that are shown.
const NAMES_MAX: usize = 5;

/// A readable summary of a certificate. Text is not escaped; a name that was cut ends in `…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The subject's distinguished name, cut after 100 characters; may be empty.
    pub subject: String,
    /// The issuer's distinguished name, cut after 100 characters.
    pub issuer: String,
    /// DNS names and addresses; where there are many, the last is `others`.
    pub names: Vec<String>,
    /// Seconds since the epoch, UTC.
    pub from: i64,
    /// Seconds since the epoch, UTC; inclusive.
    pub until: i64,
}

impl CertificateSummary {
    /// # Errors
    /// When it is not a certificate of version 3.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, X509Error> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
            x509_parser::nom::Err::Incomplete(_) => X509Error::InvalidCertificate,
        })?;
        let validity = certificate.validity();
        Ok(Self {
            subject: short(&certificate.subject().to_string()),
            issuer: short(&certificate.issuer().to_string()),
            names: names(&certificate),
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        })
    }

    /// Of the other end of a connection under TLS, where it can be parsed.
    pub fn of_peer(stream: &Stream) -> Option<Self> {
        let Stream::Tls(tls) = stream else { return None };
        Self::of(tls.get_ref().1.peer_certificates()?.first()?).ok()
    }

    /// Its subject, or its first name where the subject is empty.
    pub fn display_name(&self) -> &str {
        match (self.subject.as_str(), self.names.first()) {
            ("", Some(name)) => name,
            (subject, _) => subject,
        }
    }
}

/// Summaries of the certificates in a PEM file, in order; others than version 3 are skipped.
pub fn certificate_summaries(path: &Path) -> Result<Vec<CertificateSummary>, PemError> {
    let certificates = certificates(path)?;
    Ok(certificates.iter().filter_map(|der| CertificateSummary::of(der).ok()).collect())
}

/// Formats seconds since the epoch as `2026-12-31`, UTC.
pub fn calendar_date(seconds: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) => format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
        Err(_) => "a date beyond the calendar".into(),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let all = extension.iter().flat_map(|names| &names.value.general_names);
    let mut names: Vec<_> = all.filter_map(name).take(NAMES_MAX + 1).collect();
    if names.len() > NAMES_MAX {
        names[NAMES_MAX] = "others".into();
    }
    names
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(short(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            Some(v4.or(v6).ok()?.to_string())
        }
        _ => None,
    }
}

/// Subject, names, issuer and days of validity.
pub(super) fn description(certificate: &CertificateDer<'_>) -> String {
    CertificateSummary::of(certificate).map_or_else(
        |error| format!("which cannot be parsed ({error})"),
        |summary| describe(&summary),
    )
}

fn describe(certificate: &CertificateSummary) -> String {
    let CertificateSummary { subject, issuer, names, from, until } = certificate;
    let names = if names.is_empty() { String::new() } else { format!(" for {}", names.join(", ")) };
    let (from, until) = (calendar_date(*from), calendar_date(*until));
    format!("\"{subject}\"{names}, issued by \"{issuer}\", valid from {from} to {until} (UTC)")
}

/// Cut after [`NAME_MAX`] characters.
pub(super) fn short(text: &str) -> String {
    shortened(text, NAME_MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn every_certificate_of_a_file_is_summarized() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example.com".into()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let nameless = params.self_signed(&key).unwrap().pem();
        params.distinguished_name.push(DnType::CommonName, "Acme Root");
        params.not_after = date_time_ymd(2090, 1, 1);
        let named = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        std::fs::write(&path, format!("{nameless}{named}")).unwrap();
        let summaries = certificate_summaries(&path).unwrap();
        let summaries: Vec<_> = summaries
            .iter()
            .map(|it| (it.display_name(), calendar_date(it.from), calendar_date(it.until)))
            .collect();
        let date = |year| format!("{year}-01-01");
        let expected =
            [("a.example.com", date(2026), date(2027)), ("CN=Acme Root", date(2026), date(2090))];
        assert_eq!(summaries, expected);
    }
}
