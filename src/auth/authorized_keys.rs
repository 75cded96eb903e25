use std::net::IpAddr;

use russh::keys::PublicKey;

/// A user's `authorized_keys`, in OpenSSH's format (sshd(8)).
#[derive(Clone, Default)]
pub struct AuthorizedKeys {
    keys: Vec<PublicKey>,
}

impl AuthorizedKeys {
    /// Whether `key` is among them, for a client that comes from `source`.
    pub fn admits(&self, key: &PublicKey, _source: IpAddr) -> bool {
        self.keys.iter().any(|known| known.key_data() == key.key_data())
    }
}
