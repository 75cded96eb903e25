//! A file that is there and is written anew from its begin without having been emptied, as OpenSSH's
//! scp does: STOR (RFC 959) would empty it at once. The new one is written under another name, gets
//! what the old one has behind it, its permissions, and then its name; a cut leaves the old one as
//! it was.

use std::sync::Arc;

use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::listing::Found;
use crate::backend::ftp::pool::Pool;
use crate::backend::ftp::refusals::Optional;
use crate::backend::ftp::transfer::FtpRead;
use crate::backend::ftp::upload::{FtpWrite, Part, Replaced};
use crate::backend::ftp::{ConnectionGuard, FtpSession, OPEN};
use crate::backend::ftp::{attributes, cache, facts, listing, stat, transfer, upload};
use crate::backend::{WriteTransfer, temporary_name};
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath, Representation, WriteMode};

/// The bits of a mode that a new file gets. The others a write takes away on Unix, too.
const PERMISSIONS: u32 = 0o777;
const WRITABLE: u32 = 0o222;

/// The upload, and a second connection: the rest of the old file is read over it.
pub(super) async fn begin(
    session: &FtpSession,
    path: &RemotePath,
) -> Result<(FtpWrite, ConnectionGuard), Failure> {
    let pool = &session.pool;
    let writer = session.cache.writer();
    let (guard, mut aside) = two_connections(pool).await?;
    let Old { mode, settable } = look(&mut aside, path).await?;
    let part = Part::replacing(path, Replaced { permissions: mode.filter(|_| settable) })?;
    let temporary = part.temporary.clone();
    let (from_start, image) = (WriteMode::From { offset: 0 }, Representation::Image);
    let write = upload::begin(guard, writer, path, from_start, image, Some(part)).await?;
    if let (Some(mode), true, Some(temporary)) = (mode, settable, &temporary)
        && attributes::is_narrow(mode)
    {
        // Nobody else may read it meanwhile; whether it was set is seen at the end.
        let _ = attributes::set_permissions(&mut aside, temporary, mode).await;
    }
    if let (Some(mode), false, Some(temporary)) = (mode, settable, temporary)
        && let Err(failure) = check_same_mode(&mut aside, &temporary, mode).await
    {
        Box::new(write).abort().await;
        return Err(failure);
    }
    Ok((write, aside))
}

async fn two_connections(pool: &Arc<Pool>) -> Result<(ConnectionGuard, ConnectionGuard), Failure> {
    if pool.settings().connections < 2 {
        return Err(refused(
            "that takes two connections to the server, and `connections` allows one",
        ));
    }
    let (first, second) = pool.acquire_two(OPEN).await?;
    let second = second.map_err(|failure| match failure.kind {
        FailureKind::Busy => {
            let why = "that takes a second connection to the server, and there is none";
            refused(why).with_detail(failure.detail.unwrap_or(failure.message))
        }
        _ => failure,
    });
    Ok((first, second?))
}

/// What the new file must have of the old one.
struct Old {
    /// `None`: the server has no modes.
    mode: Option<u32>,
    /// Whether the server sets modes.
    settable: bool,
}

/// Whether the file can be replaced at all: found out before anything is written.
async fn look(aside: &mut ConnectionGuard, path: &RemotePath) -> Result<Old, Failure> {
    let entry = entry_itself(aside, path).await?;
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Symlink(_) => {
            return Err(refused("it is a symlink, in whose place a file would come"));
        }
        EntryKind::Directory | EntryKind::Other => return Err(refused("it is no plain file")),
    }
    check_renames(aside, path).await?;
    look_at_mode(aside, path, &entry).await
}

/// Whether the server renames at all, asked about a name that is not there: after RNFR of one that is,
/// ProFTPD takes nothing but RNTO.
async fn check_renames(aside: &mut ConnectionGuard, path: &RemotePath) -> Result<(), Failure> {
    let nothing = temporary_name(path)?;
    let refusal = match aside.expect_at(3, "RNFR", &nothing).await {
        Err(refusal) => refusal,
        Ok(_) => match aside.expect_at(2, "RNTO", &nothing).await {
            Err(refusal) => refusal,
            Ok(_) => return Ok(()),
        },
    };
    aside.check()?;
    match refusal.kind {
        FailureKind::Unsupported | FailureKind::PermissionDenied => {
            Err(because("the server does not rename files", refusal))
        }
        _ => Ok(()),
    }
}

