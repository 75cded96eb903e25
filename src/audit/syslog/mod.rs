//! Syslog: messages of RFC 5424, over TCP (RFC 5425, RFC 6587) or a Unix socket.

mod connection;
mod header;

pub(super) use connection::Connection;
pub(super) use header::Header;
