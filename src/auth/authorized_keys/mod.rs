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

/// RSA below it is within reach of whoever wants to pay for it.
const LEAST_RSA_BITS: u32 = 2048;

/// The public keys of one user, each with what restricts it.
#[derive(Clone, Default)]
pub struct AuthorizedKeys {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    key: PublicKey,
    options: Options,
}

/// A line that cannot be taken; fault: the operator's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {reason}")]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    pub reason: String,
}

/// Why a key does not let its holder in; fault: the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    #[error("the key is in none of the user's authorized_keys")]
    Unknown,
    #[error("the key's from=\"…\" in authorized_keys does not name the client's address")]
    Source,
    #[error("the key's expiry-time=\"…\" in authorized_keys has come")]
    Expired,
}

impl AuthorizedKeys {
    /// Reads a whole file. A line with an option that restricts its key in a way that is not known
    /// here is an error, since leaving it out would let more people in.
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

    /// Whether `key` is among them, for a client that comes from `source` now.
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
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the keys of another file, too.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }
}

fn entry(line: &str) -> Result<Entry, String> {
    let (options, key) = match is_key_type(first_word(line)) {
        true => (Options::default(), line),
        false => {
            let (options, rest) = options::split(line)?;
            if !is_key_type(first_word(rest)) {
                // The text itself is left out: somebody may have named a file with a password.
                return Err(match rest.is_empty() {
                    true => "is no key: expected a type and the key, such as ssh-ed25519 AAAA…",
                    false => "has no key type where one belongs, such as ssh-ed25519",
                }
                .into());
            }
            (Options::parse(options)?, rest)
        }
    };
    Ok(Entry { key: public_key(key)?, options })
}

/// `type base64 [comment]`; the comment may hold anything.
fn public_key(text: &str) -> Result<PublicKey, String> {
    let mut words = text.split_ascii_whitespace();
    let (kind, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if kind.contains("-cert-") {
        return Err("holds a certificate; only plain keys are taken".into());
    }
    if kind.starts_with("sk-") {
        return Err("holds a security key's (FIDO) key; these are not taken yet".into());
    }
    let key = PublicKey::from_openssh(&format!("{kind} {base64}"))
        .map_err(|e| format!("holds a damaged key ({e}); is it whole, on one line?"))?;
    match (key.algorithm(), key.key_data()) {
        (Algorithm::Ed25519 | Algorithm::Ecdsa { .. }, _) => Ok(key),
        (_, KeyData::Rsa(rsa)) if rsa.key_size() >= LEAST_RSA_BITS => Ok(key),
        (_, KeyData::Rsa(rsa)) => Err(format!(
            "holds an RSA key of {} bits; {LEAST_RSA_BITS} is the least, Ed25519 is better",
            rsa.key_size()
        )),
        (algorithm, _) => Err(format!("holds a key of a kind that is not taken: {algorithm}")),
    }
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
}

fn first_word(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}
