//! Operations without a data connection: RFC 959, SIZE, MDTM, MLST (RFC 3659).

use super::connection::Connection;
use super::listing::{self, Found};
use super::{Turn, attributes, renames, reply};
use crate::op::{
    Answer, Attributes, Entry, EntryKind, Failure, FailureKind, Onto, Operation, RemotePath,
    Representation, Timestamp, Words,
};
use crate::wire::ftp::listing::parse_facts_line;
use crate::wire::ftp::time::parse_time;

/// What servers usually give a folder.
const USUAL_FOLDER: u32 = 0o755;

pub(super) async fn perform(turn: &mut Turn, operation: &Operation) -> Result<Answer, Failure> {
    let done = |words: Words| Answer::Done(Some(words));
    match operation {
        Operation::Size(path, representation) => {
            turn.set_type(*representation).await?;
            size(turn, path).await.map(Answer::Size)
        }
        Operation::Enter(path) => turn.enter(path).await.map(done),
        Operation::Remove(path) => turn.expect(2, "DELE", Some(path.as_bytes())).await.map(done),
        Operation::MakeDirectory { path, permissions } => {
            make_directory(turn, path, *permissions).await.map(done)
        }
        Operation::RemoveDirectory(path) => {
            // Servers refuse to remove the folder that they are in.
            if !path.is_root() {
                turn.be_in(&RemotePath::root()).await.ok();
            }
            turn.check()?;
            remove_directory(turn, path).await.map(done)
        }
        Operation::Rename { from, to, onto } => {
            let _moving = turn.moving();
            match onto {
                Onto::AsBackend => renames::rename(turn, from, to).await.map(done),
                Onto::Refused => renames::rename_to_new(turn, from, to).await.map(done),
                Onto::Replaced => renames::replace(turn, from, to).await.map(done),
            }
        }
        Operation::SetAttributes { path, changes, .. } => {
            attributes::set(turn, path, changes).await.map(Answer::Done)
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
        _ => Err(misdirected(operation)),
    }
}

async fn remove_directory(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Words, Failure> {
    let removed = {
        let _moving = connection.moving();
        connection.expect(2, "RMD", Some(path.as_bytes())).await
    };
    match removed {
        Err(refusal) if reply::is_vague(&refusal) => {
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
    let found = match connection.features.mlst {
        true => stat(connection, path).await.map(|entry| entry.kind),
        false => match enters(connection, path).await? {
            true => Ok(EntryKind::Directory),
            false => {
                connection.set_type(Representation::Image).await?;
                size(connection, path).await.map(|_| EntryKind::File)
            }
        },
    };
    connection.check()?;
    Ok(found.ok())
}

/// FTP makes a folder with the server's own mode. It is taken for [`USUAL_FOLDER`]; what is to be
/// narrower is made so behind it, or removed again.
async fn make_directory(
    connection: &mut Connection,
    path: &RemotePath,
    permissions: Option<u32>,
) -> Result<Words, Failure> {
    let made = match connection.expect(2, "MKD", Some(path.as_bytes())).await {
        Err(refusal) if reply::is_vague(&refusal) => {
            return Err(match seen(connection, path).await? {
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
    let Err(refusal) = attributes::set_permissions(connection, path, mode & 0o777).await else {
        return Ok(made);
    };
    let removed = connection.expect(2, "RMD", Some(path.as_bytes())).await;
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

pub(super) fn no_file_system() -> Failure {
    unsupported("the backend server is reached by FTP, which tells nothing of its file systems")
}

/// Whether there is something of this name; asked, never remembered. For what would destroy it, see
/// [`is_absent`].
pub(super) async fn exists(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<bool, Failure> {
    match stat(connection, path).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether there surely is nothing of this name; refused where the server does not let that be known.
pub(super) async fn is_absent(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<bool, Failure> {
    match file_size(connection, path).await {
        Ok(size) => Ok(size.is_none()),
        Err(failure) if failure.kind == FailureKind::IsADirectory => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// A file's bytes; `None` where there surely is nothing of this name.
pub(super) async fn file_size(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<u64>, Failure> {
    if connection.features.size {
        connection.set_type(Representation::Image).await?;
        match size(connection, path).await {
            Ok(size) => return Ok(Some(size)),
            // What it is not for: a folder, or nothing.
            Err(_) => connection.check()?,
        }
    }
    let entry = match connection.features.mlst {
        true => match stat(connection, path).await {
            Ok(entry) => Some(entry),
            Err(failure) if failure.kind == FailureKind::NotFound => None,
            Err(failure) => return Err(failure),
        },
        // A refused SIZE says little; the whole folder says it, where it shows such names.
        false => match listing::find(connection, path).await? {
            Found::Entry(entry) => Some(entry),
            Found::Nothing
                if path.name().is_some_and(|name| listing::may_hide(connection, name)) =>
            {
                return Err(unsupported(
                    "the backend server does not tell whether there is such a file already: it hides names that begin with a dot",
                ));
            }
            Found::Nothing => None,
            Found::Unknown(failure) => return Err(failure),
        },
    };
    let Some(entry) = entry else { return Ok(None) };
    if matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink(_)) {
        let message = format!("{path} is a folder, or a link that leads to no file");
        return Err(Failure::backend(FailureKind::IsADirectory, message));
    }
    entry.attributes.size.map(Some).ok_or_else(|| {
        unsupported("the backend server does not tell how large the file is, which is needed to go on with it")
    })
}

/// As [`file_size`], told by the one question for it; never looked up in a listing, which can take long.
/// Taken before and after, it says the same of what has not changed.
pub(super) async fn told_size(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<u64>, Failure> {
    let told = if connection.features.size {
        connection.set_type(Representation::Image).await?;
        size(connection, path).await
    } else if connection.features.mlst {
        let untold = || unsupported("the backend server tells no size of it");
        let entry = stat(connection, path).await;
        entry.and_then(|entry| entry.attributes.size.ok_or_else(untold))
    } else {
        Err(unsupported("the backend server knows neither SIZE nor MLST"))
    };
    match told {
        Ok(size) => Ok(Some(size)),
        Err(failure) if failure.peer.as_ref().is_some_and(|words| words.code == 550) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// An operation that came to the wrong door of this backend.
pub(super) fn misdirected(operation: &Operation) -> Failure {
    Failure::gateway(FailureKind::Internal, format!("{} was misdirected", operation.name()))
}

pub(super) async fn stat(connection: &mut Connection, path: &RemotePath) -> Result<Entry, Failure> {
    if path.is_root() {
        return Ok(Entry::new(*b"/", EntryKind::Directory));
    }
    let name = path.name().unwrap_or(b"/");
    if connection.features.mlst {
        let words = connection.expect(2, "MLST", Some(path.as_bytes())).await?;
        let entry = words.lines.iter().find_map(|line| parse_facts_line(line));
        let entry = entry.ok_or_else(|| {
            Failure::backend(
                FailureKind::Internal,
                "the backend server's answer to MLST was not understood",
            )
            .with_detail(&words)
        })?;
        return Ok(Entry { name: name.to_vec(), ..entry });
    }
    stat_without_mlst(connection, path, name).await
}

/// SIZE tells a file; else the line in the folder above tells what it is, a folder most often.
async fn stat_without_mlst(
    connection: &mut Connection,
    path: &RemotePath,
    name: &[u8],
) -> Result<Entry, Failure> {
    let refusal = if connection.features.size {
        connection.set_type(Representation::Image).await?;
        match size(connection, path).await {
            Ok(size) => {
                let modified = modified(connection, path).await?;
                let attributes = Attributes { size: Some(size), modified, ..Default::default() };
                return Ok(Entry { attributes, ..Entry::new(name, EntryKind::File) });
            }
            Err(failure) => {
                connection.check()?;
                Some(failure)
            }
        }
    } else {
        None
    };
    match listing::find(connection, path).await {
        Ok(Found::Entry(entry)) => Ok(entry),
        Ok(Found::Unknown(failure)) => match refusal {
            Some(refusal)
                if refusal.kind == FailureKind::NotFound && !reply::is_vague(&refusal) =>
            {
                Err(refusal)
            }
            _ if enters(connection, path).await? => Ok(Entry::new(name, EntryKind::Directory)),
            _ => Err(failure),
        },
        Err(failure) if !listing::is_no_folder(&failure) => Err(failure),
        Ok(Found::Nothing) | Err(_) => Err(refusal.unwrap_or_else(|| not_found(path))),
    }
}

/// Whether it may be a link, although the server told something else: ProFTPD's MLST tells a link's own
/// length and its mode, 0777, but what it leads to for its kind.
pub(super) fn may_be_link(entry: &Entry, by_facts: bool) -> bool {
    match entry.kind {
        EntryKind::Symlink(_) => true,
        EntryKind::File => by_facts && entry.attributes.permissions == Some(0o777),
        EntryKind::Directory | EntryKind::Other => false,
    }
}

/// As [`stat`], of a symlink what it leads to.
pub(super) async fn stat_followed(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Entry, Failure> {
    let entry = stat(connection, path).await?;
    match may_be_link(&entry, connection.features.mlst) {
        true => follow(connection, path, entry).await,
        false => Ok(entry),
    }
}

/// What a link leads to, as far as SIZE, MDTM and CWD tell it: they go through links at every server.
pub(super) async fn follow(
    connection: &mut Connection,
    path: &RemotePath,
    link: Entry,
) -> Result<Entry, Failure> {
    let leads_to = |kind| Entry::new(link.name.clone(), kind);
    if connection.features.size {
        connection.set_type(Representation::Image).await?;
        match size(connection, path).await {
            Ok(size) => {
                if link.kind == EntryKind::File && link.attributes.size == Some(size) {
                    return Ok(link);
                }
                let modified = modified(connection, path).await?;
                let attributes = Attributes { size: Some(size), modified, ..Default::default() };
                return Ok(Entry { attributes, ..leads_to(EntryKind::File) });
            }
            Err(_) => connection.check()?,
        }
    }
    match link.kind {
        // The server has said that it leads to a file.
        EntryKind::File => Ok(link),
        _ if enters(connection, path).await? => Ok(leads_to(EntryKind::Directory)),
        // Of a file nothing more can be known then.
        _ if !connection.features.size => Ok(leads_to(EntryKind::File)),
        _ => Err(not_found(path)),
    }
}

/// Whether it is a folder, or a link to one.
async fn enters(connection: &mut Connection, path: &RemotePath) -> Result<bool, Failure> {
    let entered = connection.enter(path).await.is_ok();
    connection.check()?;
    Ok(entered)
}

fn not_found(path: &RemotePath) -> Failure {
    Failure::backend(FailureKind::NotFound, format!("{path}: no such file or folder"))
}

async fn size(connection: &mut Connection, path: &RemotePath) -> Result<u64, Failure> {
    let words = connection.expect(2, "SIZE", Some(path.as_bytes())).await?;
    let text = words.lines.concat();
    let size = std::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse().ok());
    size.ok_or_else(|| {
        Failure::backend(
            FailureKind::Internal,
            "the backend server's answer to SIZE was not understood",
        )
        .with_detail(&words)
    })
}

async fn modified(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<Timestamp>, Failure> {
    if !connection.features.mdtm {
        return Ok(None);
    }
    let words = connection.ask("MDTM", Some(path.as_bytes())).await?;
    let seconds = (words.code == 213).then(|| parse_time(words.lines.concat().trim_ascii()));
    Ok(seconds.flatten().map(Timestamp::exact))
}

pub(super) fn unsupported(message: &str) -> Failure {
    Failure::backend(FailureKind::Unsupported, message)
}
