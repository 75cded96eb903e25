//! LIST, NLST (RFC 959 section 4.1.3), MLSD (RFC 3659 section 7), STAT with a name.

use globset::{GlobBuilder, GlobMatcher};

use super::Outcome;
use super::transfer::{end_download, failure_of};
use crate::data::{Progress, RelayError, Sink, send};
use crate::front::ftp::client::Client;
use crate::front::ftp::client_state::Flow;
use crate::front::ftp::control::{Interruption, Phase};
use crate::front::ftp::data_connection::DataConnection;
use crate::front::ftp::reply::Reply;
use crate::op::{Entry, EntryKind, Failure, FailureKind, Fault, Timestamp, as_os_path};
use crate::session::DirectoryListing;
use crate::wire::ftp::listing::{FactSet, render_facts, render_ls};

/// Entries in a STAT reply: a listing over the control connection is for small directories.
const STAT_ENTRIES_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListingFormat {
    List,
    Nlst,
    Mlsd,
}

/// What a command lists.
enum Subject {
    Directory {
        listing: Box<DirectoryListing>,
        pattern: Option<GlobMatcher>,
    },
    /// The one file that was named.
    File(Entry),
}

/// Renders entries as lines.
struct Renderer {
    format: ListingFormat,
    facts: FactSet,
    /// The directory part of the client's argument: clients use the names of NLST as they are.
    prefix: Vec<u8>,
    now: i64,
}

impl Client {
    pub(super) async fn list(&mut self, given: Option<Vec<u8>>, format: ListingFormat) -> Outcome {
        let given = given.unwrap_or_default();
        let requested = self.take_requested()?;
        let subject = self.subject(&given, format).await;
        let (requested, (mut subject, prefix)) = requested.with(subject)?;
        let _transferring = self.transferring().await;
        self.reply(Reply::OPENING_LISTING).await;

        let renderer = Renderer { format, facts: self.facts, prefix, now: Timestamp::now() };
        let limits = self.shared.gateway.limits.clone();
        let progress = Progress::default();
        let end = match self.connect_download(requested, &progress).await {
            Err(interruption) => Err(interruption),
            Ok(DataConnection { mut stream, active }) => {
                let work = async {
                    while let Some(lines) = subject.next_lines(&renderer).await? {
                        send(&mut stream, &lines, &progress, limits.stall_timeout)
                            .await
                            .map_err(connection_broken)?;
                    }
                    Ok((stream, active))
                };
                let live = &self.client_info.live;
                self.control.run_transfer(work, &progress, Phase::Download, live).await
            }
        };
        let end = match end {
            Ok((stream, _active)) => {
                let disconnected = self.control.ended_without_quit().await;
                let ended =
                    end_download(Sink::Socket(stream), disconnected, limits.stall_timeout).await;
                ended.map(|sent| self.transfer.sent = sent).map_err(Interruption::Failed)
            }
            Err(interruption) => Err(interruption),
        };
        match end {
            Ok(()) => {
                subject.finish();
                self.reply(Reply::LISTING_COMPLETE).await;
                Ok(Flow::Continue)
            }
            Err(interruption) => {
                let failure = failure_of(&interruption);
                subject.abort(&failure).await;
                Ok(self.reply_interrupted(interruption, &failure).await)
            }
        }
    }

    /// STAT with a name: the listing comes over the control connection.
    pub(super) async fn stat(&mut self, given: Option<Vec<u8>>) -> Outcome {
        let (mut subject, prefix) =
            self.subject(&given.unwrap_or_default(), ListingFormat::List).await?;
        let renderer = Renderer {
            format: ListingFormat::List,
            facts: self.facts,
            prefix,
            now: Timestamp::now(),
        };
        let mut lines = vec![b"Status follows:".to_vec()];
        loop {
            match subject.next_lines(&renderer).await {
                Ok(Some(more)) => lines.extend(
                    more.split(|b| *b == b'\n')
                        .filter(|l| !l.is_empty())
                        .map(|line| [b" ", line.strip_suffix(b"\r").unwrap_or(line)].concat()),
                ),
                Ok(None) => break,
                Err(failure) => {
                    subject.abort(&failure).await;
                    return Err(failure);
                }
            }
            if lines.len() > STAT_ENTRIES_MAX {
                let failure = Failure::new(
                    FailureKind::Unsupported,
                    Fault::Policy,
                    format!(
                        "the directory has more than {STAT_ENTRIES_MAX} entries; use LIST or MLSD"
                    ),
                );
                subject.abort(&failure).await;
                return Err(failure);
            }
        }
        subject.finish();
        lines.push(b"End of status".to_vec());
        self.control.reply_lines(213, &lines).await;
        Ok(Flow::Continue)
    }