async fn look_at_mode(
    aside: &mut ConnectionGuard,
    path: &RemotePath,
    entry: &Entry,
) -> Result<Old, Failure> {
    let Some(mode) = entry.attributes.permissions else {
        return Ok(Old { mode: None, settable: false });
    };
    if mode & WRITABLE == 0 {
        let message = format!("{path} is write-protected: nobody may write to it");
        return Err(Failure::backend(FailureKind::PermissionDenied, message));
    }
    // It has this mode already.
    let set = attributes::set_permissions(aside, path, mode).await;
    let mode = Some(mode & PERMISSIONS);
    match set {
        Ok(_) => Ok(Old { mode, settable: true }),
        Err(refusal) if refusal.kind == FailureKind::Unsupported => {
            Ok(Old { mode, settable: false })
        }
        Err(refusal) => {
            aside.check()?;
            Err(because("the new file could not be given the permissions of the old one", refusal))
        }
    }
}

/// What is there, of a link the link itself, with its mode where the server tells modes.
async fn entry_itself(connection: &mut Connection, path: &RemotePath) -> Result<Entry, Failure> {
    if let Some(entry) = facts::stat_by_mlst(connection, path).await? {
        let told = entry.attributes.permissions.is_some();
        if entry.kind != EntryKind::File || (told && !cache::may_be_link(&entry, true)) {
            return Ok(entry);
        }
    }
    if let Some(entry) = line_of(connection, path).await? {
        return Ok(entry);
    }
    match listing::find(connection, path).await? {
        Found::Entry(entry) => Ok(entry),
        Found::Unknown(failure) => Err(failure),
        Found::Nothing => Err(refused("the server does not show it in its folder")),
    }
}

/// Its line of LIST, in the reply to STAT (RFC 959 section 4.1.3): without a data connection.
async fn line_of(connection: &mut Connection, path: &RemotePath) -> Result<Option<Entry>, Failure> {
    let (name, own) = (connection.name(path)?, path.name().unwrap_or_default());
    // Servers take these for a pattern.
    let refused = connection.server.refusals.holds(Optional::StatPath);
    if refused || own.iter().any(|b| b"*?[".contains(b)) {
        return Ok(None);
    }
    let words = connection.ask("STAT", Some(&name)).await?;
    if words.code / 100 != 2 {
        return Ok(None);
    }
    Ok(stat::lines_about(&words, path, &name).next())
}

/// On a server that sets no modes: whether the new file has the old one's by itself.
async fn check_same_mode(
    aside: &mut ConnectionGuard,
    temporary: &RemotePath,
    mode: u32,
) -> Result<(), Failure> {
    let has = entry_itself(aside, temporary).await?.attributes.permissions;
    match has.map(|has| has & PERMISSIONS) {
        Some(has) if has == mode => Ok(()),
        has => {
            Err(refused("the server does not set permissions (SITE CHMOD)").with_detail(format!(
                "the old file has {mode:03o}, the new one would have {}",
                has.map_or_else(|| "others".into(), |has| format!("{has:03o}"))
            )))
        }
    }
}

pub(super) fn check_tail(pool: &Pool, bytes: u64) -> Result<(), Failure> {
    let most = pool.settings().tail_copy_max;
    if bytes <= most {
        return Ok(());
    }
    Err(Failure::gateway(
        FailureKind::Unsupported,
        format!(
            "the file is as it was: {bytes} bytes behind what was written would have to be copied, \
             and `tail_copy_max` of the backend allows {most}; write the whole file, or set its size"
        ),
    ))
}

/// The old file from there on, over the connection that was kept for it, or one in its place.
pub(super) async fn open_tail(
    pool: &Arc<Pool>,
    kept: Option<ConnectionGuard>,
    path: &RemotePath,
    from: u64,
) -> Result<FtpRead, Failure> {
    let mut guard = match kept {
        Some(guard) => guard,
        None => pool.acquire(OPEN).await?,
    };
    // It has waited as long as the upload took.
    if !guard.is_in_step() {
        guard.renew().await?;
    }
    transfer::begin(guard, path, from, Representation::Image).await
}

fn refused(why: &str) -> Failure {
    Failure::backend(
        FailureKind::Unsupported,
        format!(
            "the backend server is reached by FTP, where a file that was not emptied is replaced by \
             a new one; not this one: {why}; delete it first, or write the whole file anew"
        ),
    )
}

fn because(why: &str, refusal: Failure) -> Failure {
    Failure { peer: refusal.peer, ..refused(why).with_detail(refusal.message) }
}
