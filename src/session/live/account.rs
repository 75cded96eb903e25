//! The user of an open session.

use crate::net::Peer;

/// Whom a session belongs to, as far as its login has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveAccount {
    /// In bytes: the name of the login, or what a login hook has made of it.
    pub user: Vec<u8>,
    /// The name of the login, if the user is another.
    pub login_name: Option<Vec<u8>>,
    /// Groups of a user whom the gateway authenticated; empty before the login has succeeded.
    pub groups: Vec<String>,
    /// `password`, `publickey`, both separated by a comma, `certificate` or `anonymous`.
    pub method: String,
    /// The index in `routes`; `None`: none matches.
    pub route: Option<usize>,
    /// The backend's name in the configuration; empty without a route.
    pub backend: String,
    /// The backend's server, once the login there has succeeded.
    pub server: Option<Peer>,
}
