//! Replaces an existing file that a client rewrites from its start without truncating it, as
//! OpenSSH's scp does: STOR (RFC 959) would truncate it at once. The new file is written under a
//! temporary name, gets the original's tail and permissions, and is then renamed. An abort leaves
//! the original unchanged.

use std::sync::Arc;

use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::listing::Found;
use crate::backend::ftp::pool::Pool;
use crate::backend::ftp::refusals::OptionalCommand;
use crate::backend::ftp::transfer::FtpRead;
use crate::backend::ftp::upload::{FtpWrite, PartialFile, ReplacedFile};
use crate::backend::ftp::{ConnectionGuard, FtpSession, OPEN_TIMEOUT};
use crate::backend::ftp::{attributes, cache, facts, listing, stat, transfer, upload};
use crate::backend::{WriteTransfer, temporary_name};
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath, Representation, WriteMode};

/// The permission bits that a new file gets. On Unix, a write clears the others, too.
const PERMISSIONS: u32 = 0o777;
const WRITABLE: u32 = 0o222;

/// Starts the upload; also returns the connection over which the tail of the original is read.
pub(super) async fn prepare(
    session: &FtpSession,
    path: &RemotePath,
) -> Result<(FtpWrite, ConnectionGuard), Failure> {
    let pool = &session.pool;
    let write_guard = session.cache.write_guard();
    let (guard, mut second) = two_connections(pool).await?;
    let Original { mode, has_chmod } = inspect(&mut second, path).await?;
    let part =
        PartialFile::replacing(path, ReplacedFile { permissions: mode.filter(|_| has_chmod) })?;
    let temporary = part.temporary.clone();
    let (from_start, image) = (WriteMode::From { offset: 0 }, Representation::Image);
    let write = upload::start(guard, write_guard, path, from_start, image, Some(part)).await?;
    if let (Some(mode), true, Some(temporary)) = (mode, has_chmod, &temporary)
        && attributes::is_restrictive(mode)
    {
        // Others must not read it meanwhile; whether this worked is checked at the end.
        let _ = attributes::set_permissions(&mut second, temporary, mode).await;
    }
    if let (Some(mode), false, Some(temporary)) = (mode, has_chmod, temporary)
        && let Err(failure) = check_same_mode(&mut second, &temporary, mode).await
    {
        Box::new(write).abort().await;
        return Err(failure);
    }
    Ok((write, second))
}

async fn two_connections(pool: &Arc<Pool>) -> Result<(ConnectionGuard, ConnectionGuard), Failure> {
    if pool.settings().connections < 2 {
        return Err(refusal_because(
            "that takes two connections to the server, and `connections` of the backend allows one",
        ));
    }
    let (first, second) = pool.acquire_two(OPEN_TIMEOUT).await?;
    let second = second.map_err(|failure| match failure.kind {
        FailureKind::Busy => {
            let why = "that takes a second connection to the server, and none is available";
            refusal_because(why).with_detail(failure.detail.unwrap_or(failure.message))
        }
        _ => failure,
    });
    Ok((first, second?))
}

/// What the new file must take over from the original.
struct Original {
    /// `None`: the server reports no modes.
    mode: Option<u32>,
    /// Whether the server supports SITE CHMOD.
    has_chmod: bool,
}

/// Checks that the file can be replaced, before anything is written.
async fn inspect(second: &mut ConnectionGuard, path: &RemotePath) -> Result<Original, Failure> {
    let entry = entry_itself(second, path).await?;
    match entry.kind {
        EntryKind::File => {}
        EntryKind::Symlink(_) => {
            return Err(refusal_because("it is a symlink, which a file would replace"));
        }
        EntryKind::Directory | EntryKind::Other => {
            return Err(refusal_because("it is not a regular file"));
        }
    }
    check_renames(second, path).await?;
    inspect_mode(second, path, &entry).await
}

/// Checks that the server renames files, with a name that does not exist: after a successful RNFR,
/// ProFTPD accepts nothing but RNTO.
async fn check_renames(second: &mut ConnectionGuard, path: &RemotePath) -> Result<(), Failure> {
    let nothing = temporary_name(path)?;
    let refusal = match second.expect_at(3, "RNFR", &nothing).await {
        Err(refusal) => refusal,
        Ok(_) => match second.expect_at(2, "RNTO", &nothing).await {
            Err(refusal) => refusal,
            Ok(_) => return Ok(()),
        },
    };
    second.check()?;
    match refusal.kind {
        FailureKind::Unsupported | FailureKind::PermissionDenied => {
            Err(refusal_after("the server does not rename files", refusal))
        }
        _ => Ok(()),
    }
}

