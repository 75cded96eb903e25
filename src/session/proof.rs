//! What a client presents at a login.

use zeroize::Zeroizing;

use crate::auth::{Methods, PasswordSent, PresentedKey};

/// A user name, and what the client presents to prove that it is this user, besides the certificate of its TLS
/// connection ([`super::ClientInfo`]).
#[derive(Clone)]
pub struct Proof {
    /// The user name in bytes, as the client sent it.
    pub user: Vec<u8>,
    /// The password, which the gateway or the backend checks.
    pub password: Option<Password>,
    /// A public key, or a certificate, with a verified signature of the client.
    pub key: Option<Box<PresentedKey>>,
}

/// A password, wiped when dropped.
#[derive(Clone)]
pub struct Password {
    /// PASS, or the password of SSH; in bytes.
    pub password: Zeroizing<Vec<u8>>,
    /// ACCT (RFC 959 section 4.1.1), if the backend requires one.
    pub account: Option<Zeroizing<Vec<u8>>>,
    /// Whether a backend or a login hook has it and has not decided yet.
    pub sent: PasswordSent,
}

impl Proof {
    /// A password alone.
    pub fn password(user: Vec<u8>, password: Password) -> Self {
        Self { user, password: Some(password), key: None }
    }

    /// Nothing but the certificate of the TLS connection.
    pub fn certificate(user: Vec<u8>) -> Self {
        Self { user, password: None, key: None }
    }

    /// A key alone.
    pub fn public_key(user: Vec<u8>, key: PresentedKey) -> Self {
        Self { user, password: None, key: Some(Box::new(key)) }
    }

    /// The methods that it consists of.
    pub fn methods(&self) -> Methods {
        Methods { publickey: self.key.is_some(), password: self.password.is_some() }
    }

    /// Adds what `earlier` has and this does not, if both are of the same user.
    #[must_use]
    pub fn with(mut self, earlier: &Self) -> Self {
        if earlier.user == self.user {
            self.password = self.password.or_else(|| earlier.password.clone());
            self.key = self.key.or_else(|| earlier.key.clone());
        }
        self
    }
}

impl From<Zeroizing<Vec<u8>>> for Password {
    fn from(password: Zeroizing<Vec<u8>>) -> Self {
        Self { password, account: None, sent: PasswordSent::default() }
    }
}
