//! Directory listings: MLSD if the server supports it (RFC 3659 section 7), else LIST (RFC 959) in
//! whatever format.

mod find;
mod omitted;
mod relative;
mod start;
mod times;

use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::ConnectionGuard;
use super::cache::{Cache, Snapshot};
use super::connection::Connection;
use super::refusals::OptionalCommand;
use crate::backend::Listing;
use crate::backend::ftp::{abort, data_connection};
use crate::net::Stream;
use crate::op::{Entry, Failure, FailureKind, PeerReply, RemotePath, Timestamp};
use crate::wire::ftp::line::LineBuffer;
use crate::wire::ftp::listing::{Parsed, parse_line};
pub(super) use find::{Found, find, is_not_a_folder, may_hide};
use omitted::Omitted;
pub(super) use relative::check_folder;
use start::{AllOption, Started, allow_empty, start_list, start_mlsd};

/// The longest line of a listing, in bytes: the longest path and its facts.
const MAX_LINE: usize = 8192;
/// The most entries in one batch.
const BATCH_SIZE: usize = 256;
/// For the lines of a listing whose last reply was received already.
const LATE_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// A listing. `C`: the control connection, held until the listing ends.
struct FtpListing<C: DerefMut<Target = Connection>> {
    guard: C,
    method: Method,
    state: State,
    lines: LineBuffer,
    line_end: Option<LineEnd>,
    content: Content,
    omitted: Omitted,
    memory: Option<Memory>,
    /// Times are requested once all lines are here.
    completes_times: bool,
}

/// The command of a listing.
enum Method {
    Mlsd,
    List {
        /// The argument after the options, if the server is not in the folder.
        argument: Option<Vec<u8>>,
        all: AllOption,
    },
}

/// How far a listing is. Dropped before its last reply was received, the connection is given up.
enum State {
    /// Lines are being received. `last_reply`: received in place of the first one.
    Receiving { stream: Stream, last_reply: Option<PeerReply> },
    /// All lines are here; the last reply is outstanding unless it was received early.
    LinesEnded { last_reply: Option<PeerReply> },
    /// Replies are outstanding that nothing can wait for any more.
    OutOfSync,
    /// The server has ended the listing.
    Done,
}

/// How lines end, as seen from the first one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Usual,
    /// CR CR LF.
    DoubledCr,
}

/// What the lines have shown so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    Nothing,
    /// Lines without an entry: a total, `.` and `..`.
    KnownLines,
    Entries,
}

/// Where entries are cached.
struct Memory {
    cache: Arc<Cache>,
    snapshot: Snapshot,
    folder: RemotePath,
}

/// `exact_times`: to the second, if the server has them.
pub(super) async fn open(
    guard: ConnectionGuard,
    cache: &Arc<Cache>,
    path: &RemotePath,
    exact_times: bool,
) -> Result<Box<dyn Listing>, Failure> {
    let (cache, snapshot) = (cache.clone(), cache.snapshot());
    let mut listing = FtpListing::start(guard, path, false).await?;
    listing.memory = Some(Memory { cache, snapshot, folder: path.clone() });
    listing.completes_times =
        exact_times && !listing.has_facts() && times::can_be_requested(&listing.guard);
    Ok(Box::new(listing))
}

impl<C: DerefMut<Target = Connection>> FtpListing<C> {
    /// `checked`: the folder is known to exist, which matters if the server cannot enter it.
    async fn start(mut guard: C, path: &RemotePath, checked: bool) -> Result<Self, Failure> {
        let (method, started) = match start_mlsd(&mut guard, path).await? {
            Some(started) => (Method::Mlsd, started),
            None => {
                let mut argument = None;
                if !guard.home.is_known() {
                    if !checked {
                        // Looks the folder up in a listing of its parent.
                        Box::pin(check_folder(&mut guard, path)).await?;
                    }
                    argument = relative::list_argument(path)?;
                }
                let (started, all) = start_list(&mut guard, path, argument.as_deref()).await?;
                (Method::List { argument, all }, started)
            }
        };
        Ok(Self {
            guard,
            method,
            state: State::of(started),
            lines: LineBuffer::binary(MAX_LINE),
            line_end: None,
            content: Content::Nothing,
            omitted: Omitted::default(),
            memory: None,
            completes_times: false,
        })
    }

    fn has_facts(&self) -> bool {
        matches!(self.method, Method::Mlsd)
    }

    async fn next_entries(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let mut entries = Vec::new();
        let now = Timestamp::now();
        loop {
            self.parse_lines(&mut entries, now);
            if !entries.is_empty() {
                if let Some(Memory { cache, snapshot, folder }) = &self.memory {
                    cache.put(*snapshot, folder.as_bytes(), &entries, self.has_facts());
                }
                return Ok(Some(entries));
            }
            if matches!(self.state, State::Done) {
                return Ok(None);
            }
            self.advance().await?;
        }
    }

