//! The certificates of a listener, and the choice between them by the client's server name (SNI).

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::files::CertificateAndKey;
use super::names::ServerNames;

/// One certificate or more. The first is for clients without a server name, or with an unknown one.
#[derive(Debug, Clone)]
pub struct ServerCertificates {
    default: Arc<CertifiedKey>,
    by_name: ServerNames<Arc<CertifiedKey>>,
}

impl ServerCertificates {
    /// Adds a further certificate. Returns whether any of its names is new: otherwise no client gets it.
    pub fn add(&mut self, certificate: &CertificateAndKey) -> bool {
        let mut is_new = false;
        for name in certificate.names() {
            is_new |= self.by_name.insert(name, certificate.certified.clone());
        }
        is_new
    }

    /// Each chain once, the default first.
    pub(super) fn chains(&self) -> Vec<&[CertificateDer<'static>]> {
        let mut all = vec![&self.default];
        for certified in self.by_name.values() {
            if !all.iter().any(|known| Arc::ptr_eq(known, certified)) {
                all.push(certified);
            }
        }
        all.into_iter().map(|certified| &certified.cert[..]).collect()
    }

    fn get(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.by_name.get(name?).cloned()
    }
}

impl From<CertificateAndKey> for ServerCertificates {
    fn from(first: CertificateAndKey) -> Self {
        let mut certificates =
            Self { default: first.certified.clone(), by_name: ServerNames::default() };
        certificates.add(&first);
        certificates
    }
}

/// The choice for one connection.
#[derive(Debug)]
pub(super) struct CertificateChoice {
    certificates: Arc<ServerCertificates>,
    default: Arc<CertifiedKey>,
}

impl CertificateChoice {
    pub(super) fn for_control(certificates: Arc<ServerCertificates>) -> Self {
        let default = certificates.default.clone();
        Self { certificates, default }
    }

    /// `name`: of the control connection. Clients expect its certificate on data connections, too, on
    /// which some send an address or nothing as the name.
    pub(super) fn for_data(certificates: Arc<ServerCertificates>, name: Option<&str>) -> Self {
        let default = certificates.get(name).unwrap_or_else(|| certificates.default.clone());
        Self { certificates, default }
    }

    fn by_name(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        self.certificates.get(name).unwrap_or_else(|| self.default.clone())
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.by_name(hello.server_name()))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn certificate(names: &[&str]) -> CertificateAndKey {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        CertificateAndKey::new(vec![made.cert.der().clone()], key).unwrap()
    }

    #[test]
    fn the_server_name_chooses_the_certificate() {
        let first = certificate(&["one.example.com", "192.0.2.1"]);
        let second = certificate(&["*.Example.com", "two.example.net"]);
        let third = certificate(&["three.example.com", "ONE.example.com"]);
        let mut certificates = ServerCertificates::from(first.clone());
        assert!(certificates.add(&second) && certificates.add(&third));
        let certificates = Arc::new(certificates);
        let control = CertificateChoice::for_control(certificates.clone());
        for (name, expected) in [
            (Some("one.example.com"), &first),
            (Some("ONE.EXAMPLE.COM"), &first),
            (Some("two.example.net"), &second),
            (Some("two.example.com"), &second),
            (Some("three.example.com"), &third),
            (Some("a.two.example.com"), &first),
            (Some("example.com"), &first),
            (Some("unknown.example.net"), &first),
            (Some("192.0.2.1"), &first),
            (None, &first),
        ] {
            let chosen = control.by_name(name);
            assert!(Arc::ptr_eq(&chosen, &expected.certified), "{name:?}");
        }
        let data = CertificateChoice::for_data(certificates, Some("two.example.net"));
        for (name, expected) in
            [(None, &second), (Some("unknown"), &second), (Some("one.example.com"), &first)]
        {
            assert!(Arc::ptr_eq(&data.by_name(name), &expected.certified), "{name:?}");
        }
    }

    #[test]
    fn a_certificate_without_a_new_name_is_recognized() {
        let mut certificates = ServerCertificates::from(certificate(&["a.example.com"]));
        assert!(!certificates.add(&certificate(&["A.example.com"])));
        assert!(certificates.add(&certificate(&["a.example.com", "b.example.com"])));
        assert!(!certificates.add(&certificate(&["b.example.com", "a.example.com"])));
        assert!(!certificates.add(&certificate(&["192.0.2.1"])));
    }
}
