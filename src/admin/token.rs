//! The token of `admin.token_file`, which operators show at the admin address.

use std::sync::LazyLock;

use aws_lc_rs::hmac;

const LENGTH_MIN: usize = 32;
const LENGTH_MAX: usize = 1024;

/// Random; of this process.
pub(super) static KEY: LazyLock<hmac::Key> =
    LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()));

/// The token, which is not kept itself.
#[derive(Clone)]
pub struct Token {
    digest: hmac::Tag,
}

/// A token that cannot be used. Fault: the operator's.
#[derive(Debug, thiserror::Error)]
pub enum BadToken {
    /// It is short, and could be guessed.
    #[error(
        "the token has {0} characters, and needs at least 32: `openssl rand -hex 32` makes one that \
         nobody guesses"
    )]
    TooShort(usize),
    /// It has more than 1024 characters.
    #[error("the token has {0} characters; at most 1024 are allowed")]
    TooLong(usize),
    /// It cannot be sent.
    #[error(
        "the token may have only visible ASCII characters and no spaces (RFC 6750 section 2.1), on one line"
    )]
    NotVisible,
}

impl Token {
    /// Visible ASCII characters, 32 to 1024 of them.
    pub fn new(token: &str) -> Result<Self, BadToken> {
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadToken::NotVisible);
        }
        match token.len() {
            length if length < LENGTH_MIN => Err(BadToken::TooShort(length)),
            length if length > LENGTH_MAX => Err(BadToken::TooLong(length)),
            _ => Ok(Self { digest: hmac::sign(&KEY, token.as_bytes()) }),
        }
    }

    /// In a time that says nothing about the token.
    pub(super) fn is(&self, token: &[u8]) -> bool {
        hmac::verify(&KEY, token, self.digest.as_ref()).is_ok()
    }

    pub(super) fn digest(&self) -> &hmac::Tag {
        &self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_could_be_guessed_or_not_sent_are_refused() {
        for (token, reason) in [
            ("short", "needs at least 32"),
            (&"x".repeat(1025), "at most 1024"),
            (&"x y".repeat(32), "no spaces"),
            (&"ä".repeat(32), "visible ASCII"),
            ("", "has 0 characters"),
        ] {
            let error = Token::new(token).err().unwrap().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
