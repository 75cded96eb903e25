//! Operations that end in one answer (draft-ietf-secsh-filexfer-02 sections 6.5 to 6.11, 8).

use std::sync::Arc;

use bytes::Bytes;

use super::attributes::{self, changes, needs_times};
use super::explain::{Attempt, explain};
use super::server::Server;
use super::stat::{link_stat, stat};
use super::status::{Expect, is_stat_denied, misunderstood, out_of_range, unsupported};
use super::transfer;
use crate::op::{
    Answer, Changes, EntryKind, Failure, FailureKind, Onto, Operation, RemotePath, Representation,
};
use crate::wire::sftp::{self, Extension, RequestBody, UsersGroups};

use RequestBody as R;

pub(super) async fn perform(
    server: &Arc<Server>,
    operation: &Operation,
) -> Result<Answer, Failure> {
    let done = |()| Answer::Done(None);
    match operation {
        Operation::Stat(path) => stat(server, path).await.map(Answer::Entry),
        Operation::LinkStat(path) => link_stat(server, path).await.map(Answer::Entry),
        Operation::Size(path, Representation::Image) => size(server, path).await.map(Answer::Size),
        Operation::Size(path, Representation::Ascii) => {
            transfer::count_ascii(server, path).await.map(Answer::Size)
        }
        Operation::Enter(path) => enter(server, path).await.map(done),
        Operation::Remove(path) => {
            let removed = send(server, R::Remove { path: server.wire_path(path) }, operation).await;
            explain(server, removed, path, Attempt::Remove).await.map(done)
        }
        Operation::MakeDirectory { path, permissions } => {
            let attributes =
                sftp::Attributes { permissions: *permissions, ..sftp::Attributes::default() };
            let body = R::MakeDir { path: server.wire_path(path), attributes };
            let made = send(server, body, operation).await;
            explain(server, made, path, Attempt::Make).await.map(done)
        }
        Operation::RemoveDirectory(path) => {
            let removed =
                send(server, R::RemoveDir { path: server.wire_path(path) }, operation).await;
            explain(server, removed, path, Attempt::RemoveDirectory).await.map(done)
        }
        Operation::RenameFrom(path) => match link_stat(server, path).await {
            Err(failure) if !is_stat_denied(&failure) => Err(failure),
            _ => Ok(Answer::Done(None)),
        },
        Operation::Rename { from, to, onto } => rename(server, from, to, *onto).await.map(done),
        Operation::SetAttributes { path, changes, follow } => {
            set_attributes(server, path, changes, *follow).await.map(done)
        }
        Operation::ReadLink(path) => read_link(server, path).await.map(Answer::Link),
        Operation::Symlink { target, link } => {
            let body =
                R::Symlink { target: Bytes::copy_from_slice(target), link: server.wire_path(link) };
            let made = send(server, body, operation).await;
            explain(server, made, link, Attempt::Make).await.map(done)
        }
        Operation::HardLink { from, to } => {
            if !server.extensions.hard_link {
                return Err(unsupported(operation, "hard links"));
            }
            let body = R::Extended(Extension::HardLink {
                from: server.wire_path(from),
                to: server.wire_path(to),
            });
            let made = send(server, body, operation).await;
            explain(server, made, to, Attempt::Make).await.map(done)
        }
        Operation::FileSystem(path) => {
            if !server.extensions.stat_vfs {
                return Err(unsupported(operation, "statvfs"));
            }
            let body = R::Extended(Extension::StatVfs { path: server.wire_path(path) });
            let data = server.requests.send(body).await?.extended(operation)?;
            let decoded = sftp::FileSystem::decode(data).ok_or_else(|| misunderstood(operation))?;
            Ok(Answer::FileSystem(attributes::file_system(decoded)))
        }
        Operation::AccountNames { users, groups } => {
            account_names(server, users, groups, operation).await
        }
    }
}

async fn send(server: &Server, body: RequestBody, operation: &Operation) -> Result<(), Failure> {
    server.requests.send(body).await?.done(operation)
}

async fn size(server: &Server, path: &RemotePath) -> Result<u64, Failure> {
    let entry = stat(server, path).await?;
    let what = format!("cannot get the size of {path}");
    match (entry.kind, entry.attributes.size) {
        (EntryKind::Directory, _) => {
            let message = format_args!("{what}: it is a directory");
            Err(Failure::backend(FailureKind::IsADirectory, message))
        }
        (_, Some(size)) => Ok(size),
        (_, None) => {
            let message = format_args!("{what}: the backend server does not report it");
            Err(Failure::backend(FailureKind::Unsupported, message))
        }
    }
}

