//! The table of `users`.

use std::collections::HashMap;

use super::{AuthorizedKeys, Methods};

/// A user whom the gateway authenticates (`users`).
#[derive(Clone, Default)]
pub struct User {
    /// A valid argon2id hash in PHC format (`$argon2id$…`). `None`: no login with a password.
    pub password_hash: Option<String>,
    /// Groups that a route's `match.groups` can name.
    pub groups: Vec<String>,
    /// Public keys for logins without a password.
    pub keys: AuthorizedKeys,
    /// Principals of certificates that are accepted for this user, instead of the name; empty: the name.
    pub principals: Vec<String>,
    /// Methods of which each is required (`require`); none: any one of those that the user has.
    pub required: Methods,
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
