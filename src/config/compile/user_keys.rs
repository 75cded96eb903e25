//! The files of SFTP listeners with public keys: certificates of host keys, authorities of users, revoked keys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, PrivateKey, PublicKey};

use crate::auth::{KeyTrust, PublicKeys, Revoked, RevokedFile};
use crate::config::report::{Location, Problems};
use crate::config::schema::Listener;
use crate::op::Timestamp;

/// `trusted_user_ca_keys` and `revoked_keys`.
pub(super) fn trust(listener: &Listener, folder: &Path, problems: &mut Problems) -> KeyTrust {
    let mut trust = KeyTrust::default();
    for (at, name) in listener.trusted_user_ca_keys.iter().flat_map(|list| list.values()) {
        trust.authorities.extend(authorities(&folder.join(&name.0), at, problems));
    }
    for (at, name) in listener.revoked_keys.iter().flat_map(|list| list.values()) {
        let path = folder.join(&name.0);
        match Revoked::read(&path) {
            Ok(_) => refuse_writable(&path, at, problems),
            Err(reason) => problems.error(at, reason.to_string()),
        }
        trust.revoked.push(Arc::new(RevokedFile::new(path)));
    }
    trust
}

fn authorities(path: &Path, at: &Location, problems: &mut Problems) -> PublicKeys {
    let shown = path.display();
    let Some(text) = public_text(path, at, problems) else { return PublicKeys::default() };
    match PublicKeys::parse(&text) {
        Ok(keys) => {
            if keys.is_empty() {
                let message = format!(
                    "{shown} contains no key, so no certificate could be accepted: name the authority's \
                     public key (\".pub\")"
                );
                problems.error(at, message);
            }
            keys
        }
        Err(bad) => {
            for bad in bad {
                problems.error(at, format!("{shown}: {bad}"));
            }
            PublicKeys::default()
        }
    }
}

/// `host_certificates`: each of one of the listener's `host_keys`.
pub(super) fn host_certificates(
    listener: &Listener,
    host_keys: &[Arc<PrivateKey>],
    folder: &Path,
    problems: &mut Problems,
) -> Vec<Certificate> {
    let mut certificates: Vec<Certificate> = Vec::new();
    for (at, name) in listener.host_certificates.iter().flat_map(|list| list.values()) {
        let path = folder.join(&name.0);
        let Some(text) = public_text(&path, at, problems) else { continue };
        let checked = host_certificate(&text, host_keys).and_then(|it| {
            let same = |earlier: &Certificate| earlier.public_key() == it.public_key();
            if certificates.iter().any(same) {
                return Err("is the second certificate of its key; keep one".to_owned());
            }
            Ok(it)
        });
        match checked {
            Ok(certificate) => {
                warn_of_host_certificate(&certificate, &path, at, problems);
                certificates.push(certificate);
            }
            Err(reason) => problems.error(at, format!("{} {reason}", path.display())),
        }
    }
    certificates
}

fn host_certificate(text: &str, host_keys: &[Arc<PrivateKey>]) -> Result<Certificate, String> {
    let certificate = Certificate::from_openssh(text.trim()).map_err(|_| {
        let usual =
            "usually FILE-cert.pub, as `ssh-keygen -s CA -h -I ID -n NAME FILE.pub` writes it";
        match PublicKey::from_openssh(text.trim()) {
            Ok(_) => format!("contains a plain public key; name its certificate, {usual}"),
            Err(_) => format!("contains no OpenSSH certificate; it is {usual}"),
        }
    })?;
    if certificate.cert_type() != CertType::Host {
        return Err(
            "contains a user certificate; sign the host key with `ssh-keygen -s CA -h`".into()
        );
    }
    if !host_keys.iter().any(|key| key.public_key().key_data() == certificate.public_key()) {
        return Err("is not the certificate of any of the listener's `host_keys`".into());
    }
    let now = u64::try_from(Timestamp::now()).unwrap_or_default();
    if now >= certificate.valid_before() {
        return Err("contains an expired certificate, which clients refuse; sign a new one".into());
    }
    Ok(certificate)
}

fn warn_of_host_certificate(
    certificate: &Certificate,
    path: &Path,
    at: &Location,
    problems: &mut Problems,
) {
    let shown = path.display();
    let now = u64::try_from(Timestamp::now()).unwrap_or_default();
    if now < certificate.valid_after() {
        problems.warning(at, format!("{shown} is not valid yet; clients refuse it until then"));
    }
    if certificate.valid_principals().is_empty() {
        let message = format!(
            "{shown} names no host, so it is valid for every one, and newer clients refuse it; sign it \
             with `-n NAME`, the names by which clients connect"
        );
        problems.warning(at, message);
    }
}

/// The text of a file for public keys.
fn public_text(path: &Path, at: &Location, problems: &mut Problems) -> Option<String> {
    let text =
        super::text(path, super::KEYS_MAX).map_err(|reason| problems.error(at, reason)).ok()?;
    if text.contains("PRIVATE KEY-----") {
        let message = format!(
            "{} contains a private key, which the gateway does not need; name the public part (\".pub\")",
            path.display()
        );
        problems.error(at, message);
        return None;
    }
    refuse_writable(path, at, problems);
    Some(text)
}

/// Whoever can write such a file decides who may log in.
pub(super) fn refuse_writable(path: &Path, at: &Location, problems: &mut Problems) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o002 != 0 {
        let shown = path.display();
        let message = format!("{shown} can be changed by every user of this machine; chmod 644 it");
        problems.error(at, message);
    }
}
