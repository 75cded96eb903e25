//! argon2id (RFC 9106), in PHC format.

use argon2::password_hash::{self, Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::HashError;
use super::cost::{Cost, limit_memory};

/// The minimum capacity of argon2's memory, in its blocks of 1 KiB, so that freed memory returns to the
/// system with what was computed: jemalloc returns blocks larger than 8 MiB at once, and glibc's
/// allocator, used by unit tests, unmaps those larger than 32 MiB. Unused capacity costs no memory.
const CAPACITY_MIN: usize = 33 * 1024;

pub(super) fn cost(text: &str) -> Result<Cost, HashError> {
    let hash = PasswordHash::new(text).map_err(|_| HashError::Invalid)?;
    let params = Params::try_from(&hash).map_err(|_| HashError::Invalid)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(HashError::Invalid);
    }
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    limit_memory(u64::from(m) * 1024, t.into())?;
    Ok(Cost::new(format_args!("argon2id m={m} t={t} p={p}")))
}

pub(super) fn verify(password: &[u8], text: &str) -> bool {
    is_correct(password, text).unwrap_or(false)
}

/// As `PasswordVerifier::verify_password`, in memory that returns to the system.
fn is_correct(password: &[u8], text: &str) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(text)?;
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

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher;
    use argon2::password_hash::SaltString;
    use argon2::password_hash::rand_core::OsRng;

    use super::*;

    #[test]
    fn memory_of_every_size_and_version_is_computed() {
        let hash = |version, params| {
            let salt = SaltString::generate(&mut OsRng);
            let argon2 = Argon2::new(Algorithm::Argon2id, version, params);
            argon2.hash_password(b"open sesame", &salt).unwrap().to_string()
        };
        let small = || Params::new(64, 1, 2, Some(16)).unwrap();
        let large = Params::new(u32::try_from(CAPACITY_MIN).unwrap() + 8, 1, 1, None).unwrap();
        for hash in [
            hash(Version::V0x13, small()),
            hash(Version::V0x10, small()),
            hash(Version::V0x13, large),
        ] {
            assert!(verify(b"open sesame", &hash), "{hash}");
            assert!(!verify(b"open barley", &hash), "{hash}");
        }
        assert!(!verify(b"", ""));
    }
}