    /// Parses the complete lines into entries.
    fn parse_lines(&mut self, entries: &mut Vec<Entry>, now: i64) {
        while entries.len() < BATCH_SIZE {
            let Some(line) = self.lines.next_line() else { return };
            let Ok(mut line) = line else {
                self.omitted.add_overlong();
                tracing::warn!("skipped a line of the backend's listing: it is too long");
                continue;
            };
            // Some servers end every line with CR CR LF; otherwise the name ends with CR.
            let ends_with_cr = line.ends_with(b"\r");
            let seen = if ends_with_cr { LineEnd::DoubledCr } else { LineEnd::Usual };
            if *self.line_end.get_or_insert(seen) == LineEnd::DoubledCr {
                while line.pop_if(|last| *last == b'\r').is_some() {}
            }
            match parse_line(&line, now) {
                // A header is expected before the first line only: later ones are those of subfolders.
                Parsed::Header if self.is_blank() => {}
                Parsed::Entry(entry) => {
                    self.content = Content::Entries;
                    self.guard.server.note_listing(&self.guard.settings, &line);
                    entries.push(entry);
                }
                Parsed::Ignored if line.is_empty() => {}
                Parsed::Ignored => self.content = self.content.max(Content::KnownLines),
                Parsed::NoName => {
                    self.content = self.content.max(Content::KnownLines);
                    self.omitted.add_minor(&line);
                    tracing::warn!(
                        line = &line[..],
                        "skipped a line of the backend's listing: its name is not a valid file name"
                    );
                }
                Parsed::Fragment => {
                    self.omitted.add_minor(&line);
                    tracing::warn!(
                        line = &line[..],
                        "skipped a line of the backend's listing: it is too short (a name may contain a line break)"
                    );
                }
                Parsed::Unreadable | Parsed::Header => {
                    self.omitted.add_unknown(&line);
                    tracing::warn!(
                        line = &line[..],
                        "skipped a line of the backend's listing: its format is unknown"
                    );
                }
            }
        }
    }

    /// Fails unless the looked-up name is known to be absent.
    fn check_absent(&self) -> Result<(), Failure> {
        self.omitted.check_absent(self.content == Content::Entries)
    }

    /// Whether no line so far has shown anything.
    fn is_blank(&self) -> bool {
        self.content == Content::Nothing && self.omitted.lines() == 0
    }

    /// Receives more bytes or, after the last one, the last reply.
    async fn advance(&mut self) -> Result<(), Failure> {
        let (stream, last_reply) = match &mut self.state {
            State::Receiving { stream, last_reply } => (stream, last_reply),
            State::LinesEnded { last_reply } => {
                // The state changes afterwards: until then an abort has a reply to receive.
                let last = match last_reply.take() {
                    Some(reply) => Ok(reply),
                    None => self.guard.end("listing").await,
                };
                self.state = State::Done;
                let last = last?;
                check_whole(&last)?;
                return self.repeat_without_all(last).await;
            }
            State::OutOfSync => return Err(self.guard.unavailable("the listing was cut")),
            State::Done => return Ok(()),
        };
        // On the heap: it would be part of the futures of all operations.
        let mut bytes = vec![0; 16 * 1024];
        let is_final = last_reply.is_some();
        let limit = if is_final { LATE_LINES_TIMEOUT } else { self.guard.settings.reply_timeout };
        let received = timeout(limit, stream.read(&mut bytes)).await;
        // A data connection without lines may never be accepted, or be reset.
        let is_empty = is_final && self.is_blank() && self.lines.is_empty();
        match received {
            Ok(Ok(n)) if n > 0 => self.lines.extend(&bytes[..n]),
            // A TLS end without close_notify is common; the last reply shows whether the listing is complete.
            Ok(Ok(_)) => self.end_lines(),
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => self.end_lines(),
            _ if is_empty => self.end_lines(),
            Ok(Err(e)) => return Err(self.fail(FailureKind::TransferCut, e).await),
            Err(_) => {
                return Err(self.fail(FailureKind::TimedOut, "no data was received in time").await);
            }
        }
        Ok(())
    }

