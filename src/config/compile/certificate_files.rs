//! Files with a certificate and its key.

use std::path::Path;

use super::key_files;
use crate::config::leaf::Leaf;
use crate::config::report::Problems;
use crate::config::values::FileName;
use crate::net::tls::{CertificateAndKey, PemError};

/// Loads both; reports each problem where its file is named.
pub(super) fn load(
    certificate: &Leaf<FileName>,
    key: &Leaf<FileName>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<CertificateAndKey> {
    let certificate_file = folder.join(&certificate.value.as_ref()?.0);
    let key_file = folder.join(&key.value.as_ref()?.0);
    key_files::warn_if_exposed(&key_file, &key.at, problems);
    match CertificateAndKey::load(&certificate_file, &key_file) {
        Ok(loaded) => Some(loaded),
        Err(errors) => {
            for error in errors {
                let at_key = key_is_at_fault(&error, &key_file);
                problems.error(if at_key { &key.at } else { &certificate.at }, error.to_string());
            }
            None
        }
    }
}

fn key_is_at_fault(error: &PemError, key_file: &Path) -> bool {
    match error {
        PemError::Unreadable { path, .. } => path == key_file,
        PemError::NoCertificate(_) | PemError::Certificate { .. } => false,
        PemError::NoKey(_) | PemError::EncryptedKey(_) | PemError::Mismatch { .. } => true,
    }
}
