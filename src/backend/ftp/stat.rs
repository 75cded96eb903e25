//! Determines the kind and attributes of a path: by MLST, SIZE and MDTM (RFC 3659), CWD and LIST (RFC 959), as far
//! as the server supports them.

use super::connection::Connection;
use super::failures::{not_found, unsupported};
use super::listing::Found;
use super::refusals::{OptionalCommand, is_unknown};
use super::{cache, facts, failures, listing, reply};
use crate::op::{
    Attributes, Entry, EntryKind, Failure, FailureKind, PeerReply, RemotePath, Representation,
    Timestamp,
};
use crate::wire::ftp::listing::{Parsed, parse_line};

pub(super) async fn stat(connection: &mut Connection, path: &RemotePath) -> Result<Entry, Failure> {
    if path.is_root() {
        return Ok(Entry::new(*b"/", EntryKind::Directory));
    }
    let name = path.name().unwrap_or(b"/");
    match facts::stat_by_mlst(connection, path).await {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => stat_without_mlst(connection, path, name).await,
        // One command may be denied and another not.
        Err(denied) if denied.kind == FailureKind::PermissionDenied && denied.peer.is_some() => {
            match stat_by_size(connection, path, name).await? {
                Ok(entry) => Ok(entry),
                Err(_) if can_enter(connection, path).await? => {
                    Ok(Entry::new(name, EntryKind::Directory))
                }
                Err(_) => Err(denied),
            }
        }
        Err(failure) => Err(failure),
    }
}

/// SIZE finds a file; else the line in the parent's listing shows what it is, most often a
/// directory.
async fn stat_without_mlst(
    connection: &mut Connection,
    path: &RemotePath,
    name: &[u8],
) -> Result<Entry, Failure> {
    let refusal = match stat_by_size(connection, path, name).await? {
        Ok(entry) => return Ok(entry),
        Err(refusal) => refusal,
    };
    match listing::find(connection, path).await {
        Ok(Found::Entry(entry)) => Ok(entry),
        Ok(Found::Unknown(failure)) => match refusal {
            Some(refusal)
                if refusal.kind == FailureKind::NotFound && !reply::is_unspecific(&refusal) =>
            {
                Err(refusal)
            }
            _ if can_enter(connection, path).await? => Ok(Entry::new(name, EntryKind::Directory)),
            _ => Err(failure),
        },
        Ok(Found::Nothing) => Err(refusal.unwrap_or_else(|| not_found(path))),
        // The account may not list the parent; it may still enter the directory itself.
        Err(failure) if reply::denies_inspection(&failure) => {
            connection.check()?;
            if can_enter(connection, path).await? {
                Ok(Entry::new(name, EntryKind::Directory))
            } else if listing::is_not_a_folder(&failure) {
                Err(refusal.unwrap_or_else(|| not_found(path)))
            } else {
                Err(failure)
            }
        }
        Err(failure) if !listing::is_not_a_folder(&failure) => Err(failure),
        Err(_) => Err(refusal.unwrap_or_else(|| not_found(path))),
    }
}

/// A file, by SIZE and MDTM; else the error reply, if the server supports SIZE.
async fn stat_by_size(
    connection: &mut Connection,
    path: &RemotePath,
    name: &[u8],
) -> Result<Result<Entry, Option<Failure>>, Failure> {
    if !connection.supports(OptionalCommand::Size) {
        return Ok(Err(None));
    }
    connection.set_type(Representation::Image).await?;
    match size(connection, path).await {
        Ok(size) => {
            let modified = modified(connection, path).await?;
            let attributes = Attributes { size: Some(size), modified, ..Default::default() };
            Ok(Ok(Entry { attributes, ..Entry::new(name, EntryKind::File) }))
        }
        Err(failure) => {
            connection.check()?;
            // Without SIZE the reply does not concern the file.
            Ok(Err(Some(failure).filter(|_| connection.supports(OptionalCommand::Size))))
        }
    }
}

