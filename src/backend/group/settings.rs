//! The settings of backends and their servers.

use std::time::Duration;

use crate::auth::Credentials;

/// A backend of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The backend's name in the configuration.
    pub name: String,
    /// The names of its servers, in the order of the configuration.
    pub servers: Vec<String>,
    /// Which server a session gets (`choose`).
    pub choice: Choice,
}

/// Which server a session gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The first that is available, in the order of the configuration.
    #[default]
    Failover,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest sessions of this gateway.
    LeastSessions,
    /// The same for each user, as long as it is available.
    User,
    /// The same for each client address, as long as it is available.
    Source,
}

/// One of the servers that the configuration names.
#[derive(Clone)]
pub struct ServerSettings {
    /// The backend's name; of several addresses of one backend, with the address ("stock/10.0.0.7:21").
    pub name: String,
    /// The most sessions of this gateway at once (`sessions`). `None`: no limit.
    pub sessions_max: Option<usize>,
    /// How it is checked (`health`). `None`: only while it is down, and always tried.
    pub checks: Option<Checks>,
}

/// How a server is checked (`health`).
#[derive(Clone)]
pub struct Checks {
    /// From the end of one check to the next.
    pub every: Duration,
    /// For a whole check.
    pub timeout: Duration,
    /// Logs in with this account and lists its folder. `None`: without a login.
    pub login: Option<Credentials>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), timeout: Duration::from_secs(5), login: None }
    }
}
