//! Verifies passwords against argon2id hashes: on blocking threads, a bounded number at a time, and in the
//! same time for an unknown user as for a wrong password.

use std::sync::Arc;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{self, Output, PasswordHash, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{User, UserTable};
use crate::net::task;

/// The minimum capacity of argon2's memory, in its blocks of 1 KiB, so that freed memory returns to the
/// system with what was computed: jemalloc returns blocks larger than 8 MiB at once, and glibc's
/// allocator, used by unit tests, unmaps those larger than 32 MiB. Unused capacity costs no memory.
const CAPACITY_MIN: usize = 33 * 1024;

/// Checks passwords of the gateway's users.
pub struct PasswordCheck {
    users: UserTable,
    /// The most expensive hash of the table, for users that are unknown or have no password.
    dummy_hash: Option<String>,
    /// A verification occupies a core and, with argon2's defaults, 19 MiB.
    permits: Arc<Semaphore>,
}

impl PasswordCheck {
    /// Checks against `users`; verifies at most one password per core at a time.
    pub fn new(users: UserTable) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cost = |hash: &String| {
            let params = Params::try_from(&PasswordHash::new(hash).ok()?).ok()?;
            Some(u64::from(params.m_cost()) * u64::from(params.t_cost()))
        };
        let hashes = users.iter().filter_map(|(_, user)| user.password_hash.as_ref());
        let dummy_hash = hashes.max_by_key(|hash| cost(hash)).cloned();
        Self { users, dummy_hash, permits: Arc::new(Semaphore::new(cores)) }
    }

    /// The user of this name, without a check of the password.
    pub fn known(&self, name: &[u8]) -> Option<&User> {
        self.users.get(name)
    }

    /// The user, if the password is correct. Takes the same time for unknown users.
    pub async fn verify(&self, name: &[u8], password: &Zeroizing<Vec<u8>>) -> Option<&User> {
        let user = self.users.get(name).filter(|user| user.password_hash.is_some());
        let own = user.and_then(|user| user.password_hash.as_ref());
        let hash = own.or(self.dummy_hash.as_ref())?.clone();
        let password = password.clone();
        // The semaphore is never closed, and verification does not panic; if it did, the login would fail.
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        let checked = task::spawn_blocking(move || {
            let _permit = permit;
            is_correct(&password, &hash).unwrap_or(false)
        });
        if checked.await.unwrap_or(false) { user } else { None }
    }
}

/// As `PasswordVerifier::verify_password`, in memory that returns to the system.
fn is_correct(password: &[u8], hash: &str) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Ok(false) };
    let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let params = Params::try_from(&hash)?;
    let mut memory = Vec::with_capacity(params.block_count().max(CAPACITY_MIN));
    memory.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(Algorithm::try_from(hash.algorithm)?, version, params);
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes)?;
    let computed = Output::init_with(expected.len(), |out| {
        Ok(argon2.hash_password_into_with_memory(password, salt, out, &mut memory)?)
    })?;
    // In constant time.
    Ok(computed == expected)
}

/// An argon2id hash in PHC format with a new salt, for `password_hash` in the configuration.
pub fn hash_password(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    Ok(Argon2::default().hash_password(password, &salt)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn secret(text: &str) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(text.into())
    }

    #[tokio::test]
    async fn only_the_password_of_a_known_user_is_correct() {
        let user =
            |password_hash| User { password_hash, groups: vec!["g".into()], ..User::default() };
        let alice = user(Some(hash_password(b"open sesame").unwrap()));
        let check = PasswordCheck::new(UserTable::new(HashMap::from([
            (b"alice".to_vec(), alice),
            (b"keys-only".to_vec(), user(None)),
        ])));
        assert!(check.verify(b"alice", &secret("open sesame")).await.is_some());
        assert!(check.verify(b"alice", &secret("wrong")).await.is_none());
        // The dummy hash's password does not authenticate an unknown user.
        for name in [&b"mallory"[..], b"keys-only"] {
            assert!(check.verify(name, &secret("open sesame")).await.is_none());
        }
        assert!(check.known(b"keys-only").is_some());
    }

    #[test]
    fn hashes_of_all_kinds_are_verified() {
        let hash = |algorithm, version, params| {
            let salt = SaltString::generate(&mut OsRng);
            let argon2 = Argon2::new(algorithm, version, params);
            argon2.hash_password(b"open sesame", &salt).unwrap().to_string()
        };
        let small = || Params::new(64, 1, 2, Some(16)).unwrap();
        let large = Params::new(u32::try_from(CAPACITY_MIN).unwrap() + 8, 1, 1, None).unwrap();
        for hash in [
            hash(Algorithm::Argon2id, Version::V0x13, small()),
            hash(Algorithm::Argon2i, Version::V0x10, small()),
            hash(Algorithm::Argon2id, Version::V0x13, large),
        ] {
            assert!(is_correct(b"open sesame", &hash).unwrap(), "{hash}");
            assert!(!is_correct(b"open barley", &hash).unwrap(), "{hash}");
        }
        assert!(is_correct(b"", "").is_err());
    }

    #[tokio::test]
    async fn an_empty_table_authenticates_no_user() {
        let check = PasswordCheck::new(UserTable::default());
        assert!(check.verify(b"alice", &secret("")).await.is_none());
    }
}
