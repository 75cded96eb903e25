//! From when until when certificates are good (RFC 5280 section 4.1.2.5).

use std::path::Path;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::PemError;
use super::files::certificates;

/// Whose a certificate is and when it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Its subject, or where that is empty its first DNS name. As the certificate has it: not escaped.
    pub subject: String,
    /// Seconds since the epoch, UTC.
    pub from: i64,
    /// The last second; since the epoch, UTC.
    pub until: i64,
}

/// Of each certificate of a PEM file, in its order. What is no certificate of version 3 is left out.
pub fn validities(path: &Path) -> Result<Vec<Validity>, PemError> {
    let certificates = certificates(path)?;
    let parsed = certificates.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    Ok(parsed.map(|(_, certificate)| validity(&certificate)).collect())
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let subject = certificate.subject().to_string();
    let subject = if subject.is_empty() { dns_name(certificate) } else { subject };
    let validity = certificate.validity();
    Validity {
        subject,
        from: validity.not_before.timestamp(),
        until: validity.not_after.timestamp(),
    }
}

fn dns_name(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let mut names = names.iter().flat_map(|names| &names.value.general_names);
    let first = names.find_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    first.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn every_certificate_of_a_file_is_told() {
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
        let validity =
            |subject: &str, until| Validity { subject: subject.into(), from: 1767225600, until };
        let expected =
            [validity("a.example.com", 1798761600), validity("CN=Acme Root", 3786912000)];
        assert_eq!(validities(&path).unwrap(), expected);
    }
}
