//! The settings of the guard (`login_guard`).

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

/// When sources are delayed and banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSettings {
    /// Failed logins of a source within `find_time` that ban it.
    pub max_failures: u32,
    /// How long a failed login counts.
    pub find_time: Duration,
    /// How long a source is banned; zero: never.
    pub ban_time: Duration,
    /// Networks whose addresses are never banned, nor delayed except by user: `login_guard.never_ban`, and
    /// the proxies of listeners.
    pub exempt: Vec<IpNet>,
    /// The longest delay of a login: 5 s, or less where the login must be done sooner.
    pub delay_max: Duration,
}

impl GuardSettings {
    /// The default of `login_guard.never_ban`: programs of this machine, such as a proxy without the PROXY
    /// protocol.
    pub fn loopback() -> [IpNet; 2] {
        use std::net::{Ipv4Addr, Ipv6Addr};
        let v4 = IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8);
        [v4, IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128)]
    }

    pub(super) fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(&address))
    }
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            max_failures: 10,
            find_time: Duration::from_secs(600),
            ban_time: Duration::from_secs(900),
            exempt: Self::loopback().to_vec(),
            delay_max: super::DELAY_MAX,
        }
    }
}
