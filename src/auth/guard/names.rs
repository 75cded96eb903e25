//! Users' names as keyed hashes: clients choose names, and they may be long or secret.

use std::fmt;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

/// The key, which a process that takes over goes on with: a counted failure is found by its name's hash.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "[u8; 32]", into = "[u8; 32]")]
pub struct NameKey {
    bytes: [u8; 32],
    key: hmac::Key,
}

impl NameKey {
    pub(super) fn random() -> Self {
        rand::random::<[u8; 32]>().into()
    }

    pub(super) fn hash(&self, name: &[u8]) -> u64 {
        let tag = hmac::sign(&self.key, name);
        tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

impl From<[u8; 32]> for NameKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), bytes }
    }
}

impl From<NameKey> for [u8; 32] {
    fn from(key: NameKey) -> Self {
        key.bytes
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameKey")
    }
}
