//! Folders: MLSD where the server has it (RFC 3659 section 7), else LIST in whatever shape.

mod find;
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
use super::cache::{AskedAt, Cache};
use super::connection::Connection;
use super::refusals::Optional;
use crate::backend::Listing;
use crate::backend::ftp::{abort, data_connection};
use crate::net::Stream;
use crate::op::{Entry, Failure, FailureKind, PeerReply, RemotePath, Timestamp};
use crate::wire::ftp::line::LineBuffer;
use crate::wire::ftp::listing::{Parsed, parse_line};
pub(super) use find::{Found, find, is_no_folder, may_hide};
pub(super) use relative::check_folder;
use start::{Trial, may_be_empty, start_facts, start_list};

/// The longest line of a listing, in bytes: a name of the longest path and its facts.
const MAX_LINE: usize = 8192;
/// Entries of one batch.
const BATCH: usize = 256;
/// For the lines of a listing whose last reply is there already.
const NOTICE: Duration = Duration::from_secs(1);

/// `C`: the control connection, held as long as the listing lasts.
struct FtpListing<C: DerefMut<Target = Connection>> {
    guard: C,
    /// What LIST is told beside `-a`, where the server does not stand in the folder.
    argument: Option<Vec<u8>>,
    /// Whether this is LIST with `-a`, and whether the server has taken that is not known yet.
    trial: Trial,
    /// All lines so far have ended with CR CR LF; `None` before the first.
    doubled_cr: Option<bool>,
    /// `None` once the server has closed it.
    stream: Option<Stream>,
    facts: bool,
    lines: LineBuffer,
    /// Whether any line was understood, `.` and `..` too.
    any: bool,
    left_out: LeftOut,
    /// Whether there was an entry.
    named: bool,
    /// The last reply, where it came instead of the first.
    said: Option<PeerReply>,
    /// The data connection has ended, the last reply is still to come.
    ending: bool,
    /// Nothing of it is under way at the server. Dropped before that, the connection is given up.
    done: bool,
    memory: Option<Memory>,
    /// Times are to be asked for, once all lines are there.
    inexact: bool,
}

/// Lines that are given to nobody.
#[derive(Default)]
struct LeftOut {
    /// Of no known shape: nobody knows what they name.
    unknown: usize,
    /// That do not matter among entries: they name what nobody can ask for, a path at some servers, or
    /// are pieces of a name with a line end in it.
    minor: usize,
    /// What is looked for.
    wanted: Option<Vec<u8>>,
    /// One of them may be about it.
    suspect: bool,
}

/// Where the entries are remembered for a while.
struct Memory {
    cache: Arc<Cache>,
    asked: AskedAt,
    folder: RemotePath,
}

/// `exact_times`: to the second, where the server tells them.
pub(super) async fn open(
    guard: ConnectionGuard,
    cache: &Arc<Cache>,
    path: &RemotePath,
    exact_times: bool,
) -> Result<Box<dyn Listing>, Failure> {
    let (cache, asked) = (cache.clone(), cache.asked());
    let mut listing = FtpListing::begin(guard, path, false).await?;
    listing.memory = Some(Memory { cache, asked, folder: path.clone() });
    listing.inexact = exact_times && !listing.facts && times::can_be_asked(&listing.guard);
    Ok(Box::new(listing))
}

impl<C: DerefMut<Target = Connection>> FtpListing<C> {
    /// `checked`: that there is such a folder is known, where the server cannot enter it.
    async fn begin(mut guard: C, path: &RemotePath, checked: bool) -> Result<Self, Failure> {
        let facts = start_facts(&mut guard, path).await?;
        let is_facts = facts.is_some();
        let (argument, (begun, trial)) = match facts {
            Some(begun) => (None, (begun, Trial::No)),
            None => {
                let mut argument = None;
                if !guard.home.is_known() {
                    if !checked {
                        // It looks the folder up in a listing of its own.
                        Box::pin(check_folder(&mut guard, path)).await?;
                    }
                    argument = relative::list_argument(path)?;
                }
                let begun = start_list(&mut guard, path, argument.as_deref()).await?;
                (argument, begun)
            }
        };
        let mut listing = Self {
            guard,
            argument,
            trial,
            doubled_cr: None,
            stream: None,
            facts: is_facts,
            lines: LineBuffer::binary(MAX_LINE),
            any: false,
            left_out: LeftOut::default(),
            named: false,
            said: None,
            ending: false,
            done: false,
            memory: None,
            inexact: false,
        };
        listing.go_on(begun);
        Ok(listing)
    }