async fn inspect_mode(
    second: &mut ConnectionGuard,
    path: &RemotePath,
    entry: &Entry,
) -> Result<Original, Failure> {
    let Some(mode) = entry.attributes.permissions else {
        return Ok(Original { mode: None, has_chmod: false });
    };
    if mode & WRITABLE == 0 {
        let message = format!("{path} is write-protected (its mode has no write permission)");
        return Err(Failure::backend(FailureKind::PermissionDenied, message));
    }
    // The file has this mode already.
    let set = attributes::set_permissions(second, path, mode).await;
    let mode = Some(mode & PERMISSIONS);
    match set {
        Ok(_) => Ok(Original { mode, has_chmod: true }),
        Err(refusal) if refusal.kind == FailureKind::Unsupported => {
            Ok(Original { mode, has_chmod: false })
        }
        Err(refusal) => {
            second.check()?;
            Err(refusal_after(
                "the new file could not be given the permissions of the old one",
                refusal,
            ))
        }
    }
}

/// The entry of the path, of a link that of the link itself, with its mode if the server reports
/// modes.
async fn entry_itself(connection: &mut Connection, path: &RemotePath) -> Result<Entry, Failure> {
    if let Some(entry) = facts::stat_by_mlst(connection, path).await? {
        let has_mode = entry.attributes.permissions.is_some();
        if entry.kind != EntryKind::File || (has_mode && !cache::may_be_link(&entry, true)) {
            return Ok(entry);
        }
    }
    if let Some(entry) = stat_line(connection, path).await? {
        return Ok(entry);
    }
    match listing::find(connection, path).await? {
        Found::Entry(entry) => Ok(entry),
        Found::Unknown(failure) => Err(failure),
        Found::Nothing => Err(refusal_because("the server does not list it in its folder")),
    }
}

/// The file's line in the reply to STAT (RFC 959 section 4.1.3), which takes no data connection.
async fn stat_line(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<Entry>, Failure> {
    let (name, own) = (connection.name(path)?, path.name().unwrap_or_default());
    // Servers treat these as patterns.
    let is_refused = connection.server.refusals.is_refused(OptionalCommand::StatPath);
    if is_refused || own.iter().any(|b| b"*?[".contains(b)) {
        return Ok(None);
    }
    let reply = connection.command("STAT", Some(&name)).await?;
    if reply.code / 100 != 2 {
        return Ok(None);
    }
    Ok(stat::entries_about(&reply, path, &name).next())
}

/// On a server without SITE CHMOD: checks that the new file has the original's mode anyway.
async fn check_same_mode(
    second: &mut ConnectionGuard,
    temporary: &RemotePath,
    mode: u32,
) -> Result<(), Failure> {
    let actual = entry_itself(second, temporary).await?.attributes.permissions;
    match actual.map(|actual| actual & PERMISSIONS) {
        Some(actual) if actual == mode => Ok(()),
        actual => Err(refusal_because("the server does not set permissions (SITE CHMOD)")
            .with_detail(format!(
                "the old file has {mode:03o}, the new one would have {}",
                actual.map_or_else(|| "others".into(), |actual| format!("{actual:03o}"))
            ))),
    }
}

pub(super) fn check_tail_size(pool: &Pool, bytes: u64) -> Result<(), Failure> {
    let max = pool.settings().tail_copy_max;
    if bytes <= max {
        return Ok(());
    }
    Err(Failure::gateway(
        FailureKind::Unsupported,
        format!(
            "the file is unchanged: {bytes} bytes after the written ones would have to be copied, and \
             `tail_copy_max` of the backend allows {max}; write the whole file, or set its size"
        ),
    ))
}

/// Reads the original from `from`, over the connection that was kept for it, or a new one.
pub(super) async fn start_tail(
    pool: &Arc<Pool>,
    second: Option<ConnectionGuard>,
    path: &RemotePath,
    from: u64,
) -> Result<FtpRead, Failure> {
    let mut guard = match second {
        Some(guard) => guard,
        None => pool.acquire(OPEN_TIMEOUT).await?,
    };
    // It was idle during the upload.
    if !guard.is_in_sync() {
        guard.renew().await?;
    }
    transfer::start(guard, path, from, Representation::Image).await
}

fn refusal_because(why: &str) -> Failure {
    Failure::backend(
        FailureKind::Unsupported,
        format!(
            "the backend server is reached by FTP, where a file that is not truncated first must be \
             replaced by a new one, but this file cannot be: {why}; delete it first, or write the \
             whole file"
        ),
    )
}

fn refusal_after(why: &str, refusal: Failure) -> Failure {
    Failure { peer: refusal.peer, ..refusal_because(why).with_detail(refusal.message) }
}
