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

/// What servers usually give a folder.
const USUAL_FOLDER: u32 = 0o755;

pub(super) async fn perform(
    session: &FtpSession,
    guard: &mut ConnectionGuard,
    operation: &Operation,
) -> Result<Answer, Failure> {
    let done = |reply: PeerReply| Answer::Done(Some(reply));
    match operation {
        Operation::Stat(path) | Operation::LinkStat(path) => {
            let entry = if session.is_of_link(operation) {
                session.ask_link_stat(guard, path).await
            } else {
                session.ask_stat(guard, path).await
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
            // Servers refuse to remove the folder that they are in.
            if !path.is_root() && guard.home.is_known() {
                guard.ensure_directory(&RemotePath::root()).await.ok();
            }
            guard.check()?;
            remove_directory(guard, path).await.map(done)
        }
        Operation::RenameFrom(path) => renames::rename_from(guard, path).await.map(done),
        Operation::Rename { from, to, onto } => {
            let _move = guard.start_move();
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
            Err(unsupported("the backend server is reached by FTP, which tells no account names"))
        }
    }
}

/// In bytes by other ways too, where the server does not have SIZE; as text only the server can tell it.
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
            told => return told,
        }
        if representation == Representation::Ascii {
            return Err(unsupported("the backend server does not have SIZE"));
        }
    }
    file_size(connection, path).await?.ok_or_else(|| not_found(path))
}

async fn remove_directory(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<PeerReply, Failure> {
    let removed = {
        let _move = connection.start_move();
        connection.expect_at(2, "RMD", path).await
    };
    match removed {
        Err(refusal) if reply::is_unspecific(&refusal) => {
            Err(match seen(connection, path).await? {
                // To know what is in it would take a listing.
                Some(EntryKind::Directory) => Failure {
                    kind: FailureKind::Internal,
                    message: format!("{}; the folder is there, is it empty?", refusal.message),
                    ..refusal
                },
                Some(_) => Failure { kind: FailureKind::NotADirectory, ..refusal },
                None => refusal,
            })
        }
        removed => removed,
    }
}

/// What is there, behind a refusal that does not say it; without listing the folder above, which can
/// take long. `None`: nothing that shows itself.
async fn seen(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<EntryKind>, Failure> {
    let found = if connection.supports(OptionalCommand::Mlst) {
        stat(connection, path).await.map(|entry| entry.kind)
    } else {
        if can_enter(connection, path).await? {
            Ok(EntryKind::Directory)
        } else {
            connection.set_type(Representation::Image).await?;
            size(connection, path).await.map(|_| EntryKind::File)
        }
    };
    connection.check()?;
    Ok(found.ok())
}

/// FTP makes a folder with the server's own mode. It is taken for [`USUAL_FOLDER`]; what is to be
/// narrower is made so behind it, or removed again.
async fn make_directory(
    guard: &mut ConnectionGuard,
    path: &RemotePath,
    permissions: Option<u32>,
) -> Result<PeerReply, Failure> {
    let made = match guard.expect_at(2, "MKD", path).await {
        Err(refusal) if reply::is_unspecific(&refusal) => {
            return Err(match seen(guard, path).await? {
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
    let Some(mode) = permissions.filter(|mode| mode & USUAL_FOLDER != USUAL_FOLDER) else {
        return Ok(made);
    };
    let Err(refusal) = attributes::set_permissions(guard, path, mode & 0o777).await else {
        return Ok(made);
    };
    let policy = guard.pool().attributes().clone();
    let Err(refusal) = policy.judge(Attribute::Permissions, refusal) else { return Ok(made) };
    let removed = guard.expect_at(2, "RMD", path).await;
    let left = match removed {
        Ok(_) => "so it was removed again",
        Err(_) => "and it could not be removed again: it is there, open to others",
    };
    let message = format!(
        "the directory {path} was made, but could not be given the permissions {mode:03o}, {left}: {}",
        refusal.message
    );
    Err(Failure { message, ..refusal })
}
