//! Password hashes: lockgate's own (argon2id, PBKDF2), and those that users bring from other servers.

mod argon2id;
mod cost;
mod create;
mod crypt;
mod md5_crypt;
mod pbkdf2;
mod scrypt;
#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::Zeroizing;

pub use cost::Cost;
use cost::HASH_MAX;
pub use create::{HashKind, hash_password};

/// The longest password that is checked, in bytes; longer ones are wrong. SHA-crypt takes quadratic time.
pub const PASSWORD_MAX: usize = 1024;

/// A valid password hash, as text with its scheme, its parameters and its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Zeroizing<String>,
    scheme: Scheme,
    cost: Cost,
}

/// How a password is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// `$argon2id$…` (RFC 9106).
    Argon2id,
    /// PBKDF2-HMAC-SHA256 or PBKDF2-HMAC-SHA512 (RFC 8018), as lockgate, passlib, Django and SFTPGo write it.
    Pbkdf2,
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
    /// `$5$`, `$6$`: SHA-256-crypt, SHA-512-crypt.
    ShaCrypt,
    /// `$scrypt$…` (RFC 7914).
    Scrypt,
    /// `$y$`: of Debian's shadow file, for one.
    Yescrypt,
    /// `$1$`, `$apr1$`: 1000 rounds of MD5, which are guessed fast.
    Md5Crypt,
}

/// Why a text is not accepted as a password hash. The messages do not repeat the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It is in no known format.
    #[error("is not a password hash (\"$argon2id$…\")")]
    NotAHash,
    /// It begins as a hash, but is damaged. Some shells and templates expand "$argon2id" as a variable.
    #[error("is an invalid password hash (is it complete and in single quotes?)")]
    Invalid,
    /// A format that is not accepted.
    #[error("is a hash of kind {kind}, which is not accepted: {why}")]
    Refused {
        /// The format's name.
        kind: String,
        /// The reason.
        why: &'static str,
    },
    /// It asks for more time or memory than a login may take.
    #[error("asks for {asked}; at most {max} is accepted")]
    TooExpensive {
        /// What the hash asks for.
        asked: String,
        /// The limit.
        max: String,
    },
}

impl PasswordHash {
    /// A hash in one of the formats of [`Scheme`].
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if text.len() > HASH_MAX {
            return Err(HashError::Invalid);
        }
        let scheme = scheme(text)?;
        let cost = match scheme {
            Scheme::Argon2id => argon2id::cost(text),
            Scheme::Pbkdf2 => pbkdf2::cost(text),
            Scheme::Bcrypt => crypt::bcrypt_cost(text),
            Scheme::ShaCrypt => crypt::sha_crypt_cost(text),
            Scheme::Scrypt => scrypt::cost(text),
            Scheme::Yescrypt => crypt::yescrypt_cost(text),
            Scheme::Md5Crypt => md5_crypt::cost(text),
        }?;
        Ok(Self { text: Zeroizing::new(text.to_owned()), scheme, cost })
    }

    /// Whether it is the password's. Takes the time and memory of [`Self::cost`]: for threads that may block.
    pub fn verify(&self, password: &[u8]) -> bool {
        let is_too_long = password.len() > PASSWORD_MAX;
        let password = &password[..password.len().min(PASSWORD_MAX)];
        let is_correct = match self.scheme {
            Scheme::Argon2id => argon2id::verify(password, &self.text),
            Scheme::Pbkdf2 => pbkdf2::verify(password, &self.text),
            Scheme::Bcrypt => crypt::verify_bcrypt(password, &self.text),
            Scheme::ShaCrypt => crypt::verify_sha_crypt(password, &self.text),
            Scheme::Scrypt => scrypt::verify(password, &self.text),
            Scheme::Yescrypt => crypt::verify_yescrypt(password, &self.text),
            Scheme::Md5Crypt => md5_crypt::verify(password, &self.text),
        };
        is_correct && !is_too_long
    }

    /// Its format.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The work of a check.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// The text. A secret.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Why passwords with such a hash should be changed soon.
    pub fn weakness(&self) -> Option<&'static str> {
        (self.scheme == Scheme::Md5Crypt).then_some(
            "is an MD5 hash, from which passwords are guessed fast if it leaks; give the user a new password \
             with `lockgate hash-password`",
        )
    }
}

/// Without the text.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.cost)
    }
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Argon2id,
        Self::Pbkdf2,
        Self::Bcrypt,
        Self::ShaCrypt,
        Self::Scrypt,
        Self::Yescrypt,
        Self::Md5Crypt,
    ];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Argon2id => "argon2id",
            Self::Pbkdf2 => "pbkdf2",
            Self::Bcrypt => "bcrypt",
            Self::ShaCrypt => "sha-crypt",
            Self::Scrypt => "scrypt",
            Self::Yescrypt => "yescrypt",
            Self::Md5Crypt => "md5-crypt",
        }
    }
}

fn scheme(text: &str) -> Result<Scheme, HashError> {
    const UNSALTED: &str = "it has no salt, or is guessed fast; give the user a new password";
    let refused = |kind: &str, why| Err(HashError::Refused { kind: kind.to_owned(), why });
    if text.starts_with("pbkdf2_sha256$") {
        return Ok(Scheme::Pbkdf2);
    }
    // LDAP's and htpasswd's form.
    if let Some(rest) = text.strip_prefix('{') {
        let kind = rest.split('}').next().filter(|kind| kind.len() < 20);
        return refused(&format!("{{{}}}", kind.unwrap_or("…")), UNSALTED);
    }
    let Some(rest) = text.strip_prefix('$') else {
        let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        return match text.len() {
            32 | 40 | 64 | 128 if is_hex => refused("MD5 or SHA without a salt", UNSALTED),
            13 if text.bytes().all(is_crypt64) => {
                refused("DES", "only 8 characters count, and they are guessed fast")
            }
            20 if text.starts_with('_') => refused("BSDi DES", "it is guessed fast"),
            _ => Err(HashError::NotAHash),
        };
    };
    match rest.split('$').next().unwrap_or_default() {
        "argon2id" => Ok(Scheme::Argon2id),
        "pbkdf2-sha256" | "pbkdf2-sha512" | "pbkdf2-b64salt-sha256" | "pbkdf2-b64salt-sha512" => {
            Ok(Scheme::Pbkdf2)
        }
        "2a" | "2b" | "2y" => Ok(Scheme::Bcrypt),
        "5" | "6" => Ok(Scheme::ShaCrypt),
        "scrypt" => Ok(Scheme::Scrypt),
        "y" => Ok(Scheme::Yescrypt),
        "1" | "apr1" => Ok(Scheme::Md5Crypt),
        kind @ ("argon2i" | "argon2d") => refused(kind, "only argon2id is"),
        kind @ ("pbkdf2" | "pbkdf2-sha1") => refused(kind, "SHA-1 is not used for passwords"),
        "2" | "2x" => refused("bcrypt 2x", "it is computed with a known error"),
        "3" => refused("NT", UNSALTED),
        "7" => refused("7 (crypt's scrypt)", "\"$scrypt$…\" is"),
        kind if (1..20).contains(&kind.len())
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            refused(kind, "it is not known")
        }
        _ => Err(HashError::Invalid),
    }
}

/// Whether a derived key has a usual length; others are damaged. A shorter one is guessed by chance.
fn is_key_length(length: usize) -> bool {
    (16..=64).contains(&length) && length.is_multiple_of(16)
}

/// crypt(3)'s base 64.
fn is_crypt64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')
}
