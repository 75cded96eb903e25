use std::sync::Arc;

use russh::keys::PrivateKey;
use zeroize::Zeroizing;

/// What a user gives to get in; wiped when dropped.
#[derive(Clone)]
pub struct Credentials {
    pub user: Vec<u8>,
    pub password: Zeroizing<Vec<u8>>,
    /// ACCT, where a backend asked for one.
    pub account: Option<Zeroizing<Vec<u8>>>,
    /// A private key of the gateway's, for backends that take one instead of the password.
    pub key: Option<Arc<PrivateKey>>,
}
