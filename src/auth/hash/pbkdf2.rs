//! PBKDF2 with HMAC-SHA256 or HMAC-SHA512 (RFC 8018), in four formats:
//!
//! - lockgate: `$pbkdf2-sha256$i=600000,l=32$SALT$HASH` (PHC, base 64 without padding)
//! - passlib: `$pbkdf2-sha256$29000$SALT$HASH` (base 64 with `.` for `+`, without padding)
//! - SFTPGo: `$pbkdf2-sha256$150000$SALT$HASH=` (a salt of text, base 64 with padding), and
//!   `$pbkdf2-b64salt-sha256$…` (a salt in base 64)
//! - Django: `pbkdf2_sha256$390000$SALT$HASH=` (a salt of text)

use std::num::NonZeroU32;

use argon2::password_hash::Encoding;
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA512};

use super::cost::{Cost, ITERATIONS_MAX, limit};
use super::{HashError, is_key_length};

struct Parsed {
    is_sha512: bool,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

pub(super) fn cost(text: &str) -> Result<Cost, HashError> {
    let Parsed { is_sha512, iterations, hash, .. } = parse(text).ok_or(HashError::Invalid)?;
    let (name, digest) = if is_sha512 { ("sha512", 64) } else { ("sha256", 32) };
    let blocks = hash.len().div_ceil(digest) as u64;
    limit(u64::from(iterations.get()) * blocks, ITERATIONS_MAX, "iterations")?;
    Ok(Cost::new(format_args!("pbkdf2-{name} i={iterations} blocks={blocks}")))
}

pub(super) fn verify(password: &[u8], text: &str) -> bool {
    let Some(Parsed { is_sha512, iterations, salt, hash }) = parse(text) else { return false };
    let algorithm = if is_sha512 { PBKDF2_HMAC_SHA512 } else { PBKDF2_HMAC_SHA256 };
    // In constant time.
    pbkdf2::verify(algorithm, iterations, &salt, password, &hash).is_ok()
}

fn parse(text: &str) -> Option<Parsed> {
    let (kind, rest) = text.strip_prefix('$').unwrap_or(text).split_once('$')?;
    let [parameters, salt, hash] = rest.split('$').collect::<Vec<_>>().try_into().ok()?;
    let is_text_salt = match kind {
        "pbkdf2_sha256" => true,
        "pbkdf2-b64salt-sha256" | "pbkdf2-b64salt-sha512" => false,
        // SFTPGo pads, others do not; no hash's length makes padding superfluous.
        _ => hash.ends_with('='),
    };
    let hash = base64(hash)?;
    let iterations = match parameters.strip_prefix("i=") {
        None => parameters.parse().ok()?,
        Some(parameters) => {
            let (iterations, length) = match parameters.split_once(",l=") {
                Some((iterations, length)) => (iterations, length.parse().ok()?),
                None => (parameters, hash.len()),
            };
            (length == hash.len()).then_some(())?;
            iterations.parse().ok()?
        }
    };
    let salt = if is_text_salt { salt.as_bytes().to_vec() } else { base64(salt)? };
    let is_text = |salt: &[u8]| salt.iter().all(u8::is_ascii_graphic);
    (is_key_length(hash.len()) && !salt.is_empty() && (!is_text_salt || is_text(&salt)))
        .then_some(())?;
    Some(Parsed { is_sha512: kind.ends_with("sha512"), iterations, salt, hash })
}

/// Base 64 with or without padding, with `+` or passlib's `.`.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('.', "+");
    let mut bytes = vec![0; text.len()];
    let length = Encoding::B64.decode(text, &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}