    fn go_on(&mut self, (stream, words): (Option<Stream>, PeerReply)) {
        self.said = (words.code >= 200).then_some(words);
        self.stream = stream.inspect(Stream::close_on_drop);
    }

    async fn next_entries(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let mut entries = Vec::new();
        let now = Timestamp::now();
        loop {
            self.take(&mut entries, now);
            if !entries.is_empty() {
                if let Some(Memory { cache, asked, folder }) = &self.memory {
                    cache.put(*asked, folder.as_bytes(), &entries, self.facts);
                }
                return Ok(Some(entries));
            }
            if self.done {
                return Ok(None);
            }
            self.receive().await?;
        }
    }

    /// Entries out of the lines that are there.
    fn take(&mut self, entries: &mut Vec<Entry>, now: i64) {
        while entries.len() < BATCH {
            let Some(line) = self.lines.next_line() else { return };
            let Ok(mut line) = line else {
                self.left_out.unknown += 1;
                self.left_out.suspect = true;
                tracing::warn!("an overlong line of the backend's listing was left out");
                continue;
            };
            // Some servers end every line with CR CR LF; otherwise that is a name that ends with CR.
            let doubled = line.ends_with(b"\r");
            if *self.doubled_cr.get_or_insert(doubled) {
                while line.pop_if(|last| *last == b'\r').is_some() {}
            }
            match parse_line(&line, now) {
                // Over the first lines only: under a later one is what is in another folder.
                Parsed::Header if self.is_blank_so_far() => {}
                Parsed::Entry(entry) => {
                    (self.any, self.named) = (true, true);
                    entries.push(entry);
                }
                Parsed::Ignored => self.any |= !line.is_empty(),
                Parsed::NoName => {
                    self.any = true;
                    self.left_out.minor += 1;
                    self.left_out.look_at(&line);
                    tracing::warn!(
                        line = &line[..],
                        "a line of the backend's listing names no file that there can be and was left out"
                    );
                }
                Parsed::Fragment => {
                    self.left_out.minor += 1;
                    self.left_out.look_at(&line);
                    tracing::warn!(
                        line = &line[..],
                        "a line of the backend's listing is too short to be one (a name may have a line end in it) and was left out"
                    );
                }
                Parsed::Unreadable | Parsed::Header => {
                    self.left_out.unknown += 1;
                    self.left_out.look_at(&line);
                    tracing::warn!(
                        line = &line[..],
                        "a line of the backend's listing is of no known shape and was left out"
                    );
                }
            }
        }
    }

    /// A name that was left out would be taken for deleted.
    fn understood(&self) -> Result<(), Failure> {
        understood(if self.named { self.left_out.unknown } else { self.left_out.lines() })
    }

    /// What is wanted, and was left out, would be taken for free to be written to.
    fn understood_for_wanted(&self) -> Result<(), Failure> {
        if self.named && !self.left_out.suspect {
            Ok(())
        } else {
            understood(self.left_out.lines())
        }
    }

    /// More bytes; at the end, what the server says about the listing.
    async fn receive(&mut self) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else {
            // Done only when it has been said: until then an abort has a reply to take.
            let said = match self.said.take() {
                Some(said) => Ok(said),
                None => self.guard.end("listing").await,
            };
            (self.ending, self.done) = (false, true);
            let said = said?;
            whole(&said)?;
            return self.again_without_all(said).await;
        };
        let mut bytes = [0; 16 * 1024];
        let limit = match self.said {
            None => self.guard.settings.reply_timeout,
            Some(_) => NOTICE,
        };
        let received = timeout(limit, stream.read(&mut bytes)).await;
        // Nobody comes to a data connection without lines: it is never taken, or reset.
        let nothing = self.said.is_some() && self.is_blank_so_far() && self.lines.is_empty();
        match received {
            Ok(Ok(n)) if n > 0 => self.lines.extend(&bytes[..n]),
            // A TLS end without close_notify is common; whether all came, the last reply says.
            Ok(Ok(_)) => self.end(),
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => self.end(),
            _ if nothing => self.end(),
            Ok(Err(e)) => return Err(self.broken(FailureKind::TransferCut, e).await),
            Err(_) => return Err(self.broken(FailureKind::TimedOut, "nothing came in time").await),
        }
        Ok(())
    }

    /// No line that says anything was taken yet.
    fn is_blank_so_far(&self) -> bool {
        !self.any && self.left_out.lines() == 0
    }

    /// `ls -a` shows at least `.`: a server that showed nothing, or complains, took `-a` for a name. Where
    /// the folder is empty without it too, nothing is known.
    async fn again_without_all(&mut self, said: PeerReply) -> Result<(), Failure> {
        let refusals = &self.guard.server.refusals;
        match std::mem::replace(&mut self.trial, Trial::No) {
            Trial::All if self.any => refusals.worked(Optional::ListAll),
            Trial::All if !refusals.has_worked(Optional::ListAll) => {
                self.trial = Trial::Without(said)
            }
            Trial::Without(answer) if self.any => refusals.add(Optional::ListAll, &answer),
            _ => {}
        }
        if !matches!(self.trial, Trial::Without(_)) {
            return Ok(());
        }
        self.left_out = LeftOut { wanted: self.left_out.wanted.take(), ..LeftOut::default() };
        // Cut in here, nobody would know what was said.
        self.done = false;
        let argument = self.argument.as_deref();
        let started = data_connection::start(&mut self.guard, "LIST", argument, 0).await;
        let started = may_be_empty(started);
        self.done = started.is_err();
        self.go_on(started?);
        Ok(())
    }

    fn end(&mut self) {
        self.stream = None;
        self.ending = self.said.is_none();
        // A last line without its end.
        self.lines.extend(b"\n");
    }

    /// The lines ended before the listing did. The session goes on.
    async fn broken(&mut self, kind: FailureKind, detail: impl std::fmt::Display) -> Failure {
        let told = match self.stream.take() {
            Some(stream) => abort::abort(&mut self.guard, stream).await,
            None => None,
        };
        self.done = true;
        told.unwrap_or_else(|| {
            let message = "the backend server's listing was cut before its end; try again";
            Failure::backend(kind, message).with_detail(detail)
        })
    }
}

