//! Credentials of a login.

use std::sync::Arc;

use russh::keys::PrivateKey;
use zeroize::Zeroizing;

/// A user's credentials; the password is wiped when dropped.
#[derive(Clone)]
pub struct Credentials {
    pub user: Vec<u8>,
    pub password: Zeroizing<Vec<u8>>,
    /// ACCT, if the backend requires one.
    pub account: Option<Zeroizing<Vec<u8>>>,
    /// A private key of the gateway, instead of the password.
    pub key: Option<Arc<PrivateKey>>,
}
