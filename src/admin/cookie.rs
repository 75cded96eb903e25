//! The cookie that a browser gets in exchange for the token: when it ends, sealed by a key of this process.
//! Nothing is kept for it; another token, and a restart, end it, too.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token::{KEY, Token};

/// Until the token must be entered again.
pub(super) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// The end, as seconds since 1970, and a random part.
const LENGTH: usize = 8 + 16;

/// A cookie's value; `now`: seconds since 1970.
pub(super) fn issue(token: &Token, now: u64) -> String {
    let mut value = (now + LIFETIME.as_secs()).to_be_bytes().to_vec();
    value.extend(rand::random::<[u8; 16]>());
    value.extend(seal(&value, token).as_ref());
    URL_SAFE_NO_PAD.encode(value)
}

/// Whether this process issued it for this token, and it has not ended.
pub(super) fn is_valid(value: &[u8], token: &Token, now: u64) -> bool {
    let Ok(value) = URL_SAFE_NO_PAD.decode(value) else { return false };
    let Some((content, tag)) = value.split_at_checked(LENGTH) else { return false };
    let Some(until) = content.first_chunk().map(|until| u64::from_be_bytes(*until)) else {
        return false;
    };
    let sealed = [content, token.digest()].concat();
    hmac::verify(&KEY, &sealed, tag).is_ok() && now < until
}

fn seal(content: &[u8], token: &Token) -> hmac::Tag {
    hmac::sign(&KEY, &[content, token.digest()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_cookie_is_not_valid() {
        let token = Token::new(&"t".repeat(32)).unwrap();
        let cookie = issue(&token, 5);
        assert!(is_valid(cookie.as_bytes(), &token, 5));
        assert!(!is_valid(cookie.as_bytes(), &token, 5 + LIFETIME.as_secs()));
        let bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(!is_valid(URL_SAFE_NO_PAD.encode(changed).as_bytes(), &token, 5), "{index}");
            let cut = URL_SAFE_NO_PAD.encode(&bytes[..index]);
            assert!(!is_valid(cut.as_bytes(), &token, 5), "{index}");
        }
    }
}
