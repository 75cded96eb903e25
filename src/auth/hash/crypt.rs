//! Hashes of crypt(3) that libraries verify: bcrypt, SHA-crypt and yescrypt.

use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use yescrypt::Yescrypt;

use super::cost::{BCRYPT_COST_MAX, Cost, ROUNDS_MAX, limit, limit_memory};
use super::{HashError, is_crypt64};

/// SHA-crypt without `rounds=`.
const DEFAULT_ROUNDS: u64 = 5000;
const ROUNDS_MIN: u64 = 1000;

/// `$2b$12$` and 53 characters: 22 of salt, 31 of hash.
pub(super) fn bcrypt_cost(text: &str) -> Result<Cost, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Invalid)?;
    let cost = parts.get_cost();
    if cost < 4 {
        return Err(HashError::Invalid);
    }
    limit(cost.into(), BCRYPT_COST_MAX, "doublings (bcrypt's cost)")?;
    Ok(Cost::new(format_args!("bcrypt {cost}")))
}

/// Only 72 bytes of a password count, as with every bcrypt.
pub(super) fn verify_bcrypt(password: &[u8], text: &str) -> bool {
    bcrypt::verify(password, text).unwrap_or(false)
}

/// `$6$SALT$HASH` or `$6$rounds=10000$SALT$HASH`.
pub(super) fn sha_crypt_cost(text: &str) -> Result<Cost, HashError> {
    let mut parts = text.split('$').skip(1);
    let kind = parts.next().unwrap_or_default();
    let mut salt = parts.next().unwrap_or_default();
    let mut rounds = DEFAULT_ROUNDS;
    if let Some(given) = salt.strip_prefix("rounds=") {
        rounds = given.parse().map_err(|_| HashError::Invalid)?;
        salt = parts.next().unwrap_or_default();
    }
    let length = if kind == "5" { 43 } else { 86 };
    let is_hash = |hash: &str| hash.len() == length && hash.bytes().all(is_crypt64);
    let is_complete = parts.next().is_some_and(is_hash) && parts.next().is_none();
    let is_salt = (1..=16).contains(&salt.len()) && salt.bytes().all(|b| b.is_ascii_graphic());
    if !is_complete || !is_salt || rounds < ROUNDS_MIN {
        return Err(HashError::Invalid);
    }
    limit(rounds, ROUNDS_MAX, "rounds")?;
    Ok(Cost::new(format_args!("sha-crypt-{kind} rounds={rounds}")))
}

pub(super) fn verify_sha_crypt(password: &[u8], text: &str) -> bool {
    ShaCrypt::default().verify_password(password, text).is_ok()
}

/// `$y$j9T$SALT$HASH`.
pub(super) fn yescrypt_cost(text: &str) -> Result<Cost, HashError> {
    let mut parts = text.split('$').skip(2);
    let parameters = parts.next().unwrap_or_default();
    let params: yescrypt::Params = parameters.parse().map_err(|_| HashError::Invalid)?;
    let is_salt = |salt: &str| !salt.is_empty() && salt.bytes().all(is_crypt64);
    let is_hash = |hash: &str| hash.len() == 43 && hash.bytes().all(is_crypt64);
    if !(parts.next().is_some_and(is_salt) && parts.next().is_some_and(is_hash))
        || parts.next().is_some()
    {
        return Err(HashError::Invalid);
    }
    let block = 128 * u64::from(params.r());
    // `t` is not readable; the text of the parameters makes the cost unique.
    limit_memory(block.saturating_mul(params.n()), 1)?;
    limit_memory(block.saturating_mul(params.p().into()), 1)?;
    Ok(Cost::new(format_args!("yescrypt {parameters}")))
}

pub(super) fn verify_yescrypt(password: &[u8], text: &str) -> bool {
    Yescrypt::default().verify_password(password, text).is_ok()
}
