//! Operations without a data connection (RFC 959).

use super::connection::Connection;
use super::failures::{no_file_system, not_found, unsupported};
use super::refusals::OptionalCommand;
use super::stat::{can_enter, file_size, size, stat};
use super::{ConnectionGuard, FtpSession};
use super::{attributes, listing, renames, reply};
use crate::backend::unsupported::Attribute;
use crate::op::{
    Answer, EntryKind, Failure, FailureKind, Onto, Operation, PeerReply, RemotePath, Representation,
};

/// The usual mode of a new directory at a server.
const DEFAULT_FOLDER_MODE: u32 = 0o755;

pub(super) async fn perform(
    session: &FtpSession,
    guard: &mut ConnectionGuard,
    operation: &Operation,
) -> Result<Answer, Failure> {
    let done = |reply: PeerReply| Answer::Done(Some(reply));
    match operation {
        Operation::Stat(path) | Operation::LinkStat(path) => {
            let entry = if session.is_of_link(operation) {
                session.stat_link_at_server(guard, path).await
            } else {
                session.stat_at_server(guard, path).await
            };
            entry.map(Answer::Entry)
        }
        Operation::Size(path, representation) => {
            size_of_file(guard, path, *representation).await.map(Answer::Size)
        }
        Operation::Enter(path) if guard.home.is_known() => {
            guard.change_directory(path).await.map(done)
        }
        Operation::Enter(path) => {
            listing::check_folder(guard, path).await.map(|()| Answer::Done(None))
        }
        Operation::Remove(path) => guard.expect_at(2, "DELE", path).await.map(done),
        Operation::MakeDirectory { path, permissions } => {
            make_directory(guard, path, *permissions).await.map(done)
        }
        Operation::RemoveDirectory(path) => {
            // Servers refuse to remove their working directory.
            if !path.is_root() && guard.home.is_known() {
                guard.ensure_directory(&RemotePath::root()).await.ok();
            }
            guard.check()?;
            remove_directory(guard, path).await.map(done)
        }
        Operation::RenameFrom(path) => renames::rename_from(guard, path).await.map(done),
        Operation::Rename { from, to, onto } => {
            let _move = guard.session.start_move();
            match onto {
                Onto::AsBackend => renames::rename(guard, from, to).await.map(done),
                Onto::Refused => {
                    let unchecked = guard.settings.unchecked_rename;
                    renames::rename_to_new(guard, from, to, unchecked).await.map(done)
                }
                Onto::Replaced => renames::replace(guard, from, to).await.map(done),
            }
        }
        Operation::SetAttributes { path, changes, .. } => {
            attributes::set(guard, path, changes).await.map(Answer::Done)
        }
        Operation::Symlink { .. } | Operation::ReadLink(_) => {
            Err(unsupported("the backend server is reached by FTP, which has no symlinks"))
        }
        Operation::HardLink { .. } => {
            Err(unsupported("the backend server is reached by FTP, which has no hard links"))
        }
        Operation::FileSystem(_) => Err(no_file_system()),
        Operation::AccountNames { .. } => {
            Err(unsupported("the backend server is reached by FTP, which has no account names"))
        }
    }
}

/// The size of a file. Without SIZE, other commands give it in bytes; in ASCII, only SIZE can.
async fn size_of_file(
    connection: &mut Connection,
    path: &RemotePath,
    representation: Representation,
) -> Result<u64, Failure> {
    if !connection.server.refusals.is_refused(OptionalCommand::Size)
        || representation == Representation::Ascii
    {
        connection.set_type(representation).await?;
        match size(connection, path).await {
            Err(_) if connection.server.refusals.is_refused(OptionalCommand::Size) => {}
            result => return result,
        }
        if representation == Representation::Ascii {
            return Err(unsupported("the backend server does not support SIZE"));
        }
    }
    file_size(connection, path).await?.ok_or_else(|| not_found(path))
}

async fn remove_directory(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<PeerReply, Failure> {
    let removed = {
        let _move = connection.session.start_move();
        connection.expect_at(2, "RMD", path).await
    };
    match removed {
        Err(refusal) if reply::is_unspecific(&refusal) => {
            Err(match existing_kind(connection, path).await? {
                // Whether it is empty would take a listing.
                Some(EntryKind::Directory) => Failure {
                    kind: FailureKind::Internal,
                    message: format!("{}; the folder exists, it may not be empty", refusal.message),
                    ..refusal
                },
                Some(_) => Failure { kind: FailureKind::NotADirectory, ..refusal },
                None => refusal,
            })
        }
        removed => removed,
    }
}

/// What exists at the path, after an error reply without a reason. The parent folder is not listed,
/// which can take long. `None`: nothing that is visible.
async fn existing_kind(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<EntryKind>, Failure> {
    let found = if connection.supports(OptionalCommand::Mlst) {
        stat(connection, path).await.map(|entry| entry.kind)
    } else if can_enter(connection, path).await? {
        Ok(EntryKind::Directory)
    } else {
        connection.set_type(Representation::Image).await?;
        size(connection, path).await.map(|_| EntryKind::File)
    };
    connection.check()?;
    Ok(found.ok())
}

/// Makes a directory. FTP gives it the server's default mode, taken to be [`DEFAULT_FOLDER_MODE`].
/// A more restrictive one is set afterwards; if that fails, the directory is removed again.
async fn make_directory(
    guard: &mut ConnectionGuard,
    path: &RemotePath,
    permissions: Option<u32>,
) -> Result<PeerReply, Failure> {
    let made = match guard.expect_at(2, "MKD", path).await {
        Err(refusal) if reply::is_unspecific(&refusal) => {
            return Err(match existing_kind(guard, path).await? {
                Some(_) => Failure {
                    kind: FailureKind::AlreadyExists,
                    message: format!("{path} exists already ({})", refusal.message),
                    ..refusal
                },
                None => Failure { kind: FailureKind::Internal, ..refusal },
            });
        }
        made => made?,
    };
    let Some(mode) = permissions.filter(|mode| mode & DEFAULT_FOLDER_MODE != DEFAULT_FOLDER_MODE)
    else {
        return Ok(made);
    };
    let Err(refusal) = attributes::set_permissions(guard, path, mode & 0o777).await else {
        return Ok(made);
    };
    let policy = guard.pool().attributes().clone();
    let Err(refusal) = policy.judge(Attribute::Permissions, refusal) else { return Ok(made) };
    let removed = guard.expect_at(2, "RMD", path).await;
    let left = match removed {
        Ok(_) => "so it was removed",
        Err(_) => "and it could not be removed: it exists, accessible to others",
    };
    let message = format!(
        "the directory {path} was created, but its permissions could not be set to {mode:03o}, {left}: {}",
        refusal.message
    );
    Err(Failure { message, ..refusal })
}
