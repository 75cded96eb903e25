//! Sets a file's time: by MFMT (draft-somers-ftp-mfxx), MDTM with a time before the name (vsftpd,
//! IIS, Serv-U), or SITE UTIME in one of two forms. FEAT announces MFMT at most, and a 2xx reply
//! does not prove that the time was set. So the commands are tried in turn, and verified once by
//! reading the time back.

use super::connection::Connection;
use super::refusals::{OptionalCommand, is_unknown};
use super::time_commands::{Support, TimeCommand};
use super::{facts, failures, reply, stat};
use crate::backend::temporary_name;
use crate::op::{Failure, FailureKind, PeerReply, Precision, RemotePath};
use crate::wire::ftp::time::{format_time, parse_time};

/// The most seconds by which servers round a time: FAT stores even seconds only.
const ROUNDING_SECONDS_MAX: u64 = 2;
/// Time zones differ by multiples of a quarter of an hour, in seconds.
const ZONE_STEP: u64 = 15 * 60;
/// The largest difference between two time zones, in seconds.
const ZONE_OFFSET_MAX: u64 = 26 * 3600;

/// The failure if no command works.
pub(super) fn unsupported() -> Failure {
    failures::unsupported("the backend server cannot set a file's time").with_detail(
        "neither MFMT, MDTM with a time nor SITE UTIME works; `unsupported_attributes: ignore` on the \
         backend reports success to clients",
    )
}

fn folder_unsupported() -> Failure {
    failures::unsupported("the backend server cannot set a folder's time")
}

pub(super) fn format(seconds: i64) -> Result<String, Failure> {
    format_time(seconds).ok_or_else(|| {
        let message = "FTP cannot represent the time: the range is the years 0 to 9999";
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

/// As [`set`], for a file that is being written, whose time changes by itself: success is not
/// verified, and only refusals are remembered.
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
            // The command has stopped working.
            server.time_commands.set_support(None);
        }
        None => {}
    }
    Probe { path, name, time, seconds, verify }.run(connection).await
}

/// vsftpd sets the times of files only, and gives no reason.
async fn explain_refusal(
    connection: &mut Connection,
    path: &RemotePath,
    refusal: Failure,
) -> Result<Failure, Failure> {
    let folder = stat::can_enter(connection, path).await?;
    Ok(if folder { folder_unsupported() } else { refusal })
}

/// The time of a file, as reported by the server.
enum FileTime {
    At(i64),
    /// Not reported for this file.
    Unknown,
}

/// Finds the command that works, by setting the time of this file.
struct Probe<'a> {
    path: &'a RemotePath,
    name: Vec<u8>,
    time: String,
    seconds: i64,
    /// The file is not being written: success can be verified.
    verify: bool,
}

/// The outcome of a command.
enum Outcome {
    Set(PeerReply),
    /// The server does not support it.
    NotSupported,
    /// The server confirmed it, but the time is unchanged.
    NotApplied,
    /// Refused, or the time is different; possibly for this file only.
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
            // A server that does not report times by MDTM does not set them by it, and its refusal
            // would mean nothing.
            if command == TimeCommand::Mdtm && !matches!(before, FileTime::At(_)) {
                folder_only |= connection.features.mdtm;
                continue;
            }
            match self.try_command(connection, command, &mut before).await? {
                Outcome::Set(reply) => return Ok(reply),
                Outcome::NotSupported => {}
                Outcome::NotApplied => {
                    let server = connection.server.address;
                    tracing::warn!(
                        %server,
                        "the backend server confirmed {} without setting the file's time; it is not used",
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
        let rounded = is != was && is.abs_diff(self.seconds) <= ROUNDING_SECONDS_MAX;
        if is != self.seconds && !rounded {
            *before = FileTime::At(is);
            // Another client may have written to it; a time zone error is recognized.
            let off = is.abs_diff(self.seconds);
            let by_zone = off % ZONE_STEP == 0 && off <= ZONE_OFFSET_MAX;
            return Ok(if is == was || by_zone { Outcome::NotApplied } else { Outcome::Unclear });
        }
        // A time that the file had already proves nothing.
        if is != was {
            connection.server.time_commands.set_support(Some(Support::Works(command)));
        }
        Ok(Outcome::Set(reply))
    }

    /// The file exists: its time was read.
    async fn refused(
        &self,
        connection: &mut Connection,
        command: TimeCommand,
        before: &FileTime,
        refusal: Failure,
    ) -> Result<Outcome, Failure> {
        connection.check()?;
        match command {
            // The reply is about the file.
            _ if refusal.kind != FailureKind::NotFound => Err(refusal),
            TimeCommand::Mfmt => Err(refusal),
            TimeCommand::Mdtm => {
                // The server took time and name for a name.
                let is_lookup = !reply::is_unspecific(&refusal)
                    || self.is_name_lookup(connection, &refusal).await?;
                if is_lookup { Ok(Outcome::NotSupported) } else { Err(refusal) }
            }
            // The server took the time for a name, or the name for the time.
            TimeCommand::SiteUtime | TimeCommand::SiteUtimeUtc
                if matches!(before, FileTime::At(_)) =>
            {
                Ok(Outcome::Unclear)
            }
            TimeCommand::SiteUtime | TimeCommand::SiteUtimeUtc => Err(refusal),
        }
    }

    /// Whether the server sends the same reply for a name that surely does not exist: then it
    /// looked up a name. This distinguishes servers without MDTM for setting times from files whose time
    /// must not be set.
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

    /// The file's time, or the server's error reply.
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

/// The reply text without a name that it repeats.
fn without_name(reply: &PeerReply, name: &[u8]) -> Vec<u8> {
    let text = reply.lines.join(&b'\n');
    let at = text.windows(name.len()).position(|window| window == name);
    match at {
        Some(at) if !name.is_empty() => [&text[..at], &text[at + name.len()..]].concat(),
        _ => text,
    }
}
