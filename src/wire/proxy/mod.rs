//! The PROXY protocol: a load balancer sends the client's address at the start of each connection
//! (haproxy.org, "The PROXY protocol, versions 1 & 2", proxy-protocol.txt).

mod encode;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::net::SocketAddr;

pub use encode::{encode, encode_local};

/// The longest header of version 1, in bytes (section 2.1).
pub const MAX_V1_HEADER: usize = 107;
/// The longest header of version 2 that is accepted, in bytes: 16, and 2048 for addresses and TLVs.
/// Proxies that describe a client's certificate send some hundreds.
pub const MAX_V2_HEADER: usize = 16 + 2048;

/// The owner of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Version 2's LOCAL: the proxy's own, a health check.
    Local,
    /// A client's, without TCP addresses: those of the connection apply.
    Unknown,
    /// IPv4-mapped addresses are converted to IPv4.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
}

/// A header and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// The decoded header.
    pub header: Header,
    /// Its length in bytes, up to [`MAX_V2_HEADER`]; the client's own bytes follow.
    pub length: usize,
}

/// Why a header is invalid. Does not repeat what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first bytes are neither `PROXY ` nor the signature of version 2 (sections 2.1 and 2.2).
    #[error("it does not start with a PROXY protocol header")]
    Signature,
    /// Version 1: the line does not have the syntax of section 2.1.
    #[error("the line of version 1 is malformed")]
    Line,
    /// Version 1: no line end within [`MAX_V1_HEADER`] bytes; version 2: a length above [`MAX_V2_HEADER`].
    #[error(
        "the header is longer than {MAX_V1_HEADER} bytes in version 1, or {MAX_V2_HEADER} in version 2"
    )]
    TooLong,
    /// Version 2: the byte of version and command is neither 0x20 (LOCAL) nor 0x21 (PROXY).
    #[error("the header has an unknown version or command")]
    Command,
    /// Version 2: the byte of address family and transport is not one of section 2.2.
    #[error("the header has an unknown address family")]
    Family,
    /// Version 2: the length is less than the address family needs.
    #[error("the header is too short for its addresses")]
    TooShort,
}

/// Decodes the header at the start of `bytes`. `None`: it is incomplete, and all of `bytes` belongs to
/// it. Never needs more than [`MAX_V2_HEADER`] bytes.
pub fn decode(bytes: &[u8]) -> Result<Option<Decoded>, HeaderError> {
    let starts_with = |signature: &[u8]| bytes.iter().zip(signature).all(|(a, b)| a == b);
    if starts_with(v2::SIGNATURE) {
        v2::decode(bytes)
    } else if starts_with(v1::SIGNATURE) {
        v1::decode(bytes)
    } else {
        Err(HeaderError::Signature)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