    /// `LIST -a` shows at least `.`. A server that shows nothing or refuses it took `-a` for a name: it
    /// gets LIST without the option. If that shows nothing either, the folder may be empty.
    async fn repeat_without_all(&mut self, last_reply: PeerReply) -> Result<(), Failure> {
        let Method::List { argument, all } = &mut self.method else { return Ok(()) };
        let refusals = &self.guard.server.refusals;
        let shows_lines = self.content > Content::Nothing;
        match std::mem::replace(all, AllOption::NotSent) {
            AllOption::Sent if shows_lines => refusals.note_success(OptionalCommand::ListAll),
            AllOption::Sent if !refusals.has_worked(OptionalCommand::ListAll) => {
                *all = AllOption::Dropped(last_reply);
            }
            AllOption::Dropped(reply) if shows_lines => {
                refusals.note_refusal(OptionalCommand::ListAll, &reply);
            }
            _ => {}
        }
        if !matches!(all, AllOption::Dropped(_)) {
            return Ok(());
        }
        self.omitted.reset();
        self.state = State::OutOfSync;
        let started = data_connection::start(&mut self.guard, "LIST", argument.as_deref(), 0).await;
        let started = allow_empty(started).inspect_err(|_| self.state = State::Done)?;
        self.state = State::of(started);
        Ok(())
    }

    fn end_lines(&mut self) {
        if let State::Receiving { last_reply, .. } = &mut self.state {
            self.state = State::LinesEnded { last_reply: last_reply.take() };
        }
        // For a last line without a line end.
        self.lines.extend(b"\n");
    }

    /// The data connection failed before the end of the listing. The session continues.
    async fn fail(&mut self, kind: FailureKind, detail: impl std::fmt::Display) -> Failure {
        let reported = match std::mem::replace(&mut self.state, State::OutOfSync) {
            State::Receiving { stream, .. } => abort::abort(&mut self.guard, stream).await,
            _ => None,
        };
        self.state = State::Done;
        reported.unwrap_or_else(|| {
            let message = "the backend server's listing was cut before its end; try again";
            Failure::backend(kind, message).with_detail(detail)
        })
    }
}

impl State {
    fn of((stream, reply): Started) -> Self {
        let last_reply = (reply.code >= 200).then_some(reply);
        match stream {
            Some(stream) => {
                stream.close_on_drop();
                Self::Receiving { stream, last_reply }
            }
            None => Self::LinesEnded { last_reply },
        }
    }
}

impl FtpListing<ConnectionGuard> {
    /// All entries of a small folder with times to the second; the first entries of a large one as they
    /// are.
    async fn exact_entries(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let mut entries = Vec::new();
        while let Some(more) = self.next_entries().await? {
            entries.extend(more);
            if entries.len() > times::TIMED_FILES_MAX {
                return Ok(Some(entries));
            }
        }
        if let Some(Memory { cache, snapshot, folder }) = &self.memory {
            // The listing is complete without exact times, too.
            if times::complete_times(&mut self.guard, folder, &mut entries).await.is_ok() {
                cache.put(*snapshot, folder.as_bytes(), &entries, self.has_facts());
            }
        }
        Ok((!entries.is_empty()).then_some(entries))
    }
}

#[async_trait]
impl Listing for FtpListing<ConnectionGuard> {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let next = if std::mem::replace(&mut self.completes_times, false) {
            self.exact_entries().await?
        } else {
            self.next_entries().await?
        };
        if next.is_none() {
            self.omitted.check_complete(self.content == Content::Entries)?;
        }
        Ok(next)
    }

    async fn abort(mut self: Box<Self>) {
        match std::mem::replace(&mut self.state, State::OutOfSync) {
            State::Receiving { stream, last_reply: None } => {
                abort::abort(&mut self.guard, stream).await;
            }
            // Only the last reply is outstanding; it does not matter which it is.
            State::LinesEnded { last_reply: None } => drop(self.guard.end("listing").await),
            State::OutOfSync => return,
            State::Receiving { .. } | State::LinesEnded { .. } | State::Done => {}
        }
        self.state = State::Done;
    }
}

impl<C: DerefMut<Target = Connection>> Drop for FtpListing<C> {
    fn drop(&mut self) {
        match self.state {
            State::Receiving { last_reply: None, .. }
            | State::LinesEnded { last_reply: None }
            | State::OutOfSync => self.guard.give_up(),
            State::Receiving { .. } | State::LinesEnded { .. } | State::Done => {}
        }
    }
}

/// Some servers truncate listings at some number of entries, and note that in a success reply
/// (pure-ftpd: `226-Output truncated to 10000 matches`). Clients would take missing entries for deleted.
fn check_whole(last_reply: &PeerReply) -> Result<(), Failure> {
    let text = last_reply.lines.join(&b' ').to_ascii_lowercase();
    if !text.windows(9).any(|part| part == b"truncated") {
        return Ok(());
    }
    let message = "the backend server listed a part of the folder only; it has a limit";
    Err(Failure::backend(FailureKind::TransferCut, message).with_detail(last_reply))
}