/// Whether CWD takes the path: it is a directory, or a link to one. `false` if the session cannot send
/// CWD.
pub(super) async fn can_enter(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<bool, Failure> {
    if !connection.home.is_known() {
        return Ok(false);
    }
    let entered = connection.change_directory(path).await.is_ok();
    connection.check()?;
    Ok(entered)
}

/// The entries in a reply to STAT that are about the path, which was sent as `name`: some servers
/// repeat that.
pub(super) fn entries_about(
    reply: &PeerReply,
    path: &RemotePath,
    name: &[u8],
) -> impl Iterator<Item = Entry> {
    let now = Timestamp::now();
    reply.lines.iter().filter_map(move |line| match parse_line(line, now) {
        Parsed::Entry(found) if path.name() == Some(&found.name[..]) || found.name == name => {
            Some(found)
        }
        _ => None,
    })
}

/// Adds the permissions to a file's entry. Without MLST only a line of LIST has them: STAT with a
/// path (RFC 959 section 4.1.3) returns it without a data connection. If it does not, nothing is
/// added.
pub(super) async fn add_permissions(
    connection: &mut Connection,
    path: &RemotePath,
    entry: &mut Entry,
) -> Result<(), Failure> {
    // Servers treat these as patterns, and could return half a folder.
    let is_pattern = entry.name.iter().any(|b| b"*?".contains(b));
    let complete = entry.kind != EntryKind::File || entry.attributes.permissions.is_some();
    if complete
        || is_pattern
        || connection.supports(OptionalCommand::Mlst)
        || !connection.supports(OptionalCommand::StatPath)
    {
        return Ok(());
    }
    let name = connection.name(path)?;
    let reply = connection.command("STAT", Some(&name)).await?;
    // The path exists, so the error is about the command.
    if reply.code == 501 || is_unknown(reply.code) {
        connection.server.refusals.note_refusal(OptionalCommand::StatPath, &reply);
    }
    if reply.code / 100 != 2 {
        return Ok(());
    }
    let lines = entries_about(&reply, path, &name);
    // The mode of a link is not that of its target, to which SIZE refers.
    let mut files = lines.filter(|found| found.kind == EntryKind::File);
    entry.attributes.permissions = files.next().and_then(|found| found.attributes.permissions);
    Ok(())
}

/// As [`stat`], but follows symlinks.
pub(super) async fn stat_followed(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Entry, Failure> {
    let entry = stat(connection, path).await?;
    if cache::may_be_link(&entry, connection.supports(OptionalCommand::Mlst)) {
        follow(connection, path, entry).await
    } else {
        Ok(entry)
    }
}

/// The target of a link, by SIZE, MDTM and CWD, which follow links at every server.
pub(super) async fn follow(
    connection: &mut Connection,
    path: &RemotePath,
    link: Entry,
) -> Result<Entry, Failure> {
    let leads_to = |kind| Entry::new(link.name.clone(), kind);
    if connection.supports(OptionalCommand::Size) {
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
        // According to the server the target is a file.
        EntryKind::File => Ok(link),
        _ if !connection.home.is_known() => {
            Err(failures::unknown_home("the target of a link cannot be determined"))
        }
        _ if can_enter(connection, path).await? => Ok(leads_to(EntryKind::Directory)),
        // Then nothing more can be known about a file.
        _ if !connection.supports(OptionalCommand::Size) => Ok(leads_to(EntryKind::File)),
        _ => Err(not_found(path)),
    }
}

pub(super) async fn size(connection: &mut Connection, path: &RemotePath) -> Result<u64, Failure> {
    let name = connection.name(path)?;
    let reply = connection.command("SIZE", Some(&name)).await?;
    if connection.is_in_image() {
        connection.server.refusals.note_reply(OptionalCommand::Size, &reply);
    }
    let reply = connection.check_reply(2, "SIZE", Some(&name), reply)?;
    reply::single_value(&reply, |word| std::str::from_utf8(word).ok()?.parse().ok()).ok_or_else(
        || {
            Failure::backend(
                FailureKind::Internal,
                "the backend server's reply to SIZE could not be parsed",
            )
            .with_detail(&reply)
        },
    )
}

async fn modified(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<Timestamp>, Failure> {
    if !connection.supports(OptionalCommand::Mdtm) {
        return Ok(None);
    }
    let name = connection.name(path)?;
    let reply = connection.command("MDTM", Some(&name)).await?;
    connection.server.refusals.note_reply(OptionalCommand::Mdtm, &reply);
    Ok(reply::reported_time(&reply))
}

/// Whether the name is known to be free; fails if the server does not let that be checked.
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

/// The size of a file; `None` if the name is known to be free.
pub(super) async fn file_size(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<u64>, Failure> {
    if connection.supports(OptionalCommand::Size) {
        connection.set_type(Representation::Image).await?;
        match size(connection, path).await {
            Ok(size) => return Ok(Some(size)),
            // SIZE is refused for folders and for absent files.
            Err(_) => connection.check()?,
        }
    }
    let entry_result = if path.is_root() {
        stat(connection, path).await.map(Some)
    } else {
        facts::stat_by_mlst(connection, path).await
    };
    let entry = match entry_result {
        Ok(Some(entry)) => Some(entry),
        Err(failure) if failure.kind == FailureKind::NotFound => None,
        Err(failure) => return Err(failure),
        // A refused SIZE is inconclusive; the parent's listing decides, if it shows such names.
        Ok(None) => match listing::find(connection, path).await? {
            Found::Entry(entry) => Some(entry),
            Found::Nothing
                if path.name().is_some_and(|name| listing::may_hide(connection, name)) =>
            {
                return Err(unsupported(
                    "the backend server does not show whether the file exists: it hides names that start with a dot",
                ));
            }
            Found::Nothing => None,
            Found::Unknown(failure) => return Err(failure),
        },
    };
    let Some(entry) = entry else { return Ok(None) };
    if matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink(_)) {
        let message = format!("{path} is a folder, or a link to something other than a file");
        return Err(Failure::backend(FailureKind::IsADirectory, message));
    }
    entry.attributes.size.map(Some).ok_or_else(|| {
        unsupported("the backend server does not report the size of the file, which is needed to continue it")
    })
}

/// As [`file_size`], by SIZE or MLST only, not by a listing, which can take long. A 550 counts as
/// absent: before and after a transfer it means the same for an unchanged file.
pub(super) async fn reported_size(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<u64>, Failure> {
    let is_550 = |failure: &Failure| failure.peer.as_ref().is_some_and(|reply| reply.code == 550);
    if connection.supports(OptionalCommand::Size) {
        connection.set_type(Representation::Image).await?;
        match size(connection, path).await {
            Ok(size) => return Ok(Some(size)),
            Err(failure) if is_550(&failure) => return Ok(None),
            Err(_) => connection.check()?,
        }
    }
    let unknown_size =
        || unsupported("the backend server does not report the file's size by SIZE or MLST");
    match facts::stat_by_mlst(connection, path).await {
        Ok(None) => Err(unknown_size()),
        Ok(Some(entry)) => entry.attributes.size.map(Some).ok_or_else(unknown_size),
        Err(failure) if is_550(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}
