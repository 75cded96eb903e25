//! `revoked_keys`: keys and certificates that are refused whoever presents them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::ssh_key::Fingerprint;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PublicKey};

use super::krl::{Krl, KrlError};
use crate::files::{FileStamp, small_file};

/// The largest file, in bytes.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Revoked keys: a key revocation list of ssh-keygen, or a text file with a public key or its SHA-256
/// fingerprint in each line (sshd_config(5), RevokedKeys).
#[derive(Clone, Default)]
pub struct Revoked {
    fingerprints: Vec<Fingerprint>,
    krl: Krl,
}

/// Why `revoked_keys` cannot be used; fault: the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokedError {
    /// The file cannot be read: why.
    #[error("cannot read {path}: {reason}", path = .0.display(), reason = .1)]
    Unreadable(PathBuf, String),
    /// It contains a private key.
    #[error("{path} contains a private key; list public keys", path = .0.display())]
    PrivateKey(PathBuf),
    /// A line, from 1, is neither a key nor a fingerprint.
    #[error(
        "{path}: line {line} is neither a public key nor a SHA-256 fingerprint (SHA256:…); serials and key \
         ids need a key revocation list (`ssh-keygen -k -s CA.pub -f LIST SPECIFICATION`)",
        path = .0.display(), line = .1
    )]
    Line(PathBuf, usize),
    /// A key revocation list that cannot be read.
    #[error("{path} is a key revocation list, but {reason}", path = .0.display(), reason = .1)]
    Krl(PathBuf, KrlError),
}

impl Revoked {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, RevokedError> {
        let unreadable = |e: io::Error| RevokedError::Unreadable(path.to_owned(), e.to_string());
        let bytes = small_file::read(path, FILE_MAX).map_err(unreadable)?;
        if bytes.starts_with(Krl::MAGIC) {
            let krl = Krl::parse(&bytes).map_err(|why| RevokedError::Krl(path.to_owned(), why))?;
            return Ok(Self { krl, ..Self::default() });
        }
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("PRIVATE KEY-----") {
            return Err(RevokedError::PrivateKey(path.to_owned()));
        }
        let mut fingerprints = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let listed = fingerprint(line);
            let bad = || RevokedError::Line(path.to_owned(), index + 1);
            fingerprints.push(listed.ok_or_else(bad)?);
        }
        Ok(Self { fingerprints, ..Self::default() })
    }

    /// Whether this key is revoked.
    pub fn has_key(&self, key: &KeyData) -> bool {
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        self.fingerprints.contains(&fingerprint) || self.krl.has_key(key)
    }

    /// Whether this certificate is revoked, its key or its authority.
    pub fn has_certificate(&self, certificate: &Certificate) -> bool {
        self.has_key(certificate.public_key())
            || self.has_key(certificate.signature_key())
            || self.krl.has_certificate(certificate)
    }
}

/// Of `type base64 [comment]`, a certificate, or the fingerprint itself.
fn fingerprint(line: &str) -> Option<Fingerprint> {
    if line.starts_with("SHA256:") {
        let word = line.split_ascii_whitespace().next()?;
        return word.parse::<Fingerprint>().ok().filter(|it| it.is_sha256());
    }
    if line.split_ascii_whitespace().next()?.contains("-cert-v01@") {
        let certificate = Certificate::from_openssh(line).ok()?;
        return Some(certificate.public_key().fingerprint(HashAlg::Sha256));
    }
    PublicKey::from_openssh(line).ok().map(|key| key.fingerprint(HashAlg::Sha256))
}

/// A file of revoked keys, which is read again after it was changed.
pub struct RevokedFile {
    path: PathBuf,
    read: Mutex<Option<(FileStamp, Arc<Revoked>)>>,
    /// The log says so once.
    is_broken: AtomicBool,
}

impl RevokedFile {
    /// A file that is read when it is needed.
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::new(None), is_broken: AtomicBool::new(false) }
    }

    /// Its present content.
    ///
    /// # Errors
    /// When it cannot be read or parsed: no key may be accepted then.
    pub fn current(&self) -> Result<Arc<Revoked>, RevokedError> {
        let current = self.read_again();
        if let Err(error) = &current {
            if !self.is_broken.swap(true, Ordering::Relaxed) {
                let reason = error.to_string();
                tracing::error!(
                    reason,
                    "revoked_keys cannot be used: no key is accepted at the listeners that name the file"
                );
            }
        } else if self.is_broken.swap(false, Ordering::Relaxed) {
            let file = self.path.as_os_str().as_encoded_bytes();
            tracing::info!(file, "revoked_keys can be used again");
        }
        current
    }

    fn read_again(&self) -> Result<Arc<Revoked>, RevokedError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let unreadable = |e| RevokedError::Unreadable(self.path.clone(), io::Error::to_string(&e));
        let stamp = FileStamp::of(&self.path).map_err(unreadable)?;
        if let Some((earlier, revoked)) = &*read
            && *earlier == stamp
        {
            return Ok(revoked.clone());
        }
        let revoked = Arc::new(Revoked::read(&self.path)?);
        *read = Some((stamp, revoked.clone()));
        Ok(revoked)
    }
}
