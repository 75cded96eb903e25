//! PEM files: certificates, private keys and trusted authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::certificate_error::explained;
use super::names::dns_names;
use crate::files::small_file;

/// The most bytes of a file: all authorities that an operating system trusts are a tenth of it.
const PEM_MAX: u64 = 4 * 1024 * 1024;

/// What is wrong with a certificate or key file; fault: the operator's.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file cannot be read, or its PEM or DER encoding is invalid.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system or the parser.
        reason: String,
    },
    /// The file has no CERTIFICATE block.
    #[error("{0} holds no certificate: expected a PEM file with a CERTIFICATE block")]
    NoCertificate(PathBuf),
    /// The file has no PRIVATE KEY block.
    #[error("{0} holds no private key: expected a PEM file with a PRIVATE KEY block")]
    NoKey(PathBuf),
    /// The private key needs a passphrase.
    #[error(
        "{0} is encrypted, and passphrases are not supported for TLS keys: store it unencrypted, \
         readable by the gateway only (`openssl pkey -in {0} -out FILE`)"
    )]
    EncryptedKey(PathBuf),
    /// The first certificate cannot be used.
    #[error("{path} cannot be used: {reason}")]
    Certificate {
        /// The file of `tls.certificate`.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key does not belong to the first certificate, or is of an unsupported kind.
    #[error("{certificate} and {key} do not belong together: {reason}")]
    Mismatch {
        /// The file of `tls.certificate`.
        certificate: PathBuf,
        /// The file of `tls.key`.
        key: PathBuf,
        /// rustls' error.
        reason: String,
    },
}

/// A certificate chain with its private key.
#[derive(Debug, Clone)]
pub struct CertificateAndKey {
    pub(super) certified: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl CertificateAndKey {
    /// Reads PEM files and checks that the key belongs to the first certificate. Reports the errors of
    /// both files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Vec<PemError>> {
        let (chain, private) = match (certificates(certificate), private_key(key)) {
            (Ok(chain), Ok(private)) => (chain, private),
            (chain, private) => {
                return Err([chain.err(), private.err()].into_iter().flatten().collect());
            }
        };
        Self::new(chain, private).map_err(|error| {
            vec![match error {
                rustls::Error::InvalidCertificate(error) => {
                    PemError::Certificate { path: certificate.into(), reason: explained(&error) }
                }
                error => PemError::Mismatch {
                    certificate: certificate.into(),
                    key: key.into(),
                    reason: match error {
                        rustls::Error::InconsistentKeys(_) => {
                            "the private key is not that of the first certificate".to_owned()
                        }
                        error => error.to_string(),
                    },
                },
            }]
        })
    }

    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let names = chain.first().map(dns_names).unwrap_or_default();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let signing = provider.key_provider.load_private_key(key)?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match()?;
        Ok(Self { certified: Arc::new(certified), names })
    }

    /// The DNS names in the first certificate's subject alternative names, wildcards included.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// Reads every certificate of a PEM file as a trusted root.
pub fn load_ca(path: &Path) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| unreadable(path, e))?;
    }
    Ok(roots)
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bytes = small_file::read(path, PEM_MAX).map_err(|e| unreadable(path, e))?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| unreadable(path, e))?;
    if chain.is_empty() {
        return Err(PemError::NoCertificate(path.into()));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let bytes = small_file::read(path, PEM_MAX).map_err(|e| unreadable(path, e))?;
    let bytes = Zeroizing::new(bytes);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| match e {
        _ if is_encrypted(&bytes) => PemError::EncryptedKey(path.into()),
        rustls::pki_types::pem::Error::NoItemsFound => PemError::NoKey(path.into()),
        e => unreadable(path, e),
    })
}

/// PKCS #8 (RFC 5958 section 3), or OpenSSL's older format.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| text.contains(mark))
}

fn unreadable(path: &Path, reason: impl ToString) -> PemError {
    PemError::Unreadable { path: path.into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start would wait for ever, or until memory is full.
    #[test]
    fn a_fifo_a_device_or_a_huge_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo.pem");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        let huge = folder.path().join("huge.pem");
        std::fs::File::create(&huge).unwrap().set_len(PEM_MAX + 1).unwrap();
        for (path, reason) in [(&huge, "too large"), (&fifo, "not a regular file")] {
            let ca = load_ca(path).unwrap_err();
            assert!(ca.to_string().contains(reason), "{ca}");
            let errors = CertificateAndKey::load(path, path).unwrap_err();
            assert!(errors.len() == 2, "{errors:?}");
            assert!(errors.iter().all(|it| it.to_string().contains(reason)), "{errors:?}");
        }
    }
}
