//! Whether a listener could be opened at an address of this machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::net;

/// What a listener would find there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Place {
    Free,
    /// Somebody listens there, or an outgoing connection has the port.
    Taken,
    /// No address of this machine.
    NotHere,
    /// The kernel does not tell this user.
    Unknown,
}

pub(super) fn place(address: SocketAddr) -> Place {
    match net::bind(address) {
        Ok(_) => Place::Free,
        Err(error) => of_error(address, &error),
    }
}

fn of_error(address: SocketAddr, error: &io::Error) -> Place {
    let no_family = Errno::AFNOSUPPORT.raw_os_error();
    match error.kind() {
        io::ErrorKind::AddrInUse => Place::Taken,
        io::ErrorKind::AddrNotAvailable => Place::NotHere,
        // A port below 1024, asked for by somebody else than root.
        io::ErrorKind::PermissionDenied if is_listened_on(address) => Place::Taken,
        _ if error.raw_os_error() == Some(no_family) => Place::NotHere,
        _ => Place::Unknown,
    }
}

/// By the kernel's tables, which everybody can read.
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

/// The listening sockets of `/proc/net/tcp` or `/proc/net/tcp6`: proc_net_tcp in the kernel's
/// documentation.
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

/// Words of 32 bits in the machine's own order.
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
    fn a_listener_takes_its_port_and_no_other_machines_address_is_here() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(place(address), Place::Taken);
        // Everywhere is there, too.
        assert_eq!(
            place(SocketAddr::new("0.0.0.0".parse().unwrap(), address.port())),
            Place::Taken
        );
        assert_eq!(place("192.0.2.1:0".parse().unwrap()), Place::NotHere);
        assert_eq!(place("127.0.0.1:0".parse().unwrap()), Place::Free);
        // To look takes nothing away.
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(of_error(address, &refused), Place::Taken);
        assert_eq!(of_error("192.0.2.1:1".parse().unwrap(), &refused), Place::Unknown);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_understood() {
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
