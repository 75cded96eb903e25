//! Whether a listener could be opened at an address of this machine.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::net::{self, ListeningSocket};

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

/// According to the kernel's tables.
fn is_listened_on(address: SocketAddr) -> bool {
    static LISTENING: OnceLock<Vec<ListeningSocket>> = OnceLock::new();
    LISTENING.get_or_init(net::listening_sockets).iter().any(|other| other.occupies(address))
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
}
