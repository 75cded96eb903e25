//! Folders: MLSD where the server has it (RFC 3659 section 7), else LIST in whatever shape.

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::connection::Connection;
use super::{Turn, channel, reply, transfer};
use crate::backend::Listing;
use crate::net::Stream;
use crate::op::{Entry, Failure, FailureKind, RemotePath, Representation, Timestamp};
use crate::wire::ftp::line::LineBuffer;
use crate::wire::ftp::listing::{Parsed, parse_line};

/// The longest line of a listing, in bytes: a name of the longest path and its facts.
const MAX_LINE: usize = 8192;
/// Entries of one batch.
const BATCH: usize = 256;

struct FtpListing {
    turn: Turn,
    /// `None` once the server has closed it.
    stream: Option<Stream>,
    lines: LineBuffer,
    done: bool,
}

pub(super) async fn open(mut turn: Turn, path: &RemotePath) -> Result<Box<dyn Listing>, Failure> {
    let facts = turn.features.mlst;
    let (stream, _) = start(&mut turn, path, facts).await?;
    let lines = LineBuffer::binary(MAX_LINE);
    Ok(Box::new(FtpListing { turn, stream: Some(stream), lines, done: false }))
}

async fn start(
    connection: &mut Connection,
    path: &RemotePath,
    facts: bool,
) -> Result<(Stream, crate::op::Words), Failure> {
    if facts {
        return channel::start(connection, "MLSD", Some(path.as_bytes()), 0).await;
    }
    // From inside the folder: servers differ in what LIST does with spaces, brackets and dashes.
    connection.be_in(path).await?;
    connection.set_type(Representation::Ascii).await?;
    channel::start(connection, "LIST", None, 0).await
}

impl FtpListing {
    /// Entries out of the lines that are there.
    fn take(&mut self, entries: &mut Vec<Entry>, now: i64) {
        while entries.len() < BATCH {
            let Some(line) = self.lines.next_line() else { return };
            let Ok(line) = line else {
                tracing::warn!("an overlong line of the backend's listing was left out");
                continue;
            };
            match parse_line(&line, now) {
                Parsed::Entry(entry) => entries.push(entry),
                Parsed::Ignored => {}
                Parsed::Unreadable => {
                    tracing::warn!(line = %line.escape_ascii(), "a line of the backend's listing is of no known shape and was left out");
                }
            }
        }
    }

    /// More bytes; at the end, what the server says about the listing.
    async fn receive(&mut self) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else {
            self.done = true;
            self.turn.reply(2, "listing").await?;
            return Ok(());
        };
        let mut bytes = [0; 16 * 1024];
        let limit = self.turn.settings.reply_timeout;
        match timeout(limit, stream.read(&mut bytes)).await {
            Ok(Ok(n)) if n > 0 => self.lines.extend(&bytes[..n]),
            // A TLS end without close_notify is common; whether all came, the last reply says.
            Ok(Ok(_)) => self.end(),
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => self.end(),
            Ok(Err(e)) => return Err(self.broken(e)),
            Err(_) => return Err(self.broken("nothing came in time")),
        }
        Ok(())
    }

    fn end(&mut self) {
        self.stream = None;
        // A last line without its end.
        self.lines.extend(b"\n");
    }

    fn broken(&mut self, detail: impl std::fmt::Display) -> Failure {
        self.turn.give_up();
        self.done = true;
        reply::unavailable(format!("reading a listing: {detail}"))
    }
}

#[async_trait]
impl Listing for FtpListing {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let mut entries = Vec::new();
        let now = Timestamp::now();
        loop {
            self.take(&mut entries, now);
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
            if self.done {
                return Ok(None);
            }
            self.receive().await?;
        }
    }

    async fn abort(mut self: Box<Self>) {
        if let Some(stream) = self.stream.take() {
            self.done = true;
            transfer::abort(&mut self.turn, stream).await;
        }
    }
}

impl Drop for FtpListing {
    fn drop(&mut self) {
        if !self.done {
            self.turn.give_up();
        }
    }
}

/// What a path is, on a server without MLST: its line in the folder above.
pub(super) async fn find(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<Entry>, Failure> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
    let (mut stream, _) = start(connection, &parent, false).await?;
    let (mut lines, mut found, now) = (LineBuffer::binary(MAX_LINE), None, Timestamp::now());
    let limit = connection.settings.reply_timeout;
    let mut bytes = [0; 16 * 1024];
    loop {
        let n = match timeout(limit, stream.read(&mut bytes)).await {
            Ok(Ok(n)) => n,
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            Ok(Err(e)) => return connection.noted(Err(reply::unavailable(e))),
            Err(_) => return connection.noted(Err(reply::unavailable("a listing stopped"))),
        };
        lines.extend(if n == 0 { b"\n" } else { &bytes[..n] });
        while let Some(line) = lines.next_line() {
            if let Ok(Parsed::Entry(entry)) = line.map(|line| parse_line(&line, now))
                && entry.name == name
            {
                found = Some(entry);
            }
        }
        if n == 0 {
            break;
        }
    }
    drop(stream);
    connection.reply(2, "listing").await?;
    Ok(found)
}

/// What a failed CWD before a listing is to the client: the folder is not there.
pub(super) fn is_no_folder(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::NotFound | FailureKind::NotADirectory)
}
