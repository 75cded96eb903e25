//! The two ends of a relay.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::net::Stream;

/// What a relay reads from.
pub enum Source {
    /// A data connection; spliced when the other side is one too and both are plain.
    Socket(Stream),
    /// Anything else that yields the file's bytes: a local file, a translation.
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// What a relay writes to.
pub enum Sink {
    /// A data connection; spliced when the other side is one too and both are plain.
    Socket(Stream),
    /// Anything else that takes the file's bytes: a local file, a translation.
    Writer(Box<dyn AsyncWrite + Send + Unpin>),
}

impl Sink {
    /// All bytes are written.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(stream) => stream.shutdown().await,
            Self::Writer(writer) => writer.shutdown().await,
        }
    }
}
