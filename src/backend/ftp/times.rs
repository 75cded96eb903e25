//! How a file's time is set: MFMT (draft-somers-ftp-mfxx), MDTM with a time before the name (vsftpd,
//! IIS, Serv-U), or SITE UTIME in one of its two forms. FEAT tells the first at most, and a 2xx
//! reply does not mean that anything was done: what a server takes is tried, and checked once by
//! reading the time back.

use super::connection::Connection;
use super::refusals::{OptionalCommand, is_unknown};
use super::time_commands::{Support, TimeCommand, TimeCommands};
use super::{facts, failures, reply, stat};
use crate::backend::temporary_name;
use crate::op::{Failure, FailureKind, PeerReply, Precision, RemotePath};
use crate::wire::ftp::time::{format_time, parse_time};

/// How far a time that was set may be from what was wanted, in seconds: FAT knows even ones only.
const ROUNDING_MAX: u64 = 2;
/// Zones differ by multiples of a quarter of an hour, in seconds.
const ZONE_STEP: u64 = 15 * 60;
/// Between any two of them, in seconds.
const ZONE_OFFSET_MAX: u64 = 26 * 3600;

/// That the server has no way.
pub(super) fn unsupported() -> Failure {
    failures::unsupported("the backend server cannot set a file's time").with_detail(
        "neither MFMT, MDTM with a time nor SITE UTIME does it; `unsupported_attributes: ignore` on the \
         backend tells clients that it was done",
    )
}

fn folder_unsupported() -> Failure {
    failures::unsupported("the backend server cannot set a folder's time")
}

pub(super) fn format(seconds: i64) -> Result<String, Failure> {
    format_time(seconds).ok_or_else(|| {
        let message = "the time is out of the range that FTP can tell: the years 0 to 9999";
        Failure::client(FailureKind::InvalidArgument, message)
    })
}

/// `seconds` since 1970-01-01 00:00:00 UTC.
pub(super) async fn set(
    connection: &mut Connection,
    path: &RemotePath,
    seconds: i64,
) -> Result<PeerReply, Failure> {
    set_time(connection, path, seconds, true).await
}

/// As [`set`], of a file that is being written, whose time changes by itself: what the server says is
/// not checked, and only its refusals are remembered.
pub(super) async fn set_while_writing(
    connection: &mut Connection,
    path: &RemotePath,
    seconds: i64,
) -> Result<PeerReply, Failure> {
    set_time(connection, path, seconds, false).await
}

async fn set_time(
    connection: &mut Connection,
    path: &RemotePath,
    seconds: i64,
    verify: bool,
) -> Result<PeerReply, Failure> {
    let (time, name) = (format(seconds)?, connection.name(path)?);
    let server = connection.server.clone();
    match server.time_commands.support() {
        Some(Support::None) => return Err(unsupported()),
        Some(Support::Works(command)) => {
            let (verb, argument) = command.build(&time, &name);
            let reply = connection.command(verb, Some(&argument)).await?;
            if !is_unknown(reply.code) {
                let set = connection.check_reply(2, verb, Some(&argument), reply);
                return match set {
                    Err(refusal)
                        if command == TimeCommand::Mdtm && reply::is_unspecific(&refusal) =>
                    {
                        Err(explain_refusal(connection, path, refusal).await?)
                    }
                    set => set,
                };
            }
            // It did once.
            server.time_commands.set_support(None);
        }
        None => {}
    }
    Probe { path, name, time, seconds, verify }.run(connection).await
}

/// vsftpd sets the times of files only, and does not say why not.
async fn explain_refusal(
    connection: &mut Connection,
    path: &RemotePath,
    refusal: Failure,
) -> Result<Failure, Failure> {
    let folder = stat::can_enter(connection, path).await?;
    Ok(if folder { folder_unsupported() } else { refusal })
}

/// A file's time, as the server tells it.
enum FileTime {
    At(i64),
    /// It tells none of this file's.
    Unknown,
}

/// Which way works, found out on the file whose time is to be set.
struct Probe<'a> {
    path: &'a RemotePath,
    name: Vec<u8>,
    time: String,
    seconds: i64,
    /// Nobody writes to it, as far as is known.
    verify: bool,
}

/// What became of a way that was tried.
enum Outcome {
    Set(PeerReply),
    /// The server does not have it.
    NotSupported,
    /// It says that it did it, but did not.
    NotApplied,
    /// Refused, or the time is another one then; whether for this file only is not known.
    Unclear,
}

