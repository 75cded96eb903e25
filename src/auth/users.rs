//! The table of `users`.

use std::collections::HashMap;

use super::AuthorizedKeys;

/// A user whom the gateway authenticates (`users`).
#[derive(Clone)]
pub struct User {
    /// A valid argon2id hash in PHC format (`$argon2id$…`). `None`: no login with a password.
    pub password_hash: Option<String>,
    /// Groups that a route's `match.groups` can name.
    pub groups: Vec<String>,
    /// Public keys for logins without a password.
    pub keys: AuthorizedKeys,
    /// What a TLS client certificate that names the user is for; `None`: the password alone counts.
    pub certificate: Option<UserCertificate>,
}

/// What a TLS client certificate is for, of a user whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserCertificate {
    /// A password counts only together with it.
    Required,
    /// No password is needed.
    Sufficient,
}

/// The `users` of the configuration, by name.
#[derive(Clone, Default)]
pub struct UserTable {
    users: HashMap<Vec<u8>, User>,
}

impl UserTable {
    /// The keys are user names in bytes, as clients send them.
    pub fn new(users: HashMap<Vec<u8>, User>) -> Self {
        Self { users }
    }

    /// The user of exactly this name, byte for byte.
    pub fn get(&self, name: &[u8]) -> Option<&User> {
        self.users.get(name)
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// All users with their names, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &User)> {
        self.users.iter()
    }
}
