//! The PROXY protocol: what a load balancer says first on a connection about whom it stands for
//! (haproxy.org, "The PROXY protocol, versions 1 & 2", proxy-protocol.txt).

mod encode;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::net::SocketAddr;

pub use encode::encode;

/// The longest header of version 1, in bytes (section 2.1).
pub const MAX_V1: usize = 107;
/// The longest header of version 2 that is taken, in bytes: 16, and 2048 for addresses and TLVs.
/// Proxies that describe a client's certificate send some hundreds.
pub const MAX_V2: usize = 16 + 2048;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Version 2's LOCAL: the proxy's own, a health check.
    Local,
    /// Somebody's, of whom the proxy says nothing that is an address of TCP: the connection's own
    /// addresses count.
    Unknown,
    /// IPv4-mapped addresses are IPv4 here.
    Proxied {
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
}

/// A header, and how many bytes it takes up. What is behind them is not the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    pub header: Header,
    pub length: usize,
}

/// Why bytes are no header. Nothing that was sent is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("it does not begin with a PROXY protocol header")]
    Signature,
    #[error("the header is no proper line of version 1")]
    Line,
    #[error("the header is longer than {MAX_V1} bytes in version 1, or {MAX_V2} in version 2")]
    TooLong,
    #[error("the header has an unknown version or command")]
    Command,
    #[error("the header has an unknown address family")]
    Family,
    #[error("the header is too short for its addresses")]
    TooShort,
}

/// The header that `bytes` begin with. `None`: it goes on, and all of `bytes` belongs to it. Never
/// asks for more than [`MAX_V2`] bytes.
pub fn decode(bytes: &[u8]) -> Result<Option<Decoded>, HeaderError> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(a, b)| a == b);
    if begins(v2::SIGNATURE) {
        v2::decode(bytes)
    } else if begins(v1::SIGNATURE) {
        v1::decode(bytes)
    } else {
        Err(HeaderError::Signature)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
