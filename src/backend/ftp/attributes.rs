//! What FTP can change of a file: its time (MFMT), its permissions (SITE CHMOD), and, in part, its
//! size.

use super::connection::Connection;
use super::features::Features;
use super::{channel, operations, stat};
use crate::op::{Changes, Failure, FailureKind, RemotePath, Representation, Words};
use crate::wire::ftp::time::format_time;

/// All of the changes, or the first one's failure. A time that the server cannot set keeps no
/// permissions from being set: clients send both at once. The words of the last one.
pub(super) async fn set(
    connection: &mut Connection,
    path: &RemotePath,
    changes: &Changes,
) -> Result<Option<Words>, Failure> {
    check(&connection.features, changes)?;
    let mut words = None;
    if let Some(size) = changes.size {
        truncate(connection, path, size).await?;
    }
    if let Some(mode) = changes.permissions {
        words = Some(set_permissions(connection, path, mode).await?);
    }
    check_times(&connection.features, changes)?;
    if let Some(seconds) = changes.modified {
        words = Some(set_modified(connection, path, seconds).await?);
    }
    Ok(words)
}

/// Whether the server can change something of it, as far as it has said. Else it is refused before
/// anything is changed.
pub(super) fn check(features: &Features, changes: &Changes) -> Result<(), Failure> {
    if changes.owner.is_some() {
        return Err(operations::unsupported(
            "the backend server is reached by FTP, which cannot change a file's owner",
        ));
    }
    match changes {
        Changes { size: None, permissions: None, .. } => check_times(features, changes),
        _ => Ok(()),
    }
}

pub(super) fn check_times(features: &Features, changes: &Changes) -> Result<(), Failure> {
    // SFTP sets both times at once; FTP has one of them.
    if changes.accessed.is_some() && changes.modified.is_none() {
        return Err(operations::unsupported(
            "the backend server is reached by FTP, which cannot set the time of the last access",
        ));
    }
    let Some(seconds) = changes.modified else { return Ok(()) };
    if !features.mfmt {
        let why = "the backend server cannot set a file's time (MFMT)";
        return Err(operations::unsupported(why).with_detail(
            "the server does not list MFMT in its answer to FEAT; the client is to keep no times",
        ));
    }
    time(seconds).map(drop)
}

fn time(seconds: i64) -> Result<String, Failure> {
    format_time(seconds).ok_or_else(|| {
        Failure::client(FailureKind::InvalidArgument, "the time is out of MFMT's range")
    })
}

pub(super) async fn set_permissions(
    connection: &mut Connection,
    path: &RemotePath,
    mode: u32,
) -> Result<Words, Failure> {
    let argument = [format!("CHMOD {mode:03o} ").as_bytes(), &connection.name(path)?].concat();
    connection.expect(2, "SITE", Some(&argument)).await
}

pub(super) async fn set_modified(
    connection: &mut Connection,
    path: &RemotePath,
    seconds: i64,
) -> Result<Words, Failure> {
    let argument = [time(seconds)?.as_bytes(), b" ", &connection.name(path)?].concat();
    connection.expect(2, "MFMT", Some(&argument)).await
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
        return Err(operations::unsupported(
            "the backend server is reached by FTP, which cannot cut a file off or fill it up; \
             only to 0 bytes",
        ));
    }
    connection.set_type(Representation::Image).await?;
    let name = connection.name(path)?;
    let (stream, _) = channel::start(connection, "STOR", Some(&name), 0).await?;
    let early = connection.reply_before_end()?;
    let limit = connection.settings.reply_timeout;
    if let Err(e) = stream.complete_and_drain(limit).await {
        tracing::debug!(error = %e, "closing the data connection to the backend");
    }
    connection.end_upload(early, false).await.map(drop)
}