impl LeftOut {
    fn lines(&self) -> usize {
        self.unknown + self.minor
    }

    /// Whether it may be about what is looked for; servers may not tell large and small letters apart.
    fn look_at(&mut self, line: &[u8]) {
        let Some(wanted) = self.wanted.as_deref().filter(|wanted| !wanted.is_empty()) else {
            return;
        };
        let mut places = line.windows(wanted.len());
        self.suspect |= places.any(|place| place.eq_ignore_ascii_case(wanted));
    }
}

impl FtpListing<ConnectionGuard> {
    /// All entries of a small folder, with times to the second; of a large one, the first as they are.
    async fn exact_entries(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let mut entries = Vec::new();
        while let Some(more) = self.next_entries().await? {
            entries.extend(more);
            if entries.len() > times::FILES_MAX {
                return Ok(Some(entries));
            }
        }
        if let Some(Memory { cache, asked, folder }) = &self.memory {
            // Without, what is listed is whole all the same.
            if times::complete(&mut self.guard, folder, &mut entries).await.is_ok() {
                cache.put(*asked, folder.as_bytes(), &entries, self.facts);
            }
        }
        Ok((!entries.is_empty()).then_some(entries))
    }
}

#[async_trait]
impl Listing for FtpListing<ConnectionGuard> {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        let next = if std::mem::replace(&mut self.inexact, false) {
            self.exact_entries().await
        } else {
            self.next_entries().await
        };
        match next {
            Ok(None) => self.understood().map(|()| None),
            next => next,
        }
    }

    async fn abort(mut self: Box<Self>) {
        if self.done {
            return;
        }
        match self.stream.take() {
            _ if self.said.is_some() => {}
            Some(stream) => drop(abort::abort(&mut self.guard, stream).await),
            // All came, and only the last reply is missing; whatever it is, it is taken.
            None if self.ending => drop(self.guard.end("listing").await),
            None => return,
        }
        self.done = true;
    }
}

impl<C: DerefMut<Target = Connection>> Drop for FtpListing<C> {
    fn drop(&mut self) {
        if !self.done && self.said.is_none() {
            self.guard.give_up();
        }
    }
}

/// Some servers end a listing at so many entries, and say so in a reply that is none of failure
/// (pure-ftpd: `226-Output truncated to 10000 matches`). What is missing would be taken for deleted.
fn whole(said: &PeerReply) -> Result<(), Failure> {
    let text = said.lines.join(&b' ').to_ascii_lowercase();
    if text.windows(9).any(|word| word == b"truncated") {
        let message = "the backend server did not list the whole folder; it has a limit";
        Err(Failure::backend(FailureKind::TransferCut, message).with_detail(said))
    } else {
        Ok(())
    }
}

fn understood(left_out: usize) -> Result<(), Failure> {
    match left_out {
        0 => Ok(()),
        lines => Err(Failure::backend(
            FailureKind::TransferCut,
            format!(
                "what is in the folder is not known for sure; lines of the backend server's listing \
                 that are of no known shape: {lines} (the gateway's log shows them)"
            ),
        )),
    }
}
