//! The authorities that may issue clients' certificates (`client_ca`), and their lists of revoked ones
//! (`client_crl`, RFC 5280 section 5).

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::files::small_file;
use crate::net::tls::certificate::short;
use crate::net::tls::files::{PemError, certificates};

/// The most bytes of a file of revoked certificates.
const CRL_MAX: u64 = 64 * 1024 * 1024;

/// What is wrong with a file of authorities or of revoked certificates; fault: the operator's.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be read, or holds no certificate.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate that may not issue others: a client's or a server's own, or one of version 1.
    #[error(
        "{}: the certificate of \"{subject}\" is not an authority's (basic constraints, key usage): name \
         the certificate of the authority that issued the clients' certificates", path.display()
    )]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// Its subject, escaped.
        subject: String,
    },
    /// Neither PEM nor DER, or a field is invalid.
    #[error(
        "{} holds no list of revoked certificates: expected PEM (X509 CRL) or DER", .0.display()
    )]
    NoCrl(PathBuf),
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        reason: String,
    },
}

/// The certificate of an authority.
#[derive(Debug, Clone)]
pub struct Authority {
    pub(super) der: CertificateDer<'static>,
    /// DER of its own name.
    pub(super) subject: Vec<u8>,
    /// DER of its issuer's name.
    pub(super) issuer: Vec<u8>,
    /// Its name for people, cut after 100 characters; not escaped.
    pub name: String,
}

/// A list of revoked certificates.
#[derive(Debug, Clone)]
pub struct Crl {
    pub(super) der: CertificateRevocationListDer<'static>,
    /// DER of its issuer's name.
    issuer: Vec<u8>,
    /// The name of the authority that issued it, cut after 100 characters; not escaped.
    pub name: String,
    /// Seconds since the epoch, UTC.
    pub issued: i64,
    /// When the next one is due: from then on no certificate of the authority is accepted. Seconds since
    /// the epoch, UTC.
    pub due: Option<i64>,
}

impl Authority {
    /// All certificates of a PEM file.
    pub fn load(path: &Path) -> Result<Vec<Self>, AuthorityError> {
        certificates(path)?.into_iter().map(|der| Self::parse(der, path)).collect()
    }

    fn parse(der: CertificateDer<'static>, path: &Path) -> Result<Self, AuthorityError> {
        let unreadable = |reason| PemError::Unreadable { path: path.into(), reason };
        RootCertStore::empty().add(der.clone()).map_err(|error| unreadable(error.to_string()))?;
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| unreadable(error.to_string()))?;
        let subject = certificate.subject();
        let name = short(&subject.to_string());
        if !is_authority(&certificate) {
            let subject = name.escape_debug().to_string();
            return Err(AuthorityError::NotAnAuthority { path: path.into(), subject });
        }
        let issuer = certificate.issuer().as_raw().to_vec();
        Ok(Self { subject: subject.as_raw().to_vec(), issuer, name, der: der.clone() })
    }

    /// Whether it issued the list, as far as the names tell.
    pub fn has_issued(&self, crl: &Crl) -> bool {
        self.subject == crl.issuer
    }
}

/// RFC 5280 sections 4.2.1.9 and 4.2.1.3.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let signs = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    certificate.is_ca() && signs
}

impl Crl {
    /// All lists of a PEM file, or the one of a DER file.
    pub fn load(path: &Path) -> Result<Vec<Self>, AuthorityError> {
        let bytes = small_file::read(path, CRL_MAX).map_err(|error| {
            AuthorityError::Unreadable { path: path.into(), reason: error.to_string() }
        })?;
        let no_crl = || AuthorityError::NoCrl(path.into());
        let lists: Vec<_> = if is_pem(&bytes) {
            let lists: Result<_, _> =
                CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
            lists.map_err(|_| no_crl())?
        } else {
            vec![CertificateRevocationListDer::from(bytes)]
        };
        if lists.is_empty() {
            return Err(no_crl());
        }
        lists.into_iter().map(|der| Self::parse(der).ok_or_else(no_crl)).collect()
    }

    fn parse(der: CertificateRevocationListDer<'static>) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(&der).ok()?;
        Some(Self {
            issuer: list.issuer().as_raw().to_vec(),
            name: short(&list.issuer().to_string()),
            issued: list.last_update().timestamp(),
            due: list.next_update().map(|at| at.timestamp()),
            der: der.clone(),
        })
    }
}

fn is_pem(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}
