//! Encryption of session tickets. rustls' own ticketer discards its keys after at most 12 hours: a client that
//! only uploads gets no new ticket after its login, so its data connections could not resume then. Nor can
//! its keys be given to the process that takes over.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::crypto::GetRandomFailed;
use rustls::server::ProducesTickets;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// In seconds; the longest lifetime of a TLS 1.3 ticket (RFC 8446 section 4.6.1). A key encrypts for one
/// week and decrypts for two.
const WEEK: u32 = 7 * 24 * 60 * 60;

/// Keys are replaced weekly; a ticket is valid for at least one week.
pub(super) struct WeeklyTicketer(Mutex<Keys>);

struct Keys {
    current: TicketKey,
    previous: Option<TicketKey>,
}

/// A single key.
struct TicketKey {
    key: RandomizedNonceKey,
    bytes: Zeroizing<[u8; 32]>,
    since: SystemTime,
}

impl WeeklyTicketer {
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let current = TicketKey::new()?;
        Ok(Self(Mutex::new(Keys { current, previous: None })))
    }

    /// The keys, for the process that takes over: secret.
    pub(super) fn export(&self) -> Value {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = [Some(&keys.current), keys.previous.as_ref()];
        all.into_iter().flatten().map(TicketKey::export).collect()
    }

    /// Goes on with exported keys. Returns whether they are complete; otherwise its own stay.
    pub(super) fn import(&self, exported: &Value) -> bool {
        let all: Option<Vec<_>> =
            exported.as_array().and_then(|all| all.iter().map(TicketKey::import).collect());
        let mut all = all.unwrap_or_default().into_iter();
        let Some(current) = all.next() else { return false };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Keys { current, previous: all.next() };
        true
    }
}

impl Keys {
    /// Replaces a key whose week is over.
    fn renew(&mut self, now: SystemTime) {
        if self.current.age(now) >= week()
            && let Ok(next) = TicketKey::new()
        {
            self.previous = Some(std::mem::replace(&mut self.current, next));
        }
        self.previous = self.previous.take().filter(|key| key.age(now) < 2 * week());
    }
}

impl ProducesTickets for WeeklyTicketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        WEEK
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.renew(SystemTime::now());
        keys.current.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.renew(SystemTime::now());
        let of_previous = || keys.previous.as_ref()?.decrypt(cipher);
        keys.current.decrypt(cipher).or_else(of_previous)
    }
}

impl fmt::Debug for WeeklyTicketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeeklyTicketer")
    }
}

impl TicketKey {
    fn new() -> Result<Self, GetRandomFailed> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| GetRandomFailed)?;
        Self::of(bytes, SystemTime::now()).ok_or(GetRandomFailed)
    }

    fn of(bytes: Zeroizing<[u8; 32]>, since: SystemTime) -> Option<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &*bytes).ok()?;
        Some(Self { key, bytes, since })
    }

    fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.since).unwrap_or_default()
    }

    fn export(&self) -> Value {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        json!({ "key": BASE64.encode(*self.bytes), "since": since.as_secs() })
    }

    fn import(exported: &Value) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(exported["key"].as_str()?).ok()?);
        let bytes = Zeroizing::new(bytes.as_slice().try_into().ok()?);
        let since = Duration::from_secs(exported["since"].as_u64()?);
        Self::of(bytes, SystemTime::UNIX_EPOCH.checked_add(since)?)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
        Some([&nonce.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::empty(), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

fn week() -> Duration {
    Duration::from_secs(WEEK.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_that_encrypted_a_ticket_decrypts_it() {
        let (one, other) = (TicketKey::new().unwrap(), TicketKey::new().unwrap());
        for plain in [&b""[..], b"secrets", &[7; 5000]] {
            let ticket = one.encrypt(plain).unwrap();
            assert_ne!(one.encrypt(plain).unwrap(), ticket);
            assert_eq!(one.decrypt(&ticket).as_deref(), Some(plain));
            assert_eq!(other.decrypt(&ticket), None);
            for at in 0..ticket.len() {
                let mut changed = ticket.clone();
                changed[at] ^= 1;
                assert_eq!(one.decrypt(&changed), None);
                assert_eq!(one.decrypt(&ticket[..at]), None);
            }
        }
    }

    #[test]
    fn tickets_have_the_longest_lifetime_of_tls_1_3() {
        let ticketer = WeeklyTicketer::new().unwrap();
        assert_eq!(ticketer.lifetime(), 604_800);
        let ticket = ticketer.encrypt(b"secrets").unwrap();
        assert_eq!(ticketer.decrypt(&ticket).as_deref(), Some(&b"secrets"[..]));
    }

    #[test]
    fn keys_are_replaced_after_a_week_and_forgotten_after_two() {
        let ticketer = WeeklyTicketer::new().unwrap();
        let ticket = ticketer.encrypt(b"secrets").unwrap();
        let after = |weeks: u32| {
            let mut keys = ticketer.0.lock().unwrap();
            keys.current.since -= week() * weeks;
            if let Some(previous) = &mut keys.previous {
                previous.since -= week() * weeks;
            }
        };
        after(1);
        assert!(ticketer.decrypt(&ticket).is_some());
        assert_eq!(ticketer.0.lock().unwrap().current.decrypt(&ticket), None);
        after(1);
        assert_eq!(ticketer.decrypt(&ticket), None);
    }

    #[test]
    fn another_process_goes_on_with_the_keys() {
        let (one, other) = (WeeklyTicketer::new().unwrap(), WeeklyTicketer::new().unwrap());
        let first = one.encrypt(b"first").unwrap();
        one.0.lock().unwrap().current.since -= week();
        let second = one.encrypt(b"second").unwrap();
        for broken in [json!(null), json!([]), json!([{ "key": "AA==", "since": 1 }])] {
            assert!(!other.import(&broken));
        }
        assert_eq!(other.decrypt(&second), None);
        assert!(other.import(&one.export()));
        assert_eq!(other.decrypt(&first).as_deref(), Some(&b"first"[..]));
        assert_eq!(one.decrypt(&other.encrypt(b"third").unwrap()).as_deref(), Some(&b"third"[..]));
    }
}