async fn enter(server: &Server, path: &RemotePath) -> Result<(), Failure> {
    let entry = match stat(server, path).await {
        Ok(entry) => entry,
        Err(denied) if is_stat_denied(&denied) => {
            return open_directory(server, path).await.map_err(|_| denied);
        }
        Err(failure) => return Err(failure),
    };
    match entry.kind {
        EntryKind::Directory => Ok(()),
        // The server does not report the kind.
        EntryKind::File if entry.attributes.type_bits.is_none() => {
            open_directory(server, path).await
        }
        _ => Err(Failure::backend(
            FailureKind::NotADirectory,
            format_args!("cannot enter {path}: it is not a directory"),
        )),
    }
}

/// Opens it and closes it again.
async fn open_directory(server: &Server, path: &RemotePath) -> Result<(), Failure> {
    let opened = server.requests.send(R::OpenDir { path: server.wire_path(path) }).await?;
    let handle = opened.handle(format_args!("enter {path}"))?;
    server.requests.send(R::Close { handle }).await.map(drop)
}

/// RENAME refuses a name that exists, as in OpenSSH; posix-rename replaces the file.
pub(super) async fn rename(
    server: &Server,
    from: &RemotePath,
    to: &RemotePath,
    onto: Onto,
) -> Result<(), Failure> {
    let what = format!("rename {from} to {to}");
    // Ends the leases of uploads to that name: the renamed file is not theirs.
    server.lease(to).await?;
    let posix = server.extensions.posix_rename;
    let body = match onto {
        Onto::Replaced if !posix => {
            return Err(unsupported(&what, "a rename that replaces a file"));
        }
        Onto::Replaced | Onto::AsBackend if posix => R::Extended(Extension::PosixRename {
            from: server.wire_path(from),
            to: server.wire_path(to),
        }),
        _ => R::Rename { from: server.wire_path(from), to: server.wire_path(to) },
    };
    server.changes.note_all();
    let renamed = server.requests.send(body).await?.done(&what);
    explain(server, renamed, to, Attempt::Make).await
}

async fn set_attributes(
    server: &Server,
    path: &RemotePath,
    requested: &Changes,
    follow: bool,
) -> Result<(), Failure> {
    let what = format!("set the attributes of {path}");
    if !follow && !server.extensions.link_set_stat {
        return Err(unsupported(&what, "attributes of links themselves"));
    }
    let current = match (needs_times(requested), follow) {
        (false, _) => None,
        (true, true) => Some(R::Stat { path: server.wire_path(path) }),
        (true, false) => Some(R::LinkStat { path: server.wire_path(path) }),
    };
    let current = match current {
        Some(body) => Some(server.requests.send(body).await?.attributes(&what)?),
        None => None,
    };
    let attributes = changes(requested, current.as_ref()).map_err(|_| out_of_range(&what))?;
    if requested.size.is_some() {
        server.changes.note_all();
    }
    let path = server.wire_path(path);
    let body = if follow {
        R::SetStat { path, attributes }
    } else {
        R::Extended(Extension::LinkSetStat { path, attributes })
    };
    server.requests.send(body).await?.done(&what)
}

async fn read_link(server: &Server, path: &RemotePath) -> Result<Vec<u8>, Failure> {
    let what = format!("read the link {path}");
    let names =
        server.requests.send(R::ReadLink { path: server.wire_path(path) }).await?.names(&what)?;
    let target = names.unwrap_or_default().into_iter().next();
    target.map(|target| target.name.to_vec()).ok_or_else(|| misunderstood(&what))
}

async fn account_names(
    server: &Server,
    users: &[u32],
    groups: &[u32],
    operation: &Operation,
) -> Result<Answer, Failure> {
    if !server.extensions.users_groups {
        return Err(unsupported(operation, "the names of users and groups"));
    }
    let body = Extension::UsersGroupsById { users: users.to_vec(), groups: groups.to_vec() };
    let data = server.requests.send(R::Extended(body)).await?.extended(operation)?;
    let names = UsersGroups::decode(data)
        .filter(|names| names.users.len() == users.len() && names.groups.len() == groups.len())
        .ok_or_else(|| misunderstood(operation))?;
    let to_vecs = |names: Vec<Bytes>| names.iter().map(|name| name.to_vec()).collect();
    Ok(Answer::AccountNames { users: to_vecs(names.users), groups: to_vecs(names.groups) })
}
