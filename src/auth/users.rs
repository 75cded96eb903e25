//! The table of `users`.

use std::collections::HashMap;

use super::AuthorizedKeys;

/// A user whom the gateway authenticates (`users`).
#[derive(Clone)]
pub struct User {
    /// A valid argon2id hash in PHC format (`$argon2id$…`). `None`: no login with a password.
    pub password_hash: Option<String>,
    pub groups: Vec<String>,
    /// Public keys for logins without a password.
    pub keys: AuthorizedKeys,
}

/// The `users` of the configuration, by name.
#[derive(Clone, Default)]
pub struct UserTable {
    users: HashMap<Vec<u8>, User>,
}

impl UserTable {
    pub fn new(users: HashMap<Vec<u8>, User>) -> Self {
        Self { users }
    }

    pub fn get(&self, name: &[u8]) -> Option<&User> {
        self.users.get(name)
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &User)> {
        self.users.iter()
    }
}
