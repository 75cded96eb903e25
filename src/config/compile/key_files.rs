//! Files with private SSH keys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use russh::keys::{Algorithm, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::KEYS_MAX;
use super::short_ecdsa_key::decode_secret_key;
use crate::config::report::{Location, Problems};
use crate::files::small_file;

/// OpenSSH's clients and servers refuse smaller RSA keys, or soon will.
const RSA_BITS_MIN: u32 = 2048;

/// The passphrase of an encrypted key.
#[derive(Clone, Copy)]
pub(super) enum Passphrase<'a> {
    Given(&'a str),
    /// `passphrase_file` is not set.
    Absent,
    /// The configuration has no passphrase for such keys.
    Unsupported,
}

/// Reads a private key; reports problems at `at`.
pub(super) fn private_key(
    path: &Path,
    passphrase: Passphrase,
    at: &Location,
    problems: &mut Problems,
) -> Option<PrivateKey> {
    let shown = path.display();
    let bytes = match small_file::read(path, KEYS_MAX) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) => {
            problems.error(at, format!("cannot read {shown}: {e}"));
            return None;
        }
    };
    match decode(&bytes, passphrase) {
        Ok(key) => {
            check_exposure(path, at, problems);
            Some(key)
        }
        Err(reason) => {
            problems.error(at, format!("{shown} {reason}"));
            None
        }
    }
}

/// As [`check_exposure`], but only a warning, for secrets that other servers accept in any mode.
pub(super) fn warn_if_exposed(path: &Path, at: &Location, problems: &mut Problems) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o006 != 0 {
        let message = format!(
            "{} can be read by every user of this machine (mode {:04o}); chmod 600 it, or mount the \
             secret with `defaultMode: 0400`",
            path.display(),
            mode & 0o7777
        );
        problems.warning(at, message);
    }
}

/// Refuses a private key that every user can read. Only warns of a symlink, such as in a mounted
/// Kubernetes secret, since nobody else is in the container.
fn check_exposure(path: &Path, at: &Location, problems: &mut Problems) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    let is_symlink = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let shown = path.display();
    if mode & 0o022 != 0 {
        let message = format!(
            "{shown} can be changed by other users than its owner (mode {:04o}); chmod 600 it",
            mode & 0o7777
        );
        problems.error(at, message);
    } else if mode & 0o004 != 0 {
        let message = format!(
            "{shown} can be read by every user of this machine (mode {:04o}); chmod 600 it, or mount the \
             secret with `defaultMode: 0400`",
            mode & 0o7777
        );
        if is_symlink {
            problems.warning(at, message);
        } else {
            problems.error(at, message);
        }
    }
}

fn decode(bytes: &[u8], passphrase: Passphrase) -> Result<PrivateKey, String> {
    let none = "contains no private key in OpenSSH's or PEM format";
    let text = std::str::from_utf8(bytes).map_err(|_| none)?;
    if !text.contains("PRIVATE KEY-----") && !text.trim_start().starts_with("PuTTY-User-Key-File-")
    {
        return Err(match PublicKey::from_openssh(text.trim()) {
            Ok(_) => "contains a public key; name the private one, usually without \".pub\"".into(),
            Err(_) => none.into(),
        });
    }
    let key = match (is_encrypted(text), passphrase) {
        (false, Passphrase::Absent | Passphrase::Unsupported) => {
            decode_secret_key(text, None).map_err(|e| format!("is damaged: {e}"))?
        }
        (false, Passphrase::Given(_)) => {
            return Err("is not encrypted; remove `passphrase_file`".into());
        }
        (true, Passphrase::Absent) => {
            return Err("is encrypted: set `passphrase_file`".into());
        }
        (true, Passphrase::Unsupported) => {
            let remedy = "is encrypted, which is not supported for host keys: `ssh-keygen -p -N \"\" -f \
                          FILE` removes the passphrase; keep the file's mode at 600";
            return Err(remedy.into());
        }
        (true, Passphrase::Given(passphrase)) => decode_secret_key(text, Some(passphrase))
            .map_err(|e| format!("cannot be decrypted ({e}): check the passphrase"))?,
    };
    usable(key)
}

fn is_encrypted(text: &str) -> bool {
    let markers = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
    let openssh = || PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted());
    // Otherwise PuTTY writes "Encryption: none".
    let putty =
        text.lines().any(|line| line.starts_with("Encryption: ") && !line.ends_with("none"));
    markers.iter().any(|marker| text.contains(marker)) || putty || openssh()
}

fn usable(key: PrivateKey) -> Result<PrivateKey, String> {
    let rsa_bits = key.public_key().key_data().rsa().map(|rsa| rsa.key_size());
    match (key.algorithm(), rsa_bits) {
        (_, Some(bits)) if bits < RSA_BITS_MIN => Err(format!(
            "contains an RSA key of {bits} bits; the minimum is {RSA_BITS_MIN}, Ed25519 is better"
        )),
        (Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }, _) => Ok(key),
        (algorithm, _) => Err(format!("contains a key of an unsupported kind: {algorithm}")),
    }
}
