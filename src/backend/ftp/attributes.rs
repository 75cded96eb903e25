//! Changes of file attributes: the time (see [`times`]), the permissions (SITE CHMOD) and, in part,
//! the size.

use super::ConnectionGuard;
use super::connection::Connection;
use super::pool::Pool;
use super::{data_connection, failures, stat, times};
use crate::backend::unsupported::Attribute;
use crate::op::{Changes, Failure, FailureKind, PeerReply, RemotePath, Representation};

/// Makes all changes, or returns the first failure. If the server cannot set a time, permissions
/// are still set: clients send both at once. Returns the last reply.
pub(super) async fn set(
    guard: &mut ConnectionGuard,
    path: &RemotePath,
    changes: &Changes,
) -> Result<Option<PeerReply>, Failure> {
    let pool = guard.pool().clone();
    let changes = possible(&pool, changes)?;
    let mut reply = None;
    if let Some(size) = changes.size {
        truncate(guard, path, size).await?;
    }
    if let Some(mode) = changes.permissions {
        match set_permissions(guard, path, mode).await {
            Ok(set) => reply = Some(set),
            Err(failure) => pool.attributes().judge(Attribute::Permissions, failure)?,
        }
    }
    match set_times(guard, path, &changes).await {
        Ok(set) => reply = set.or(reply),
        Err(failure) => pool.attributes().judge(Attribute::Times, failure)?,
    }
    Ok(reply)
}

/// The changes without those that the server does not support and the setting ignores. If
/// one of these must not be ignored, all are refused before anything is changed; for times only if
/// they are the only changes.
pub(super) fn possible(pool: &Pool, changes: &Changes) -> Result<Changes, Failure> {
    let mut changes = *changes;
    if changes.owner.take().is_some() {
        let failure = failures::unsupported_attribute(
            "the backend server is reached by FTP, which cannot change a file's owner",
        );
        pool.attributes().judge(Attribute::Owner, failure)?;
    }
    if let Changes { size: None, permissions: None, .. } = changes
        && let Err(failure) = check_times(pool, &changes)
    {
        pool.attributes().judge(Attribute::Times, failure)?;
        (changes.accessed, changes.modified) = (None, None);
    }
    Ok(changes)
}

/// As far as it is known without sending a command.
pub(super) fn check_times(pool: &Pool, changes: &Changes) -> Result<(), Failure> {
    let Some(seconds) = changes.modified else { return check_accessed(changes) };
    times::format(seconds)?;
    match pool.sets_times() {
        Some(false) => Err(times::unsupported()),
        Some(true) | None => Ok(()),
    }
}

/// SFTP sets both times at once; FTP has only one.
fn check_accessed(changes: &Changes) -> Result<(), Failure> {
    match changes.accessed {
        Some(_) if changes.modified.is_none() => Err(failures::unsupported_attribute(
            "the backend server is reached by FTP, which cannot set the time of the last access",
        )),
        _ => Ok(()),
    }
}

async fn set_times(
    connection: &mut Connection,
    path: &RemotePath,
    changes: &Changes,
) -> Result<Option<PeerReply>, Failure> {
    check_accessed(changes)?;
    match changes.modified {
        Some(seconds) => times::set(connection, path, seconds).await.map(Some),
        None => Ok(None),
    }
}

/// The usual mode of a new file at a server.
const DEFAULT_FILE_MODE: u32 = 0o644;

/// Whether a new file would have more permissions than this mode.
pub(super) fn is_restrictive(mode: u32) -> bool {
    mode & DEFAULT_FILE_MODE != DEFAULT_FILE_MODE
}

pub(super) async fn set_permissions(
    connection: &mut Connection,
    path: &RemotePath,
    mode: u32,
) -> Result<PeerReply, Failure> {
    let argument = [format!("CHMOD {mode:03o} ").as_bytes(), &connection.name(path)?].concat();
    connection.expect(2, "SITE", Some(&argument)).await
}

/// Truncates to 0, by an empty STOR, or to the current size.
async fn truncate(
    connection: &mut Connection,
    path: &RemotePath,
    size: u64,
) -> Result<(), Failure> {
    let Some(now) = stat::file_size(connection, path).await? else {
        let message = format!("{path}: no such file");
        return Err(Failure::backend(FailureKind::NotFound, message));
    };
    if now == size {
        return Ok(());
    }
    if size > 0 {
        return Err(failures::unsupported(
            "the backend server is reached by FTP, which can truncate a file to 0 bytes only",
        ));
    }
    connection.set_type(Representation::Image).await?;
    let name = connection.name(path)?;
    let (stream, _) = data_connection::start(connection, "STOR", Some(&name), 0).await?;
    let early_reply = connection.reply_before_end()?;
    let limit = connection.settings.reply_timeout;
    if let Err(e) = stream.complete_and_read_to_end(limit).await {
        tracing::debug!(error = %e, "closing the data connection to the backend");
    }
    connection.end_upload(early_reply, false).await.map(drop)
}
