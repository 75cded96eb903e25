//! Files with SSH keys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use russh::keys::{Algorithm, PrivateKey, PublicKey, decode_secret_key};
use zeroize::Zeroizing;

use crate::config::report::{At, Problems};

/// RSA below it is refused by OpenSSH's clients and servers as well, or soon will be.
const LEAST_RSA_BITS: u32 = 2048;

/// What an encrypted key is decrypted with.
#[derive(Clone, Copy)]
pub(super) enum Passphrase<'a> {
    Given(&'a str),
    /// None, and there is a key of the configuration for one.
    Absent,
    /// The configuration knows none for keys of this kind.
    Unknown,
}

/// Reads a private key; what is wrong with it or its file is noted at `at`.
pub(super) fn private_key(
    path: &Path,
    passphrase: Passphrase,
    at: &At,
    problems: &mut Problems,
) -> Option<PrivateKey> {
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(e) => {
            problems.error(at, format!("cannot read {shown}: {e}"));
            return None;
        }
    };
    match decode(&bytes, passphrase) {
        Ok(key) => {
            judge_exposure(path, at, problems);
            Some(key)
        }
        Err(reason) => {
            problems.error(at, format!("{shown} {reason}"));
            None
        }
    }
}

/// As [`judge_exposure`], of secrets that other servers take as they are: only a word.
pub(super) fn warn_of_exposure(path: &Path, at: &At, problems: &mut Problems) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o006 != 0 {
        let message = format!(
            "{} can be read by everybody on this machine (mode {:04o}); chmod 600 it, or mount the \
             secret with `defaultMode: 0400`",
            path.display(),
            mode & 0o7777
        );
        problems.warning(at, message);
    }
}

/// A private key that everybody can read is no secret. The files of a Kubernetes secret are links, and
/// nobody else is in the container, so there it is only worth a word.
fn judge_exposure(path: &Path, at: &At, problems: &mut Problems) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    let linked = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let shown = path.display();
    if mode & 0o022 != 0 {
        let message = format!(
            "{shown} can be changed by others than its owner (mode {:04o}); chmod 600 it",
            mode & 0o7777
        );
        problems.error(at, message);
    } else if mode & 0o004 != 0 {
        let message = format!(
            "{shown} can be read by everybody on this machine (mode {:04o}); chmod 600 it, or mount \
             the secret with `defaultMode: 0400`",
            mode & 0o7777
        );
        match linked {
            true => problems.warning(at, message),
            false => problems.error(at, message),
        }
    }
}

fn decode(bytes: &[u8], passphrase: Passphrase) -> Result<PrivateKey, String> {
    let none = "holds no private key in OpenSSH's or PEM format";
    let text = std::str::from_utf8(bytes).map_err(|_| none)?;
    if !text.contains("PRIVATE KEY-----") && !text.trim_start().starts_with("PuTTY-User-Key-File-")
    {
        return Err(match PublicKey::from_openssh(text.trim()) {
            Ok(_) => "holds a public key; name the private one, usually without \".pub\"".into(),
            Err(_) => none.into(),
        });
    }
    let key = match (is_encrypted(text), passphrase) {
        (false, Passphrase::Absent | Passphrase::Unknown) => {
            decode_secret_key(text, None).map_err(|e| format!("is damaged: {e}"))?
        }
        (false, Passphrase::Given(_)) => {
            return Err("is not encrypted; take `passphrase_file` out".into());
        }
        (true, Passphrase::Absent) => {
            return Err("is encrypted: name its passphrase with `passphrase_file`".into());
        }
        (true, Passphrase::Unknown) => {
            let remedy = "is encrypted, and a server's key has to be read without a passphrase: \
                          `ssh-keygen -p -N \"\" -f FILE` takes it off; keep the file's mode at 600";
            return Err(remedy.into());
        }
        (true, Passphrase::Given(passphrase)) => decode_secret_key(text, Some(passphrase))
            .map_err(|e| format!("cannot be decrypted ({e}): is it the right passphrase?"))?,
    };
    usable(key)
}

fn is_encrypted(text: &str) -> bool {
    let said = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
    let openssh = || PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted());
    // PuTTY says "Encryption: none".
    let putty =
        text.lines().any(|line| line.starts_with("Encryption: ") && !line.ends_with("none"));
    said.iter().any(|words| text.contains(words)) || putty || openssh()
}

fn usable(key: PrivateKey) -> Result<PrivateKey, String> {
    let rsa_bits = key.public_key().key_data().rsa().map(|rsa| rsa.key_size());
    match (key.algorithm(), rsa_bits) {
        (_, Some(bits)) if bits < LEAST_RSA_BITS => Err(format!(
            "holds an RSA key of {bits} bits; {LEAST_RSA_BITS} is the least, Ed25519 is better"
        )),
        (Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }, _) => Ok(key),
        (algorithm, _) => Err(format!("holds a key of a kind that is not taken: {algorithm}")),
    }
}
