//! What FTP can change of a file: its time (see [`times`]), its permissions (SITE CHMOD), and, in part,
//! its size.

use super::ConnectionGuard;
use super::connection::Connection;
use super::pool::Pool;
use super::{data_connection, failures, stat, times};
use crate::backend::unsupported::Attribute;
use crate::op::{Changes, Failure, FailureKind, PeerReply, RemotePath, Representation};

/// All of the changes, or the first one's failure. A time that the server cannot set keeps no
/// permissions from being set: clients send both at once. The words of the last one.
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

/// What is left of the changes once those are out that the server is known to be unable to make and
/// that are to be ignored. Where any of them is not, all are refused before anything is changed; but
/// times only where they come alone.
pub(super) fn possible(pool: &Pool, changes: &Changes) -> Result<Changes, Failure> {
    let mut changes = *changes;
    if changes.owner.take().is_some() {
        let failure = failures::unsupported(
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

/// As far as it is known without asking.
pub(super) fn check_times(pool: &Pool, changes: &Changes) -> Result<(), Failure> {
    let Some(seconds) = changes.modified else { return check_accessed(changes) };
    times::format(seconds)?;
    match pool.sets_times() {
        Some(false) => Err(times::unsupported()),
        Some(true) | None => Ok(()),
    }
}

/// SFTP sets both times at once; FTP has one of them.
fn check_accessed(changes: &Changes) -> Result<(), Failure> {
    match changes.accessed {
        Some(_) if changes.modified.is_none() => Err(failures::unsupported(
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

/// What servers usually give a file.
const USUAL_FILE: u32 = 0o644;

/// Whether a new file would be open to more than this mode allows.
pub(super) fn is_restrictive(mode: u32) -> bool {
    mode & USUAL_FILE != USUAL_FILE
}

pub(super) async fn set_permissions(
    connection: &mut Connection,
    path: &RemotePath,
    mode: u32,
) -> Result<PeerReply, Failure> {
    let argument = [format!("CHMOD {mode:03o} ").as_bytes(), &connection.name(path)?].concat();
    connection.expect(2, "SITE", Some(&argument)).await
}

/// To nothing, by a STOR of nothing, or to what the size is.
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
            "the backend server is reached by FTP, which cannot cut a file off or fill it up; \
             only to 0 bytes",
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
