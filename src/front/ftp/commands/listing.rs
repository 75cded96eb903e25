//! LIST, NLST (RFC 959 section 4.1.3), MLSD (RFC 3659 section 7), STAT with a name.

use globset::{GlobBuilder, GlobMatcher};

use super::Outcome;
use super::transfer::{end_download, failure_of, open};
use crate::data::{Progress, RelayError, Sink, send};
use crate::front::ftp::client::{Client, Flow};
use crate::front::ftp::control::Cut;
use crate::front::ftp::data_connection::DataConnection;
use crate::net::tls::Direction;
use crate::op::{Entry, EntryKind, Failure, FailureKind, Fault, Timestamp};
use crate::session::FolderListing;
use crate::wire::ftp::listing::{FactSet, render_facts, render_ls};

/// The most lines of a STAT reply; a listing over the control connection is for small folders.
const MAX_STAT: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Long,
    Names,
    Facts,
}

/// What a listing command is about.
enum Subject {
    Folder {
        listing: FolderListing,
        only: Option<GlobMatcher>,
    },
    /// The one file that was named.
    File(Entry),
}

/// How entries become lines.
struct Format {
    shape: Shape,
    facts: FactSet,
    /// What the client wrote before the names: NLST's names can be used as they are.
    prefix: Vec<u8>,
    now: i64,
}

impl Client {
    pub(super) async fn list(&mut self, given: Option<Vec<u8>>, shape: Shape) -> Outcome {
        let given = given.unwrap_or_default();
        let asked = self.take_requested()?;
        let (mut subject, prefix) = self.subject(&given, shape).await?;
        self.answer(150, "here comes the listing").await;

        let format = Format { shape, facts: self.facts, prefix, now: Timestamp::now() };
        let limits = self.shared.gateway.limits.clone();
        let progress = Progress::default();
        let end = {
            let opening = open(&self.shared, &self.tls, self.private, asked, Direction::Download);
            let work = async {
                let DataConnection { mut stream, active: _active } = opening.await?;
                while let Some(lines) = subject.next_lines(&format).await? {
                    send(&mut stream, &lines, &progress, limits.stall_timeout)
                        .await
                        .map_err(broken)?;
                }
                Ok((stream, _active))
            };
            self.control.during(work, &progress, false, &self.shared.drain).await
        };
        let end = match end {
            Ok((stream, _active)) => {
                let gone = self.control.ended_without_quit().await;
                let ended = end_download(Sink::Socket(stream), gone, limits.stall_timeout).await;
                ended.map_err(Cut::Failed)
            }
            Err(cut) => Err(cut),
        };
        match end {
            Ok(()) => {
                subject.finish();
                self.answer(226, "listing complete").await;
                Ok(Flow::Continue)
            }
            Err(cut) => {
                let failure = failure_of(&cut);
                subject.abort(&failure).await;
                Ok(self.answer_cut(cut, &failure).await)
            }
        }
    }

    /// STAT with a name: the listing comes over the control connection.
    pub(super) async fn stat(&mut self, given: Option<Vec<u8>>) -> Outcome {
        let (mut subject, prefix) = self.subject(&given.unwrap_or_default(), Shape::Long).await?;
        let format =
            Format { shape: Shape::Long, facts: self.facts, prefix, now: Timestamp::now() };
        let mut lines = vec![b"Status:".to_vec()];
        loop {
            match subject.next_lines(&format).await {
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
            if lines.len() > MAX_STAT {
                let failure = Failure::new(
                    FailureKind::Unsupported,
                    Fault::Policy,
                    format!("the folder has more than {MAX_STAT} entries: use LIST or MLSD"),
                );
                subject.abort(&failure).await;
                return Err(failure);
            }
        }
        subject.finish();
        lines.push(b"End of status".to_vec());
        self.control.reply(213, &lines).await;
        Ok(Flow::Continue)
    }

    /// A folder, else the file of that name, else what fits a pattern in the last component.
    async fn subject(&mut self, given: &[u8], shape: Shape) -> Result<(Subject, Vec<u8>), Failure> {
        let path = self.path(given)?;
        let session = &self.logged_in()?.session;
        if shape == Shape::Facts {
            session.expect_exact_times();
        }
        let refusal = match session.list(path.clone()).await {
            Ok(listing) => {
                let prefix = match given {
                    b"" => vec![],
                    given if given.ends_with(b"/") => given.to_vec(),
                    given => [given, b"/"].concat(),
                };
                return Ok((Subject::Folder { listing, only: None }, prefix));
            }
            Err(failure) if shape == Shape::Facts || !may_be_a_file(&failure) => {
                return Err(failure);
            }
            Err(failure) => failure,
        };
        if let Ok(entry) = self.entry(path.clone()).await
            && entry.kind != EntryKind::Directory
        {
            // The line shows what the client asked for.
            let entry = Entry { name: given.to_vec(), ..entry };
            return Ok((Subject::File(entry), vec![]));
        }
        let cut = given.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let (folder, pattern) = given.split_at(cut);
        let (Some(only), Some(parent)) = (glob(pattern), path.parent()) else {
            return Err(refusal);
        };
        let listing = self.logged_in()?.session.list(parent).await.map_err(|_| refusal)?;
        Ok((Subject::Folder { listing, only: Some(only) }, folder.to_vec()))
    }
}

impl Subject {
    /// The next lines, never empty; `None` at the end.
    async fn next_lines(&mut self, format: &Format) -> Result<Option<Vec<u8>>, Failure> {
        let mut lines = Vec::new();
        match self {
            Subject::Folder { listing, only } => {
                while lines.is_empty() {
                    let Some(entries) = listing.next().await? else { return Ok(None) };
                    // Not for FTP: there are clients who would enter them.
                    let is_itself = |entry: &Entry| matches!(&entry.name[..], b"." | b"..");
                    let fits = |entry: &&Entry| {
                        !is_itself(entry)
                            && only.as_ref().is_none_or(|only| only.is_match(as_path(&entry.name)))
                    };
                    entries.iter().filter(fits).for_each(|entry| format.line(entry, &mut lines));
                }
            }
            Subject::File(entry) if entry.name.is_empty() => return Ok(None),
            Subject::File(entry) => {
                format.line(entry, &mut lines);
                entry.name.clear();
            }
        }
        Ok(Some(lines))
    }

    fn finish(self) {
        if let Subject::Folder { listing, .. } = self {
            listing.finish();
        }
    }

    async fn abort(self, failure: &Failure) {
        if let Subject::Folder { listing, .. } = self {
            listing.abort(failure).await;
        }
    }
}

impl Format {
    /// One line. A name that could forge another line is left out, and said so in the log.
    fn line(&self, entry: &Entry, lines: &mut Vec<u8>) {
        let shown = match self.shape {
            Shape::Long => render_ls(entry, self.now, lines),
            Shape::Facts => render_facts(entry, self.facts, lines),
            Shape::Names if entry.name.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) => false,
            Shape::Names => {
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
                "left out of a listing: the name cannot be carried over FTP"
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

/// The shell's wildcards, which `mget` and `ls *.txt` of clients leave to the server.
fn glob(pattern: &[u8]) -> Option<GlobMatcher> {
    let pattern = std::str::from_utf8(pattern).ok()?;
    if !pattern.contains(['*', '?', '[']) {
        return None;
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build().ok()?;
    Some(glob.compile_matcher())
}

fn as_path(name: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(name))
}

fn broken(error: RelayError) -> Failure {
    Failure::client(FailureKind::TransferCut, "the data connection to the client broke")
        .with_detail(error)
}
