//! What a client presents at a login.

use russh::keys::PublicKey;
use zeroize::Zeroizing;

/// A user name, and what the client presents to prove that it is this user.
pub struct Proof {
    /// The user name in bytes, as the client sent it.
    pub user: Vec<u8>,
    /// The password, which the gateway or the backend checks.
    pub password: Option<Password>,
    /// A public key with a verified signature of the client.
    pub key: Option<Box<PublicKey>>,
}

/// A password, wiped when dropped.
#[derive(Clone)]
pub struct Password {
    /// PASS, or the password of SSH; in bytes.
    pub password: Zeroizing<Vec<u8>>,
    /// ACCT (RFC 959 section 4.1.1), if the backend requires one.
    pub account: Option<Zeroizing<Vec<u8>>>,
}

impl Proof {
    /// A password alone.
    pub fn password(user: Vec<u8>, password: Password) -> Self {
        Self { user, password: Some(password), key: None }
    }

    /// A key alone.
    pub fn public_key(user: Vec<u8>, key: PublicKey) -> Self {
        Self { user, password: None, key: Some(Box::new(key)) }
    }
}

impl From<Zeroizing<Vec<u8>>> for Password {
    fn from(password: Zeroizing<Vec<u8>>) -> Self {
        Self { password, account: None }
    }
}
