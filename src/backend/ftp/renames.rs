//! Renames: RNFR and RNTO (RFC 959 section 4.1.3), at servers that do and do not overwrite existing
//! files.

use super::ConnectionGuard;
use super::connection::Connection;
use super::listing::Found;
use super::settings::UncheckedRename;
use super::{facts, listing, reply, stat};
use crate::backend::temporary_name;
use crate::op::{EntryKind, Failure, FailureKind, PeerReply, RemotePath};

/// Sends RNFR and returns its reply; [`rename`] need not repeat it.
pub(super) async fn rename_from(
    connection: &mut Connection,
    from: &RemotePath,
) -> Result<PeerReply, Failure> {
    let reply = connection.expect_at(3, "RNFR", from).await?;
    connection.pending_rename = Some(from.clone());
    Ok(reply)
}

/// Renames; whether an existing file is overwritten is up to the server.
pub(super) async fn rename(
    connection: &mut Connection,
    from: &RemotePath,
    to: &RemotePath,
) -> Result<PeerReply, Failure> {
    if connection.pending_rename.as_ref() != Some(from) {
        connection.expect_at(3, "RNFR", from).await?;
    }
    connection.expect_at(2, "RNTO", to).await
}

/// Renames without overwriting, as far as the account may check that. Another client may create the
/// target between check and rename: FTP cannot do both at once.
pub(super) async fn rename_to_new(
    connection: &mut Connection,
    from: &RemotePath,
    to: &RemotePath,
    unchecked: UncheckedRename,
) -> Result<PeerReply, Failure> {
    let taken = match exists(connection, to, unchecked).await {
        Err(denied) if reply::denies_inspection(&denied) => {
            connection.check()?;
            check_unchecked_allowed(connection, to, unchecked, denied)?;
            false
        }
        result => result?,
    };
    if taken {
        return Err(Failure::backend(
            FailureKind::AlreadyExists,
            format!("{to} exists already; a plain rename does not overwrite it"),
        ));
    }
    rename(connection, from, to).await
}

async fn exists(
    connection: &mut Connection,
    to: &RemotePath,
    unchecked: UncheckedRename,
) -> Result<bool, Failure> {
    match facts::stat_by_mlst(connection, to).await {
        Ok(Some(_)) => Ok(true),
        Ok(None) => stat::is_absent(connection, to).await.map(|absent| !absent),
        // Some servers report denied paths as absent.
        Err(vague) if reply::is_unspecific(&vague) && unchecked == UncheckedRename::Refuse => {
            match listing::find(connection, to).await? {
                Found::Entry(_) => Ok(true),
                Found::Nothing => Ok(false),
                Found::Unknown(failure) => Err(failure),
            }
        }
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Applies the setting if the server does not let the account check the target.
fn check_unchecked_allowed(
    connection: &Connection,
    to: &RemotePath,
    unchecked: UncheckedRename,
    denied: Failure,
) -> Result<(), Failure> {
    if unchecked == UncheckedRename::Refuse {
        let message = format!(
            "the account may not check whether {to} exists, and it must not be overwritten: {}",
            denied.message
        );
        let refused = Failure { message, ..denied };
        return Err(match connection.settings.unchecked_rename {
            UncheckedRename::Refuse => {
                refused.with_detail("`unchecked_rename: refuse` is set on the backend")
            }
            // A file that the client requires to be new.
            UncheckedRename::Allow => refused,
        });
    }
    if connection.server.unchecked_renames.note() {
        tracing::info!(
            server = %connection.server.address,
            path = to.as_bytes(),
            reason = denied.message,
            "this account may not check whether a rename overwrites a file; the server decides \
             (`unchecked_rename: refuse` refuses such renames)"
        );
    }
    Ok(())
}

/// Renames and overwrites. At servers that do not overwrite, the old file is renamed first, and
/// renamed back if the new one cannot take its place.
pub(super) async fn replace(
    guard: &mut ConnectionGuard,
    from: &RemotePath,
    to: &RemotePath,
) -> Result<PeerReply, Failure> {
    guard.expect_at(3, "RNFR", from).await?;
    let refusal = match guard.expect_at(2, "RNTO", to).await {
        Ok(reply) => return Ok(reply),
        Err(refusal) => refusal,
    };
    guard.check()?;
    // A folder is never renamed away: it could not be deleted afterwards.
    let existing = stat::stat(guard, to).await;
    guard.check()?;
    if existing.map_or(true, |entry| entry.kind == EntryKind::Directory) {
        return Err(refusal);
    }
    let backup = temporary_name(to)?;
    let reply = match rename(guard, to, &backup).await {
        Ok(_) => rename(guard, from, to).await,
        // The rename may have succeeded.
        Err(lost) if guard.check().is_err() => Err(lost),
        Err(_) => return Err(refusal),
    };
    let reply = match reply {
        Ok(reply) => reply,
        Err(failure) => {
            if let Err(lost) = put_back(guard, &backup, to).await {
                tracing::error!(path = to.as_bytes(), backup = backup.as_bytes(), failure = %lost, "the old file could not be renamed back");
            }
            return Err(failure);
        }
    };
    if let Err(failure) = guard.expect_at(2, "DELE", &backup).await {
        tracing::warn!(backup = backup.as_bytes(), %failure, "the replaced file could not be deleted");
    }
    Ok(reply)
}

/// Renames the old file back, over a new login if the connection was lost.
async fn put_back(
    guard: &mut ConnectionGuard,
    backup: &RemotePath,
    to: &RemotePath,
) -> Result<(), Failure> {
    if guard.check().is_err() {
        guard.renew().await?;
    }
    rename(guard, backup, to).await.map(drop)
}