    /// The directory or file of that name, else the entries that match a pattern in the last
    /// component.
    async fn subject(
        &mut self,
        given: &[u8],
        format: ListingFormat,
    ) -> Result<(Subject, Vec<u8>), Failure> {
        let path = self.path(given)?;
        let session = &self.logged_in()?.session;
        if format == ListingFormat::Mlsd {
            session.expect_exact_times();
        }
        let refusal = match session.list(path.clone()).await {
            Ok(listing) => {
                let prefix = match given {
                    b"" => vec![],
                    given if given.ends_with(b"/") => given.to_vec(),
                    given => [given, b"/"].concat(),
                };
                return Ok((
                    Subject::Directory { listing: Box::new(listing), pattern: None },
                    prefix,
                ));
            }
            Err(failure) if format == ListingFormat::Mlsd || !may_be_a_file(&failure) => {
                return Err(failure);
            }
            Err(failure) => failure,
        };
        if let Ok(entry) = self.entry(path.clone()).await
            && entry.kind != EntryKind::Directory
        {
            // The line shows the name as the client gave it.
            let entry = Entry { name: given.to_vec(), ..entry };
            return Ok((Subject::File(entry), vec![]));
        }
        let start = given.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let (directory, pattern) = given.split_at(start);
        let (Some(matcher), Some(parent)) = (glob(pattern), path.parent()) else {
            return Err(refusal);
        };
        let listing = self.logged_in()?.session.list(parent).await.map_err(|_| refusal)?;
        let listing = Box::new(listing);
        Ok((Subject::Directory { listing, pattern: Some(matcher) }, directory.to_vec()))
    }
}

impl Subject {
    /// The next lines, never empty; `None` at the end.
    async fn next_lines(&mut self, renderer: &Renderer) -> Result<Option<Vec<u8>>, Failure> {
        let mut lines = Vec::new();
        match self {
            Subject::Directory { listing, pattern } => {
                while lines.is_empty() {
                    let Some(entries) = listing.next().await? else { return Ok(None) };
                    // Some FTP clients would descend into them.
                    let is_dot = |entry: &Entry| matches!(&entry.name[..], b"." | b"..");
                    let matches = |entry: &&Entry| {
                        !is_dot(entry)
                            && pattern
                                .as_ref()
                                .is_none_or(|it| it.is_match(as_os_path(&entry.name)))
                    };
                    entries
                        .iter()
                        .filter(matches)
                        .for_each(|entry| renderer.line(entry, &mut lines));
                }
            }
            Subject::File(entry) if entry.name.is_empty() => return Ok(None),
            Subject::File(entry) => {
                renderer.line(entry, &mut lines);
                entry.name.clear();
            }
        }
        Ok(Some(lines))
    }

    fn finish(self) {
        if let Subject::Directory { listing, .. } = self {
            listing.finish();
        }
    }

    async fn abort(self, failure: &Failure) {
        if let Subject::Directory { listing, .. } = self {
            listing.abort(failure).await;
        }
    }
}

impl Renderer {
    /// One line. A name that could forge another line is omitted and logged.
    fn line(&self, entry: &Entry, lines: &mut Vec<u8>) {
        let shown = match self.format {
            ListingFormat::List => render_ls(entry, self.now, lines),
            ListingFormat::Mlsd => render_facts(entry, self.facts, lines),
            ListingFormat::Nlst if entry.name.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) => {
                false
            }
            ListingFormat::Nlst => {
                lines.extend_from_slice(&self.prefix);
                lines.extend_from_slice(&entry.name);
                true
            }
        };
        if shown {
            lines.extend_from_slice(b"\r\n");
        } else {
            tracing::warn!(
                name = entry.name.as_slice(),
                "name omitted from a listing: FTP cannot carry it"
            );
        }
    }
}

fn may_be_a_file(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::NotFound
            | FailureKind::NotADirectory
            | FailureKind::InvalidArgument
            | FailureKind::PermissionDenied
            | FailureKind::Busy
    )
}

/// The shell's wildcards: clients send those of `mget` and `ls *.txt` to the server.
fn glob(pattern: &[u8]) -> Option<GlobMatcher> {
    let pattern = std::str::from_utf8(pattern).ok()?;
    if !pattern.contains(['*', '?', '[']) {
        return None;
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build().ok()?;
    Some(glob.compile_matcher())
}

fn connection_broken(error: RelayError) -> Failure {
    Failure::client(FailureKind::TransferCut, "the data connection to the client broke")
        .with_detail(error)
}
