//! Whether a listener could be opened at an address of this machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::net;

/// Whether an address can be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Availability {
    Free,
    /// Another socket listens there, or an outgoing connection uses the port.
    InUse,
    /// Not an address of this machine.
    NotLocal,
    /// This user may not bind it.
    Unknown,
}

pub(super) fn availability(address: SocketAddr) -> Availability {
    match net::bind(address) {
        Ok(_) => Availability::Free,
        Err(error) => of_error(address, &error),
    }
}

fn of_error(address: SocketAddr, error: &io::Error) -> Availability {
    let no_family = Errno::AFNOSUPPORT.raw_os_error();
    match error.kind() {
        io::ErrorKind::AddrInUse => Availability::InUse,
        io::ErrorKind::AddrNotAvailable => Availability::NotLocal,
        // A port below 1024, without privileges.
        io::ErrorKind::PermissionDenied if is_listened_on(address) => Availability::InUse,
        _ if error.raw_os_error() == Some(no_family) => Availability::NotLocal,
        _ => Availability::Unknown,
    }
}

/// According to the kernel's tables, which every user can read.
fn is_listened_on(address: SocketAddr) -> bool {
    static LISTENING: OnceLock<Vec<SocketAddr>> = OnceLock::new();
    let listening = LISTENING.get_or_init(|| {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
        tables.iter().flatten().flat_map(|table| listening(table)).collect()
    });
    listening.iter().any(|other| collide(address, *other))
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same
}

/// The listening sockets in `/proc/net/tcp` or `/proc/net/tcp6` (proc_net_tcp in the kernel's
/// documentation).
fn listening(table: &str) -> Vec<SocketAddr> {
    const LISTEN: &str = "0A";
    let row = |row: &str| {
        let mut columns = row.split_whitespace().skip(1);
        let (local, _, state) = (columns.next()?, columns.next()?, columns.next()?);
        let (address, port) = local.split_once(':').filter(|_| state == LISTEN)?;
        Some(SocketAddr::new(address_of(address)?, u16::from_str_radix(port, 16).ok()?))
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
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listeners_port_is_in_use_and_other_addresses_are_not_local() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(availability(address), Availability::InUse);
        // The wildcard includes it.
        assert_eq!(
            availability(SocketAddr::new("0.0.0.0".parse().unwrap(), address.port())),
            Availability::InUse
        );
        assert_eq!(availability("192.0.2.1:0".parse().unwrap()), Availability::NotLocal);
        assert_eq!(availability("127.0.0.1:0".parse().unwrap()), Availability::Free);
        // The check releases the port.
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(of_error(address, &refused), Availability::InUse);
        assert_eq!(of_error("192.0.2.1:1".parse().unwrap(), &refused), Availability::Unknown);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_parsed() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
             0: 0100007F:0015 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n\
             1: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000     0\n";
        assert_eq!(listening(table), ["127.0.0.1:21".parse().unwrap()]);
        let six = "  sl  local_address\n\
             0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0\n";
        assert_eq!(listening(six), ["[::1]:22".parse().unwrap()]);
        assert!(listening("").is_empty() && listening("\n0: x\n1: 0:0 0:0 0A\n").is_empty());
    }
}
