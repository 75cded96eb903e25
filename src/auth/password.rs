//! Passwords against argon2id hashes: off the async threads, a bounded number at a time, and for an
//! unknown user as long as for a wrong password.

use std::sync::Arc;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Argon2, Params};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{User, UserTable};

/// The gateway's own password check.
pub struct PasswordCheck {
    users: UserTable,
    /// The dearest hash of the table: what a password is held against where the user is unknown or
    /// has none.
    stand_in: Option<String>,
    /// Each verification costs a core and, by argon2's defaults, 19 MiB.
    turns: Arc<Semaphore>,
}

impl PasswordCheck {
    pub fn new(users: UserTable) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cost = |hash: &String| {
            let params = Params::try_from(&PasswordHash::new(hash).ok()?).ok()?;
            Some(u64::from(params.m_cost()) * u64::from(params.t_cost()))
        };
        let hashes = users.iter().filter_map(|(_, user)| user.password_hash.as_ref());
        let stand_in = hashes.max_by_key(|hash| cost(hash)).cloned();
        Self { users, stand_in, turns: Arc::new(Semaphore::new(cores)) }
    }

    /// The user of the table by that name, password unchecked.
    pub fn known(&self, name: &[u8]) -> Option<&User> {
        self.users.get(name)
    }

    /// The user, if there is one and this is the password. Takes the same time either way.
    pub async fn verify(&self, name: &[u8], password: &Zeroizing<Vec<u8>>) -> Option<&User> {
        let user = self.users.get(name).filter(|user| user.password_hash.is_some());
        let own = user.and_then(|user| user.password_hash.as_ref());
        let hash = own.or(self.stand_in.as_ref())?.clone();
        let password = password.clone();
        // Neither the semaphore is ever closed nor does verification panic; were it so, nobody gets in.
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        let fits = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(&password, &hash).is_ok())
        });
        if fits.await.unwrap_or(false) { user } else { None }
    }
}

/// An argon2id hash in PHC form with a fresh salt, for `password_hash` in the configuration.
pub fn hash_password(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    Ok(Argon2::default().hash_password(password, &salt)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthorizedKeys;
    use std::collections::HashMap;

    fn secret(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.into())
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_fits() {
        let user = |password_hash| User {
            password_hash,
            groups: vec!["g".into()],
            keys: AuthorizedKeys::default(),
        };
        let alice = user(Some(hash_password(b"open sesame").unwrap()));
        let check = PasswordCheck::new(UserTable::new(HashMap::from([
            (b"alice".to_vec(), alice),
            (b"keys-only".to_vec(), user(None)),
        ])));
        assert!(check.verify(b"alice", &secret("open sesame")).await.is_some());
        assert!(check.verify(b"alice", &secret("wrong")).await.is_none());
        // The stand-in's own password opens nothing for somebody unknown.
        for name in [&b"mallory"[..], b"keys-only"] {
            assert!(check.verify(name, &secret("open sesame")).await.is_none());
        }
        assert!(check.known(b"keys-only").is_some());
    }

    #[tokio::test]
    async fn an_empty_table_lets_nobody_in() {
        let check = PasswordCheck::new(UserTable::default());
        assert!(check.verify(b"alice", &secret("")).await.is_none());
    }
}
