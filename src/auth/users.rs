//! The table of `users`.

use std::collections::HashMap;
use std::sync::Arc;

use super::cost_sets::CostSets;
use super::{AuthorizedKeys, Methods, PasswordHash};

/// A user whom the gateway authenticates (`users`, `users_file`).
#[derive(Clone, Default)]
pub struct User {
    /// `None`: no login with a password.
    pub password_hash: Option<Arc<PasswordHash>>,
    /// Groups that a route's `match.groups` can name.
    pub groups: Vec<String>,
    /// Public keys for logins without a password.
    pub keys: AuthorizedKeys,
    /// Principals of certificates that are accepted for this user, instead of the name; empty: the name.
    pub principals: Vec<String>,
    /// Methods of which each is required (`require`); none: any one of those that the user has.
    pub required: Methods,
    /// What a TLS client certificate that names the user is for; `None`: the password alone counts.
    pub certificate: Option<UserCertificate>,
}

impl User {
    /// Whether who could log in as `self` still can as `other`.
    pub fn has_same_credentials(&self, other: &Self) -> bool {
        let credentials = |it: &Self| {
            (
                it.password_hash.clone(),
                it.keys.clone(),
                it.principals.clone(),
                it.required,
                it.certificate,
            )
        };
        credentials(self) == credentials(other)
    }
}

/// What a TLS client certificate is for, of a user whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserCertificate {
    /// A password counts only together with it.
    Required,
    /// No password is needed.
    Sufficient,
}

/// The users by name. Never changes: another table takes its place.
#[derive(Default)]
pub struct UserTable {
    users: HashMap<Vec<u8>, Arc<User>>,
    costs: CostSets,
}

impl UserTable {
    /// The keys are user names in bytes, as clients send them.
    pub fn new(users: HashMap<Vec<u8>, User>) -> Self {
        Self::of_shared(users.into_iter().map(|(name, user)| (name, Arc::new(user))).collect())
    }

    /// As [`Self::new`], of users that other tables have, too.
    pub fn of_shared(users: HashMap<Vec<u8>, Arc<User>>) -> Self {
        let costs = CostSets::new(users.values().filter_map(|user| user.password_hash.as_ref()));
        Self { users, costs }
    }

    /// The user of exactly this name, byte for byte.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// All users with their names, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Vec<u8>, &Arc<User>)> {
        self.users.iter()
    }

    /// The hash that a login with this name is checked against: the user's own, or, for a name that is
    /// unknown or has none, one that no password of this login can match, of the cost of some user's.
    pub(super) fn hash_for(&self, name: &[u8]) -> Option<(&Arc<PasswordHash>, Option<&Arc<User>>)> {
        // Computed for every name, as it takes time.
        let other = self.costs.choose(name);
        let user = self.users.get(name);
        match user.and_then(|user| user.password_hash.as_ref()) {
            Some(own) => Some((own, user)),
            None => Some((other?, None)),
        }
    }
}
