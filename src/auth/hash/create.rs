//! New hashes, for `lockgate hash-password`.

use std::num::NonZeroU32;

use argon2::Argon2;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use argon2::password_hash::{self, Encoding, PasswordHasher, SaltString};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA512};

/// OWASP's recommendation of 2023 for PBKDF2-HMAC-SHA512.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(210_000).unwrap();
const SALT_LENGTH: usize = 16;
const HASH_LENGTH: usize = 64;

/// The kinds of hashes that lockgate makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashKind {
    /// argon2id with 19 MiB: hard to guess with special hardware.
    Argon2id,
    /// PBKDF2-HMAC-SHA512, for those who may use only what NIST has approved (SP 800-132).
    Pbkdf2,
}

/// A hash with a new salt, for `password_hash` in the configuration.
pub fn hash_password(password: &[u8], kind: HashKind) -> Result<String, password_hash::Error> {
    match kind {
        HashKind::Argon2id => {
            let salt = SaltString::generate(&mut OsRng);
            Ok(Argon2::default().hash_password(password, &salt)?.to_string())
        }
        HashKind::Pbkdf2 => {
            let (mut salt, mut hash) = ([0; SALT_LENGTH], [0; HASH_LENGTH]);
            OsRng.fill_bytes(&mut salt);
            pbkdf2::derive(PBKDF2_HMAC_SHA512, ITERATIONS, &salt, password, &mut hash);
            let mut buffers = ([0; 2 * SALT_LENGTH], [0; 2 * HASH_LENGTH]);
            let salt = Encoding::B64.encode(&salt, &mut buffers.0)?;
            let hash = Encoding::B64.encode(&hash, &mut buffers.1)?;
            Ok(format!("$pbkdf2-sha512$i={ITERATIONS},l={HASH_LENGTH}${salt}${hash}"))
        }
    }
}
