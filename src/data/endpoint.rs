use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::Stream;

/// Where a relay takes bytes from.
pub enum Source {
    /// A data connection; spliced when the other side is one too and both are plain.
    Socket(Stream),
    /// Anything else that yields the file's bytes: a local file, a translation.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// Where a relay puts bytes.
pub enum Sink {
    Socket(Stream),
    Writer(Box<dyn AsyncWrite + Send + Unpin>),
}
