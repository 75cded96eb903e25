//! A user's `authorized_keys` in OpenSSH's format (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

mod options;
mod sources;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};

use crate::op::Timestamp;
use options::Options;

/// Smaller RSA keys can be broken.
pub(super) const RSA_BITS_MIN: u32 = 2048;

/// The public keys of a user with their restrictions.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthorizedKeys {
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    key: PublicKey,
    options: Options,
}

/// An invalid line; fault: the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {reason}")]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// What is wrong, as the rest of a sentence that begins with "line N".
    pub reason: String,
}

/// Why a key is refused; fault: the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// No file lists the key for this user.
    #[error("the key is in none of the user's authorized_keys")]
    Unknown,
    /// It is listed, but its `from` option excludes the client's address.
    #[error("the key's from=\"…\" in authorized_keys does not match the client's address")]
    Source,
    /// It is listed, but the time of its `expiry-time` option has passed.
    #[error("the key has expired (expiry-time=\"…\" in authorized_keys)")]
    Expired,
}

impl AuthorizedKeys {
    /// Parses a file. An unknown option is an error: ignoring a restriction would admit more clients.
    pub fn parse(text: &str) -> Result<Self, Vec<BadLine>> {
        let (mut entries, mut bad) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match entry(line) {
                Ok(entry) => entries.push(entry),
                Err(reason) => bad.push(BadLine { line: index + 1, reason }),
            }
        }
        if bad.is_empty() { Ok(Self { entries }) } else { Err(bad) }
    }

    /// Whether `key` is admitted for a client at `source` now.
    pub fn admits(&self, key: &PublicKey, source: IpAddr) -> Result<(), KeyRefused> {
        self.admits_at(key, source, Timestamp::now())
    }

    /// As [`AuthorizedKeys::admits`], at `now` in seconds since the epoch.
    fn admits_at(&self, key: &PublicKey, source: IpAddr, now: i64) -> Result<(), KeyRefused> {
        let same = self.entries.iter().filter(|entry| entry.key.key_data() == key.key_data());
        let mut refused = KeyRefused::Unknown;
        for entry in same {
            match entry.options.admit(source, now) {
                Ok(()) => return Ok(()),
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }

    /// Whether no key is listed, so that only a password is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the keys of another file.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }
}

fn entry(line: &str) -> Result<Entry, String> {
    let (options, key) = if is_key_type(first_word(line)) {
        (Options::default(), line)
    } else {
        let (options, rest) = options::split(line)?;
        // The message does not repeat the text: the file may contain a password.
        if rest.is_empty() {
            return Err(
                "is not a key: expected a type and the key, such as ssh-ed25519 AAAA…".into()
            );
        }
        if !is_key_type(first_word(rest)) {
            return Err("has no key type, such as ssh-ed25519, where one is expected".into());
        }
        (Options::parse(options)?, rest)
    };
    Ok(Entry { key: public_key(key)?, options })
}

/// `type base64 [comment]`. The error continues "line N".
pub(super) fn public_key(text: &str) -> Result<PublicKey, String> {
    let mut words = text.split_ascii_whitespace();
    let (kind, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if kind.contains("-cert-") {
        return Err(
            "contains a certificate; write a plain key, or let clients present their certificates to a \
             listener with `trusted_user_ca_keys`"
                .into(),
        );
    }
    if kind.starts_with("sk-") {
        return Err("contains the key of a security key (FIDO), which is not supported".into());
    }
    let key = PublicKey::from_openssh(&format!("{kind} {base64}"))
        .map_err(|e| format!("contains an invalid key ({e}); is it complete and on one line?"))?;
    match (key.algorithm(), key.key_data()) {
        (Algorithm::Ed25519 | Algorithm::Ecdsa { .. }, _) => Ok(key),
        (_, KeyData::Rsa(rsa)) if rsa.key_size() >= RSA_BITS_MIN => Ok(key),
        (_, KeyData::Rsa(rsa)) => Err(format!(
            "contains an RSA key of {} bits; the minimum is {RSA_BITS_MIN}, Ed25519 is better",
            rsa.key_size()
        )),
        (algorithm, _) => Err(format!("contains a key of an unsupported kind: {algorithm}")),
    }
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
}

fn first_word(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}
