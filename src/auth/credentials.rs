//! Credentials of a login.

use std::sync::Arc;

use russh::keys::PrivateKey;
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
    /// A private key of the gateway, instead of the password.
    pub key: Option<Arc<PrivateKey>>,
}
