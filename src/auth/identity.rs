/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that was given, raw bytes.
    pub user: Vec<u8>,
    /// Groups of a user whom the gateway itself authenticated; empty for all others.
    pub groups: Vec<String>,
}
