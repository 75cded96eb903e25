//! The cookies that browsers get in exchange for the token: random, and known here until they end. A logout,
//! another token and a restart end them, too.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token::{KEY, Token};

/// Until the token must be entered again.
pub(super) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Cookies at a time; another one ends the oldest.
const COOKIES_MAX: usize = 1000;

/// All that are valid, the oldest first.
#[derive(Default)]
pub(super) struct Cookies(Mutex<VecDeque<Cookie>>);

struct Cookie {
    /// The value is not kept itself.
    digest: hmac::Tag,
    /// What it was given for.
    token: hmac::Tag,
    /// Seconds since 1970.
    until: u64,
}

impl Cookies {
    /// Another cookie's value; `now`: seconds since 1970.
    pub(super) fn issue(&self, token: &Token, now: u64) -> String {
        let value = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let until = now + LIFETIME.as_secs();
        let mut all = self.all();
        all.retain(|cookie| now < cookie.until);
        if all.len() >= COOKIES_MAX {
            all.pop_front();
        }
        all.push_back(Cookie { digest: digest(value.as_bytes()), token: *token.digest(), until });
        value
    }

    /// Whether it was issued for this token, and has not ended.
    pub(super) fn is_valid(&self, value: &[u8], token: &Token, now: u64) -> bool {
        let digest = digest(value);
        let found = |cookie: &Cookie| is_same(&cookie.digest, &digest) && now < cookie.until;
        self.all().iter().any(|cookie| found(cookie) && is_same(&cookie.token, token.digest()))
    }

    /// Ends one, if there is such a one.
    pub(super) fn end(&self, value: &[u8]) {
        let digest = digest(value);
        self.all().retain(|cookie| !is_same(&cookie.digest, &digest));
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Cookie>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With a key that nobody knows: how long a comparison takes says nothing about the value.
fn digest(value: &[u8]) -> hmac::Tag {
    hmac::sign(&KEY, value)
}

fn is_same(one: &hmac::Tag, other: &hmac::Tag) -> bool {
    one.as_ref() == other.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_valid_for_its_token_until_it_ends() {
        let (token, cookies) = (Token::new(&"t".repeat(32)).unwrap(), Cookies::default());
        let value = cookies.issue(&token, 5);
        let is_valid = |now| cookies.is_valid(value.as_bytes(), &token, now);
        assert!(is_valid(5) && is_valid(4 + LIFETIME.as_secs()));
        assert!(!is_valid(5 + LIFETIME.as_secs()));
        let other = Token::new(&"x".repeat(32)).unwrap();
        assert!(!cookies.is_valid(value.as_bytes(), &other, 5));
        for wrong in ["", &value[1..], &format!("{value}A"), &"A".repeat(value.len())] {
            assert!(!cookies.is_valid(wrong.as_bytes(), &token, 5), "{wrong}");
        }
        let second = cookies.issue(&token, 6);
        cookies.end(value.as_bytes());
        assert!(!is_valid(6) && cookies.is_valid(second.as_bytes(), &token, 6));
    }

    #[test]
    fn the_oldest_ends_where_there_are_too_many() {
        let (token, cookies) = (Token::new(&"t".repeat(32)).unwrap(), Cookies::default());
        let values: Vec<_> = (0..=COOKIES_MAX).map(|_| cookies.issue(&token, 5)).collect();
        let is_valid = |value: &String| cookies.is_valid(value.as_bytes(), &token, 5);
        assert!(!is_valid(&values[0]) && values[1..].iter().all(is_valid));
        // Those that have ended take no room.
        cookies.issue(&token, 5 + LIFETIME.as_secs());
        assert_eq!(cookies.all().len(), 1);
    }
}
