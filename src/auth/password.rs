//! Passwords against argon2id hashes: off the async threads, a bounded number at a time, and for an
//! unknown user as long as for a wrong password.

use std::sync::Arc;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{self, Output, PasswordHash, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{User, UserTable};

/// In argon2's blocks of 1 KiB. What was computed goes when the memory is freed: the program's
/// allocator, jemalloc, gives what is larger than 8 MiB back to the system at once, and glibc's, which
/// unit tests have, unmaps what is larger than 32 MiB. Smaller pieces they keep. What of them is not used
/// costs no memory.
const MAPPED: usize = 33 * 1024;

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
            fits(&password, &hash).unwrap_or(false)
        });
        if fits.await.unwrap_or(false) { user } else { None }
    }
}

/// As `PasswordVerifier::verify_password` does, in memory that is given back.
fn fits(password: &[u8], hash: &str) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Ok(false) };
    let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let params = Params::try_from(&hash)?;
    let mut memory = Vec::with_capacity(params.block_count().max(MAPPED));
    memory.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(Algorithm::try_from(hash.algorithm)?, version, params);
    let mut bytes = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut bytes)?;
    let computed = Output::init_with(expected.len(), |out| {
        Ok(argon2.hash_password_into_with_memory(password, salt, out, &mut memory)?)
    })?;
    // Takes the same time wherever they differ.
    Ok(computed == expected)
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

    #[test]
    fn hashes_of_all_kinds_are_understood() {
        let hash = |algorithm, version, params| {
            let salt = SaltString::generate(&mut OsRng);
            let argon2 = Argon2::new(algorithm, version, params);
            argon2.hash_password(b"open sesame", &salt).unwrap().to_string()
        };
        let small = || Params::new(64, 1, 2, Some(16)).unwrap();
        let large = Params::new(u32::try_from(MAPPED).unwrap() + 8, 1, 1, None).unwrap();
        for hash in [
            hash(Algorithm::Argon2id, Version::V0x13, small()),
            hash(Algorithm::Argon2i, Version::V0x10, small()),
            hash(Algorithm::Argon2id, Version::V0x13, large),
        ] {
            assert!(fits(b"open sesame", &hash).unwrap(), "{hash}");
            assert!(!fits(b"open barley", &hash).unwrap(), "{hash}");
        }
        assert!(fits(b"", "").is_err());
    }

    #[tokio::test]
    async fn an_empty_table_lets_nobody_in() {
        let check = PasswordCheck::new(UserTable::default());
        assert!(check.verify(b"alice", &secret("")).await.is_none());
    }
}
