//! Whether a certificate chain is complete, for operators: clients know few authorities, and most of them no
//! intermediate ones (RFC 8446 section 4.4.2).

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CertificateSummary;

/// The names of the authorities that this machine trusts, in DER.
#[derive(Debug, Default)]
pub struct SystemAuthorities(HashSet<Vec<u8>>);

impl SystemAuthorities {
    /// Reads the system's store; empty where there is none.
    pub fn load() -> Self {
        let certificates = rustls_native_certs::load_native_certs().certs;
        Self(certificates.iter().filter_map(|der| Some(names(der)?.subject)).collect())
    }
}

/// The certificates that a listener sends.
#[derive(Debug)]
pub struct Chain {
    /// The listener's own first. Those that cannot be parsed are left out.
    pub certificates: Vec<CertificateSummary>,
    /// Where the chain leads.
    pub end: ChainEnd,
}

/// Where a chain leads.
#[derive(Debug, PartialEq, Eq)]
pub enum ChainEnd {
    /// The first certificate is signed with its own key: clients must know it.
    SelfSigned,
    /// To an authority that this machine trusts, or with the authority's own certificate: it is complete.
    Complete,
    /// To an authority that this machine does not know: it is private, or an intermediate certificate is
    /// missing.
    Unknown {
        /// The authority's name.
        issuer: String,
    },
    /// A certificate is followed by another than its issuer's.
    Broken {
        /// Who should follow.
        issuer: String,
    },
}

impl Chain {
    pub(super) fn of(chain: &[CertificateDer<'_>], known: &SystemAuthorities) -> Self {
        let certificates =
            chain.iter().filter_map(|der| CertificateSummary::of(der).ok()).collect();
        Self { certificates, end: end(chain, known) }
    }
}

/// Names in DER, and the issuer's for people.
struct Names {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    shown_issuer: String,
}

fn names(der: &CertificateDer<'_>) -> Option<Names> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Names {
        subject: certificate.subject().as_raw().to_vec(),
        issuer: certificate.issuer().as_raw().to_vec(),
        shown_issuer: super::certificate::short(&certificate.issuer().to_string()),
    })
}

fn end(chain: &[CertificateDer<'_>], known: &SystemAuthorities) -> ChainEnd {
    let all: Vec<_> = chain.iter().filter_map(names).collect();
    let Some(last) = all.last() else { return ChainEnd::Unknown { issuer: String::new() } };
    if let Some(first) = all.first().filter(|first| first.subject == first.issuer) {
        return if known.0.contains(&first.subject) {
            ChainEnd::Complete
        } else {
            ChainEnd::SelfSigned
        };
    }
    let broken = all.windows(2).find(|pair| pair[0].issuer != pair[1].subject);
    if let Some([before, _]) = broken {
        return ChainEnd::Broken { issuer: before.shown_issuer.clone() };
    }
    if last.subject == last.issuer || known.0.contains(&last.issuer) {
        return ChainEnd::Complete;
    }
    ChainEnd::Unknown { issuer: last.shown_issuer.clone() }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    struct Pki {
        root: CertificateDer<'static>,
        middle: CertificateDer<'static>,
        leaf: CertificateDer<'static>,
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn pki() -> Pki {
        let [root_key, middle_key, key] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let root = authority("root");
        let root_der = root.self_signed(&root_key).unwrap().der().clone();
        let root = Issuer::new(root, root_key);
        let middle = authority("middle");
        let middle_der = middle.signed_by(&middle_key, &root).unwrap().der().clone();
        let middle = Issuer::new(middle, middle_key);
        let leaf = CertificateParams::new(["a.example".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &middle).unwrap().der().clone();
        Pki { root: root_der, middle: middle_der, leaf }
    }

    #[test]
    fn a_missing_intermediate_certificate_is_noticed() {
        let Pki { root, middle, leaf } = pki();
        let none = SystemAuthorities::default();
        let known = SystemAuthorities([names(&root).unwrap().subject].into());
        let end = |chain: &[&CertificateDer<'static>], known: &SystemAuthorities| {
            let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
            Chain::of(&chain, known).end
        };
        assert_eq!(end(&[&leaf, &middle], &known), ChainEnd::Complete);
        assert_eq!(end(&[&leaf, &middle, &root], &none), ChainEnd::Complete);
        let issuer = "CN=middle".to_owned();
        assert_eq!(end(&[&leaf], &known), ChainEnd::Unknown { issuer: issuer.clone() });
        assert_eq!(end(&[&leaf, &root], &known), ChainEnd::Broken { issuer });
        let issuer = "CN=root".to_owned();
        assert_eq!(end(&[&leaf, &middle], &none), ChainEnd::Unknown { issuer });
        assert_eq!(end(&[&root], &none), ChainEnd::SelfSigned);
        assert_eq!(end(&[], &none), ChainEnd::Unknown { issuer: String::new() });
    }
}
