//! RNFR and RNTO (RFC 959 section 4.1.3), on servers that do and do not rename onto a file that is
//! there.

use super::ConnectionGuard;
use super::connection::Connection;
use super::listing::Found;
use super::settings::UncheckedRename;
use super::{facts, listing, reply, stat};
use crate::backend::temporary_name;
use crate::op::{EntryKind, Failure, FailureKind, PeerReply, RemotePath};

/// The server's own word about the old name; [`rename`] need not ask for it again.
pub(super) async fn rename_from(
    connection: &mut Connection,
    from: &RemotePath,
) -> Result<PeerReply, Failure> {
    let reply = connection.expect_at(3, "RNFR", from).await?;
    connection.pending_rename = Some(from.clone());
    Ok(reply)
}

/// What the server does with a file that has the new name is the server's matter.
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

/// Never onto what is there, as far as the account may know that. Between the question and the rename
/// somebody else may make it: FTP has no way to do both at once.
pub(super) async fn rename_to_new(
    connection: &mut Connection,
    from: &RemotePath,
    to: &RemotePath,
    unchecked: UncheckedRename,
) -> Result<PeerReply, Failure> {
    let taken = match is_taken(connection, to, unchecked).await {
        Err(denied) if reply::denies_inspection(&denied) => {
            connection.check()?;
            allowed_unchecked(connection, to, unchecked, denied)?;
            false
        }
        told => told?,
    };
    if taken {
        return Err(Failure::backend(
            FailureKind::AlreadyExists,
            format!("{to} exists already; a plain rename does not replace it"),
        ));
    }
    rename(connection, from, to).await
}

async fn is_taken(
    connection: &mut Connection,
    to: &RemotePath,
    unchecked: UncheckedRename,
) -> Result<bool, Failure> {
    match facts::stat_by_mlst(connection, to).await {
        Ok(Some(_)) => Ok(true),
        Ok(None) => stat::is_absent(connection, to).await.map(|absent| !absent),
        // Some servers say of what is denied that it is not there.
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

/// As configured, where the server does not let it be known whether the new name is free.
fn allowed_unchecked(
    connection: &Connection,
    to: &RemotePath,
    unchecked: UncheckedRename,
    denied: Failure,
) -> Result<(), Failure> {
    if unchecked == UncheckedRename::Refuse {
        let message = format!(
            "whether {to} is there already cannot be known, and it must not be overwritten: {}",
            denied.message
        );
        let refused = Failure { message, ..denied };
        return Err(match connection.settings.unchecked_rename {
            UncheckedRename::Refuse => {
                refused.with_detail("the backend has `unchecked_rename: refuse`")
            }
            // A file that its client wants to be new.
            UncheckedRename::Allow => refused,
        });
    }
    if connection.server.unchecked_renames.note() {
        tracing::info!(
            backend = %connection.settings.name,
            server = %connection.server.address,
            path = to.as_bytes(),
            reason = denied.message,
            "whether a rename overwrites a file cannot be checked for this account; the server decides \
             (`unchecked_rename: refuse` refuses it)"
        );
    }
    Ok(())
}

/// Onto a file that is there, too. Some servers do not do that: the old file is put aside first, and
/// put back if the new one cannot take its place.
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
    // A folder is never put aside: it could not be deleted behind it.
    let there = stat::stat(guard, to).await;
    guard.check()?;
    if there.map_or(true, |entry| entry.kind == EntryKind::Directory) {
        return Err(refusal);
    }
    let aside = temporary_name(to)?;
    let reply = match rename(guard, to, &aside).await {
        Ok(_) => rename(guard, from, to).await,
        // It may have been done all the same.
        Err(lost) if guard.check().is_err() => Err(lost),
        Err(_) => return Err(refusal),
    };
    let reply = match reply {
        Ok(reply) => reply,
        Err(failure) => {
            if let Err(lost) = put_back(guard, &aside, to).await {
                tracing::error!(path = to.as_bytes(), aside = aside.as_bytes(), failure = %lost, "the old file stays aside");
            }
            return Err(failure);
        }
    };
    if let Err(failure) = guard.expect_at(2, "DELE", &aside).await {
        tracing::warn!(aside = aside.as_bytes(), %failure, "the replaced file stays aside");
    }
    Ok(reply)
}

/// Over a new login where the connection was lost on the way.
async fn put_back(
    guard: &mut ConnectionGuard,
    aside: &RemotePath,
    to: &RemotePath,
) -> Result<(), Failure> {
    if guard.check().is_err() {
        guard.renew().await?;
    }
    rename(guard, aside, to).await.map(drop)
}
