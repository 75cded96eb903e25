//! The properties of this machine that a configuration is checked against, besides the files that it names.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::op::Timestamp;

mod availability;
mod names;

pub(super) use availability::Availability;
pub(super) use names::Names;

/// The machine, or a simulated one in tests.
pub(super) struct Machine {
    /// The gateway runs here. Otherwise its configuration is only checked, maybe on another machine, which
    /// may lack what the gateway's machine has.
    pub runs_here: bool,
    /// An environment variable; `None` if it is absent or not UTF-8.
    pub variable: fn(&str) -> Option<String>,
    /// The ports that the kernel uses for outgoing connections; `None` if unknown.
    pub ephemeral: Option<RangeInclusive<u16>>,
    /// Those of them that the kernel does not use.
    pub reserved: Vec<RangeInclusive<u16>>,
    /// Seconds since the epoch.
    pub now: i64,
    /// The most file descriptors of a process; `None`: unlimited.
    pub descriptors: Option<u64>,
    /// Whether a packet to the address stays on this machine.
    pub is_own: fn(IpAddr) -> bool,
    /// Whether an address can be listened on. Not used where the gateway runs: binding shows it.
    pub availability: fn(SocketAddr) -> Availability,
    /// Looks up names, all at once. Not used where the gateway runs, to start without delay.
    pub resolve: fn(&[String]) -> Names,
}

impl Machine {
    pub(super) fn local(runs_here: bool) -> Self {
        let setting = |name: &str| {
            let path = Path::new("/proc/sys/net/ipv4").join(name);
            std::fs::read_to_string(path).unwrap_or_default()
        };
        Self {
            runs_here,
            variable: |name| std::env::var(name).ok(),
            ephemeral: first_and_last(&setting("ip_local_port_range")),
            reserved: list(&setting("ip_local_reserved_ports")),
            now: Timestamp::now(),
            descriptors: getrlimit(Resource::Nofile).maximum,
            is_own,
            availability: availability::availability,
            resolve: names::resolve,
        }
    }

    /// The first port of the range that an outgoing connection may take.
    pub(super) fn first_ephemeral(&self, ports: &RangeInclusive<u16>) -> Option<u16> {
        let ephemeral = self.ephemeral.as_ref()?;
        let free = |port: &u16| !self.reserved.iter().any(|range| range.contains(port));
        ports.clone().find(|port| ephemeral.contains(port) && free(port))
    }
}

/// To one of its own addresses the kernel sends from that same address. Connecting a UDP socket sends
/// nothing.
fn is_own(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
        IpAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    let from = || {
        let socket = UdpSocket::bind(any)?;
        // The port does not matter.
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    address.is_loopback() || from().is_ok_and(|from| from.ip() == address)
}

/// First and last, separated by blanks.
fn first_and_last(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (numbers.next(), numbers.next()) else { return None };
    Some(first..=last)
}

/// `50000-50099,8080`.
fn list(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_recognized() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(is_own("127.9.9.9".parse().unwrap()));
        // RFC 5737 and RFC 3849: for documentation only.
        assert!(!is_own("192.0.2.1".parse().unwrap()));
        assert!(!is_own("2001:db8::1".parse().unwrap()));
        if let Some(own) = (|| {
            let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
            socket.connect("198.51.100.1:9").ok()?;
            Some(socket.local_addr().ok()?.ip())
        })() {
            assert!(is_own(own), "{own}");
        }
    }

    #[test]
    fn the_kernels_port_ranges_are_parsed() {
        assert_eq!(first_and_last("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(first_and_last(""), None);
        assert_eq!(list("50000-50099,8080\n"), [50000..=50099, 8080..=8080]);
        assert!(list("\n").is_empty());
        let here = Machine {
            ephemeral: Some(32768..=60999),
            reserved: vec![50000..=50049],
            ..Machine::local(true)
        };
        assert_eq!(here.first_ephemeral(&(50000..=50049)), None);
        assert_eq!(here.first_ephemeral(&(50000..=50099)), Some(50050));
        assert_eq!(here.first_ephemeral(&(61000..=65535)), None);
        assert!(Machine::local(true).ephemeral.is_some());
    }
}
