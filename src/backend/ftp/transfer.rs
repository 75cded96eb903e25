//! Downloads: RETR (RFC 959 section 4.1.3).

use async_trait::async_trait;

use super::ConnectionGuard;
use super::{abort, data_connection};
use crate::backend::ReadTransfer;
use crate::data::Source;
use crate::net::Stream;
use crate::op::{Failure, PeerReply, ReadFile, RemotePath, Representation};

pub(super) struct FtpRead {
    guard: ConnectionGuard,
    /// `None` once the transfer was ended or aborted.
    source: Option<Source>,
    closed_source: Source,
    expected: Option<u64>,
}

pub(super) async fn open(
    guard: ConnectionGuard,
    action: &ReadFile,
) -> Result<Box<dyn ReadTransfer>, Failure> {
    let ReadFile { path, offset, representation } = action;
    Ok(Box::new(start(guard, path, *offset, *representation).await?))
}

pub(super) async fn start(
    mut guard: ConnectionGuard,
    path: &RemotePath,
    offset: u64,
    representation: Representation,
) -> Result<FtpRead, Failure> {
    guard.set_type(representation).await?;
    let name = guard.name(path)?;
    let (stream, preliminary) =
        data_connection::start(&mut guard, "RETR", Some(&name), offset).await?;
    // Of a part, some servers tell the size of the whole file.
    let is_whole = offset == 0 && representation == Representation::Image;
    let expected = is_whole.then(|| announced_bytes(&preliminary)).flatten();
    let mut read = FtpRead::new(guard, stream);
    read.expected = expected;
    Ok(read)
}

/// The size in a reply such as "150 Opening BINARY mode data connection for a.zip (123 bytes)", of most
/// servers.
fn announced_bytes(preliminary: &PeerReply) -> Option<u64> {
    let line = preliminary.lines.last()?.trim_ascii_end();
    let line = line.strip_suffix(b".").unwrap_or(line).strip_suffix(b" bytes)")?;
    let start = line.iter().rposition(|b| *b == b'(')?;
    std::str::from_utf8(&line[start + 1..]).ok()?.parse().ok()
}

#[async_trait]
impl ReadTransfer for FtpRead {
    fn source(&mut self) -> &mut Source {
        self.source.as_mut().unwrap_or(&mut self.closed_source)
    }

    fn expected_bytes(&self) -> Option<u64> {
        self.expected
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.source = None;
        self.guard.end("RETR").await.map(Some)
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        match self.source.take() {
            Some(Source::Socket(stream)) => abort::abort(&mut self.guard, stream).await,
            _ => None,
        }
    }
}

impl FtpRead {
    /// A download that has started.
    pub(super) fn new(guard: ConnectionGuard, stream: Stream) -> Self {
        // The server's reply decides whether the download is complete; an orderly close does no harm.
        stream.close_on_drop();
        let closed_source = Source::Reader(Box::new(tokio::io::empty()));
        Self { guard, source: Some(Source::Socket(stream)), closed_source, expected: None }
    }

    pub(super) fn connection(&self) -> &ConnectionGuard {
        &self.guard
    }
}

impl Drop for FtpRead {
    fn drop(&mut self) {
        if self.source.is_some() {
            self.guard.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_file_is_read_from_replies_of_known_servers() {
        for (line, expected) in [
            ("Opening BINARY mode data connection for a (b).zip (123 bytes).", Some(123)),
            ("Opening BINARY mode data connection for a.zip (0 bytes)", Some(0)),
            ("Opening BINARY mode data connection for (7 bytes) ", Some(7)),
            ("Opening data connection for (12 bytes).zip", None),
            ("(-1 bytes)", None),
            ("(99999999999999999999999 bytes)", None),
            ("1234.5 kbytes to download", None),
            ("", None),
        ] {
            let reply = PeerReply { code: 150, lines: vec![b"x (5 bytes)".into(), line.into()] };
            assert_eq!(announced_bytes(&reply), expected, "{line}");
        }
    }
}
