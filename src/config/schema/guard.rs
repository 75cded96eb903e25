//! The keys of `login_guard`.

use std::time::Duration;

use ipnet::IpNet;

use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::section;
use crate::config::values::{Positive, UpTo};

section! {
    /// Delays and bans after failed logins.
    LoginGuard {
        /// Failed logins of a client address (of the /64 of an IPv6 address) within find_time that ban it:
        /// from 1 to 100. Before, each one makes the next login wait longer, up to 5s. Default: 10.
        max_failures: Leaf<UpTo<100>>,
        /// How long a failed login counts. Default: 10m.
        find_time: Leaf<Positive>,
        /// How long connections of a banned address are refused. 0s: nobody is banned. Default: 15m.
        ban_time: Leaf<Duration>,
        /// Networks whose addresses are neither banned nor delayed. Those of `proxy_protocol` never are.
        /// Default: this machine's own (127.0.0.0/8 and ::1).
        never_ban: OneOrMore<IpNet>,
    }
    hints [
        "maxretry" => "write max_failures",
        "findtime" => "write find_time",
        "bantime" => "write ban_time",
        "ban_for" => "write ban_time",
        "ignoreip" => "write never_ban",
        "allow" => "write never_ban",
    ]
}
