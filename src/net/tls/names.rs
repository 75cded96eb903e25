//! Server names (RFC 6066 section 3), found among names and wildcards (RFC 6125 section 6.4.3).

use std::collections::HashMap;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Values by server name. `*.example.com` stands for any one label in place of the `*`. Case does not
/// matter.
#[derive(Debug, Clone)]
pub struct ServerNames<T>(HashMap<String, T>);

impl<T> ServerNames<T> {
    /// Adds a name or wildcard, unless it is there already. Returns whether it was added.
    pub fn insert(&mut self, name: &str, value: T) -> bool {
        use std::collections::hash_map::Entry;
        match self.0.entry(canonical(name)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(value);
                true
            }
        }
    }

    /// The value of exactly this name, or else of a wildcard for it.
    pub fn get(&self, name: &str) -> Option<&T> {
        let name = canonical(name);
        let wildcard = || Some(format!("*.{}", name.split_once('.')?.1));
        self.0.get(&name).or_else(|| self.0.get(&wildcard()?))
    }

    /// In no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }
}

impl<T> Default for ServerNames<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The DNS names of a certificate; none if it is not of version 3.
pub(super) fn dns_names(der: &CertificateDer<'static>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let extension = certificate.subject_alternative_name().ok().flatten();
    let all = extension.iter().flat_map(|names| &names.value.general_names);
    all.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_comes_before_a_wildcard() {
        let mut names = ServerNames::default();
        assert!(names.insert("*.example.com", 1));
        assert!(names.insert("FTP.example.com", 2));
        assert!(names.insert("example.net", 3));
        assert!(!names.insert("ftp.EXAMPLE.com.", 4));
        for (name, expected) in [
            ("ftp.example.com", Some(2)),
            ("Ftp.Example.COM.", Some(2)),
            ("files.example.com", Some(1)),
            ("FILES.EXAMPLE.COM", Some(1)),
            ("a.files.example.com", None),
            ("example.com", None),
            ("example.net", Some(3)),
            ("a.example.net", None),
            ("com", None),
            ("", None),
        ] {
            assert_eq!(names.get(name).copied(), expected, "{name}");
        }
    }
}
