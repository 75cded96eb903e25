//! Credentials of a login.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russh::keys::{Certificate, PrivateKey};
use zeroize::Zeroizing;

/// A user's credentials; the password is wiped when dropped.
#[derive(Clone)]
pub struct Credentials {
    /// The user name in bytes: the client's, or that of the gateway's account (`login.user`).
    pub user: Vec<u8>,
    /// Its password in bytes; empty and unused where `key` is set.
    pub password: Zeroizing<Vec<u8>>,
    /// ACCT, if the backend requires one.
    pub account: Option<Zeroizing<Vec<u8>>>,
    /// Whether the password has been sent.
    pub sent: PasswordSent,
    /// A private key of the gateway, instead of the password.
    pub key: Option<LoginKey>,
}

/// A private key of the gateway for a login, which is wiped when dropped.
#[derive(Clone)]
pub struct LoginKey {
    /// The key that signs.
    pub key: Arc<PrivateKey>,
    /// Its certificate, if the server trusts the authority and not the key.
    pub certificate: Option<Arc<Certificate>>,
}

impl From<PrivateKey> for LoginKey {
    fn from(key: PrivateKey) -> Self {
        Self { key: Arc::new(key), certificate: None }
    }
}

/// Whether somebody else than the gateway has a client's password, and so decides about it: from then on the
/// login is a guess, whatever becomes of the connection.
#[derive(Debug, Clone, Default)]
pub struct PasswordSent(Arc<AtomicBool>);

impl PasswordSent {
    /// Called before the password is sent.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Called once it was accepted.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether nobody has decided yet.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