impl Probe<'_> {
    async fn run(&self, connection: &mut Connection) -> Result<PeerReply, Failure> {
        let mut before = match self.read(connection).await? {
            Ok(time) => time,
            Err(refusal) => {
                let folder = stat::can_enter(connection, self.path).await?;
                if !folder {
                    return Err(refusal);
                }
                FileTime::Unknown
            }
        };
        let (mut unclear, mut folder_only) = (false, false);
        for command in TimeCommand::ALL {
            // A server that tells no time by MDTM sets none by it, and a refusal would mean nothing.
            if command == TimeCommand::Mdtm && !matches!(before, FileTime::At(_)) {
                folder_only |= connection.features.mdtm;
                continue;
            }
            match self.try_command(connection, command, &mut before).await? {
                Outcome::Set(reply) => return Ok(reply),
                Outcome::NotSupported => {}
                Outcome::NotApplied => {
                    let TimeCommands { backend, server, .. } = &connection.server.time_commands;
                    tracing::warn!(
                        backend = &**backend,
                        %server,
                        "the backend server says that it has set a file's time by {}, and has not; that is not used",
                        command.name()
                    );
                }
                Outcome::Unclear => unclear = true,
            }
        }
        if folder_only {
            return Err(folder_unsupported());
        }
        if !unclear {
            connection.server.time_commands.set_support(Some(Support::None));
        }
        Err(unsupported())
    }

    async fn try_command(
        &self,
        connection: &mut Connection,
        command: TimeCommand,
        before: &mut FileTime,
    ) -> Result<Outcome, Failure> {
        let (verb, argument) = command.build(&self.time, &self.name);
        let reply = connection.command(verb, Some(&argument)).await?;
        if is_unknown(reply.code) || reply.code == 501 || reply.code == 202 {
            return Ok(Outcome::NotSupported);
        }
        let reply = match connection.check_reply(2, verb, Some(&argument), reply) {
            Ok(reply) => reply,
            Err(refusal) => return self.refused(connection, command, before, refusal).await,
        };
        let FileTime::At(was) = *before else { return Ok(Outcome::Set(reply)) };
        if !self.verify {
            return Ok(Outcome::Set(reply));
        }
        let Ok(FileTime::At(is)) = self.read(connection).await? else {
            return Ok(Outcome::Set(reply));
        };
        let rounded = is != was && is.abs_diff(self.seconds) <= ROUNDING_MAX;
        if is != self.seconds && !rounded {
            *before = FileTime::At(is);
            // Somebody else may have written to it; a clock's zone shows itself.
            let off = is.abs_diff(self.seconds);
            let by_zone = off % ZONE_STEP == 0 && off <= ZONE_OFFSET_MAX;
            return Ok(if is == was || by_zone { Outcome::NotApplied } else { Outcome::Unclear });
        }
        // What it had already shows nothing.
        if is != was {
            connection.server.time_commands.set_support(Some(Support::Works(command)));
        }
        Ok(Outcome::Set(reply))
    }

    /// The file is there: its time was read.
    async fn refused(
        &self,
        connection: &mut Connection,
        command: TimeCommand,
        before: &FileTime,
        refusal: Failure,
    ) -> Result<Outcome, Failure> {
        connection.check()?;
        match command {
            // Its own words about the file.
            _ if refusal.kind != FailureKind::NotFound => Err(refusal),
            TimeCommand::Mfmt => Err(refusal),
            TimeCommand::Mdtm => match reply::is_unspecific(&refusal) {
                // The name with the time before it was looked for.
                false => Ok(Outcome::NotSupported),
                true => {
                    if self.is_name_lookup(connection, &refusal).await? {
                        Ok(Outcome::NotSupported)
                    } else {
                        Err(refusal)
                    }
                }
            },
            // The time was taken for a name, or the name for a time.
            TimeCommand::SiteUtime | TimeCommand::SiteUtimeUtc
                if matches!(before, FileTime::At(_)) =>
            {
                Ok(Outcome::Unclear)
            }
            TimeCommand::SiteUtime | TimeCommand::SiteUtimeUtc => Err(refusal),
        }
    }

    /// Whether the server says the same of a name that surely is not there: then it looked for one. What
    /// cannot set times by MDTM is told so from a file whose time must not be set.
    async fn is_name_lookup(
        &self,
        connection: &mut Connection,
        refusal: &Failure,
    ) -> Result<bool, Failure> {
        let nothing = connection.name(&temporary_name(self.path)?)?;
        let reply = connection.command("MDTM", Some(&nothing)).await?;
        let Some(refused) = &refusal.peer else { return Ok(false) };
        let (_, set) = TimeCommand::Mdtm.build(&self.time, &self.name);
        Ok(reply.code == refused.code
            && without_name(&reply, &nothing) == without_name(refused, &set))
    }

    /// What the server tells of the file's time, or its refusal.
    async fn read(
        &self,
        connection: &mut Connection,
    ) -> Result<Result<FileTime, Failure>, Failure> {
        match facts::stat_by_mlst(connection, self.path).await {
            Ok(None) => {}
            Ok(Some(entry)) => {
                let exact = entry.attributes.modified;
                let exact = exact.filter(|time| time.precision == Precision::Second);
                return Ok(Ok(exact.map_or(FileTime::Unknown, |time| FileTime::At(time.seconds))));
            }
            Err(refusal) => {
                connection.check()?;
                return Ok(Err(refusal));
            }
        }
        if !connection.supports(OptionalCommand::Mdtm) {
            return Ok(Ok(FileTime::Unknown));
        }
        let reply = connection.command("MDTM", Some(&self.name)).await?;
        if is_unknown(reply.code) {
            return Ok(Ok(FileTime::Unknown));
        }
        let time = connection.check_reply(2, "MDTM", Some(&self.name), reply);
        connection.check()?;
        Ok(time.map(|reply| {
            let time = parse_time(reply.lines.concat().trim_ascii());
            time.map_or(FileTime::Unknown, FileTime::At)
        }))
    }
}

/// The text without a name that it repeats.
fn without_name(reply: &PeerReply, name: &[u8]) -> Vec<u8> {
    let text = reply.lines.join(&b'\n');
    let at = text.windows(name.len()).position(|window| window == name);
    match at {
        Some(at) if !name.is_empty() => [&text[..at], &text[at + name.len()..]].concat(),
        _ => text,
    }
}
