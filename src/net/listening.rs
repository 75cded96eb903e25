//! The listening sockets of this machine, according to the kernel's tables, which every user can read.

use std::net::{IpAddr, SocketAddr};

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListeningSocket {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its number, as in `/proc/PID/fd`.
    pub inode: u64,
}

/// All of them, in this network namespace.
pub fn listening_sockets() -> Vec<ListeningSocket> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    tables.iter().flatten().flat_map(|table| of_table(table)).collect()
}

impl ListeningSocket {
    /// Whether another socket cannot listen at `address` because of this one.
    pub fn occupies(&self, address: SocketAddr) -> bool {
        let own = self.address;
        let same =
            own.ip() == address.ip() || own.ip().is_unspecified() || address.ip().is_unspecified();
        own.port() == address.port() && own.is_ipv4() == address.is_ipv4() && same
    }
}

/// Rows of `/proc/net/tcp` or `/proc/net/tcp6` (proc_net_tcp in the kernel's documentation).
fn of_table(table: &str) -> Vec<ListeningSocket> {
    const LISTEN: &str = "0A";
    let row = |row: &str| {
        let columns: Vec<_> = row.split_whitespace().collect();
        let (local, state) = (columns.get(1)?, columns.get(3)?);
        let (address, port) = local.split_once(':').filter(|_| *state == LISTEN)?;
        let inode = columns.get(9).and_then(|inode| inode.parse().ok()).unwrap_or(0);
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(ListeningSocket { address: SocketAddr::new(address_of(address)?, port), inode })
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Words of 32 bits in the machine's byte order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_parsed() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
             0: 0100007F:0015 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             1: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        let address = "127.0.0.1:21".parse().unwrap();
        assert_eq!(of_table(table), [ListeningSocket { address, inode: 4711 }]);
        let six = "  sl  local_address\n\
             0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0\n";
        let address = "[::1]:22".parse().unwrap();
        assert_eq!(of_table(six), [ListeningSocket { address, inode: 0 }]);
        assert!(of_table("").is_empty() && of_table("\n0: x\n1: 0:0 0:0 0A\n").is_empty());
    }

    #[test]
    fn a_wildcard_occupies_every_address_of_its_family() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let socket = |text| ListeningSocket { address: at(text), inode: 1 };
        assert!(socket("0.0.0.0:21").occupies(at("10.0.0.1:21")));
        assert!(socket("10.0.0.1:21").occupies(at("0.0.0.0:21")));
        assert!(!socket("10.0.0.1:21").occupies(at("10.0.0.2:21")));
        assert!(!socket("0.0.0.0:21").occupies(at("[::1]:21")));
        assert!(!socket("0.0.0.0:21").occupies(at("10.0.0.1:22")));
    }

    #[test]
    fn an_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = listening_sockets().into_iter().find(|socket| socket.address == address);
        assert!(found.is_some_and(|socket| socket.inode != 0));
    }
}
