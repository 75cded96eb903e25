//! The keys of `limits` and `drain`.

use std::time::Duration;

use crate::config::leaf::Leaf;
use crate::config::read::section;
use crate::config::values::*;

section! {
    /// Limits and timeouts.
    Limits {
        /// The most sessions. Default: 10000.
        sessions: Leaf<Count>,
        /// The most sessions of one client address. Default: 50.
        sessions_per_address: Leaf<Count>,
        /// Failed logins before a session is closed. Default: 3.
        login_attempts: Leaf<Count>,
        /// From the connection to a successful login. Default: 60s.
        login_timeout: Leaf<Positive>,
        /// Without a command and without a transfer. Default: 5m.
        idle_timeout: Leaf<Positive>,
        /// For opening a data connection, including TLS. Default: 30s.
        data_connect_timeout: Leaf<Positive>,
        /// Without a byte in a transfer. Default: 2m.
        stall_timeout: Leaf<Positive>,
        /// The older name of `drain.timeout`.
        drain_timeout: Leaf<Duration>,
    }
}

section! {
    /// The end of the gateway: SIGTERM, SIGINT or `lockgate drain`.
    Drain {
        /// New sessions are still accepted for so long, while `/ready` answers 503: load balancers learn late
        /// that the gateway ends. 0s where nothing sends clients elsewhere. Default: 5s.
        accept_for: Leaf<Duration>,
        /// After that, for running transfers; 0s aborts them at once. Default: 30s.
        timeout: Leaf<Duration>,
    }
}
