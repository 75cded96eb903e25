//! The identity of a logged-in user.

/// A logged-in user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of the login, raw bytes.
    pub user: Vec<u8>,
    /// Groups of a user whom the gateway authenticated; empty for all others.
    pub groups: Vec<String>,
}
