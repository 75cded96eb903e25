//! A file of public keys, one a line: `trusted_user_ca_keys`.

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use crate::auth::authorized_keys::{BadLine, public_key};

/// Public keys, one a line (sshd_config(5), TrustedUserCAKeys): no options, `#` begins a comment.
#[derive(Clone, Default)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// No keys.
    pub const NONE: Self = Self(Vec::new());

    /// Parses a file.
    ///
    /// # Errors
    /// Every line that is not the public key of a kind that can sign safely.
    pub fn parse(text: &str) -> Result<Self, Vec<BadLine>> {
        let (mut keys, mut bad) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match public_key(line) {
                Ok(key) => keys.push(key),
                Err(reason) => bad.push(BadLine { line: index + 1, reason }),
            }
        }
        if bad.is_empty() { Ok(Self(keys)) } else { Err(bad) }
    }

    /// Whether this is one of the keys.
    pub fn contains(&self, key: &KeyData) -> bool {
        self.0.iter().any(|known| known.key_data() == key)
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }

    /// Adds the keys of another file.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}
