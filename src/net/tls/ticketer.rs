//! Encryption of session tickets. rustls' own ticketer discards its keys after at most 12 hours. A client
//! that only uploads gets no new ticket after its login, so its data connections could not resume then.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;

/// In seconds; the longest lifetime of a TLS 1.3 ticket (RFC 8446 section 4.6.1). A key encrypts for one
/// week and decrypts for two.
const WEEK: u32 = 7 * 24 * 60 * 60;

/// Keys are replaced weekly; a ticket is valid for at least one week.
pub(super) fn weekly() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    Ok(Arc::new(Weekly(TicketRotator::new(WEEK, || Ok(Box::new(TicketKey::new()?)))?)))
}

#[derive(Debug)]
struct Weekly(TicketRotator);

impl ProducesTickets for Weekly {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        WEEK
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// A single key.
#[derive(Debug)]
struct TicketKey(RandomizedNonceKey);

impl TicketKey {
    fn new() -> Result<Self, rustls::crypto::GetRandomFailed> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).map_err(|_| rustls::crypto::GetRandomFailed)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &*key);
        Ok(Self(key.map_err(|_| rustls::crypto::GetRandomFailed)?))
    }
}

impl ProducesTickets for TicketKey {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        WEEK
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
        Some([&nonce.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::empty(), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
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
        let ticketer = weekly().unwrap();
        assert_eq!(ticketer.lifetime(), 604_800);
        let ticket = ticketer.encrypt(b"secrets").unwrap();
        assert_eq!(ticketer.decrypt(&ticket).as_deref(), Some(&b"secrets"[..]));
    }
}
