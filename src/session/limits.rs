//! The limits of the configuration.

use std::time::Duration;

/// The limits and timeouts of the gateway (`limits`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in all; further ones are refused.
    pub sessions: usize,
    /// Sessions of one client address; further ones are refused.
    pub sessions_per_address: usize,
    /// Failed logins in one session before it is closed.
    pub login_attempts: u32,
    /// From accept to a successful login.
    pub login_timeout: Duration,
    /// Without a command, not counting transfers.
    pub idle_timeout: Duration,
    /// For a data connection to be established, TLS included.
    pub data_connect_timeout: Duration,
    /// Without a byte transferred.
    pub stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_address: 50,
            login_attempts: 3,
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            data_connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(120),
        }
    }
}
