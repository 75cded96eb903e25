//! Encodes headers of version 2.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::v2::{LOCAL, PROXY, SIGNATURE, TCP4, TCP6, UNSPEC};

/// A header of version 2 (section 2.2): the client `source` has connected to `destination`. Addresses of
/// different families are sent as IPv6.
pub fn encode(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(PROXY);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([TCP4, 0, 12]);
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            header.extend([TCP6, 0, 36]);
            header.extend(v6(from).octets());
            header.extend(v6(to).octets());
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

/// A header for a connection of the sender itself, such as a health check: the command LOCAL, without addresses.
pub fn encode_local() -> Vec<u8> {
    [&SIGNATURE[..], &[LOCAL, UNSPEC, 0, 0]].concat()
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
