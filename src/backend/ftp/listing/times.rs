//! Completes the times of a LIST, which are to the minute or day, by MDTM (RFC 3659 section 3):
//! clients compare times to detect changes.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::refusals::OptionalCommand;
use crate::backend::ftp::reply;
use crate::op::{Entry, EntryKind, Failure, Precision, RemotePath, Timestamp};
use crate::wire::ftp::command::is_sendable;

/// A folder with more files keeps the times of its listing: each costs a command.
pub(super) const TIMED_FILES_MAX: usize = 1024;
/// Commands that are pipelined at once. Their replies fit into the socket buffer of the server.
const PIPELINE_MAX: usize = 32;
/// The code of a reply with a time.
const MDTM_CODE: u16 = 213;
/// For all times of a folder: the client receives nothing of the listing meanwhile.
const TIMES_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether the server reports times and can pipeline.
pub(super) fn can_be_requested(connection: &Connection) -> bool {
    let server = &connection.server;
    connection.supports(OptionalCommand::Mdtm)
        && !server.no_pipelining.is_known()
        && !server.surplus_replies.is_known()
        && !server.no_mdtm_pipelining.is_known()
}

/// Requests the time of each file that needs it. What the server does not report in time stays as
/// it is; a server that is too slow or cannot pipeline gets no further MDTM.
pub(super) async fn complete_times(
    connection: &mut Connection,
    folder: &RemotePath,
    entries: &mut [Entry],
) -> Result<(), Failure> {
    let result =
        timeout_at(Instant::now() + TIMES_TIMEOUT, request_times(connection, folder, entries))
            .await;
    let reason = match result {
        Ok(Ok(times)) => {
            for (index, time) in times {
                entries[index].attributes.modified = Some(time);
            }
            return Ok(());
        }
        Ok(Err(failure)) => failure.detail.unwrap_or(failure.message),
        Err(_) => "it takes too long".to_owned(),
    };
    if connection.server.no_mdtm_pipelining.note() {
        tracing::info!(
            server = %connection.server.address,
            reason,
            "the times of files in folders are no longer requested from the backend server (MDTM); \
             listings show those of LIST"
        );
    }
    connection.give_up_replaceable();
    Err(connection.unavailable(reason))
}

/// Returns times by index of the entry.
async fn request_times(
    connection: &mut Connection,
    folder: &RemotePath,
    entries: &[Entry],
) -> Result<Vec<(usize, Timestamp)>, Failure> {
    let mut files = Vec::new();
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| needs_time(entry)) {
        let named = [b"./", &entry.name[..]].concat();
        let Ok(path) = RemotePath::resolve(folder, &named) else { continue };
        let name = connection.name(&path)?;
        if is_sendable(&name) {
            files.push((index, name));
        }
    }
    let mut times = Vec::with_capacity(files.len());
    for batch in files.chunks(PIPELINE_MAX) {
        if !connection.supports(OptionalCommand::Mdtm) {
            break;
        }
        let names: Vec<&[u8]> = batch.iter().map(|(_, name)| &name[..]).collect();
        let replies = connection.pipeline("MDTM", &names, MDTM_CODE).await?;
        for ((index, _), reply) in batch.iter().zip(replies) {
            connection.server.refusals.note_reply(OptionalCommand::Mdtm, &reply);
            times.extend(reply::reported_time(&reply).map(|time| (*index, time)));
        }
    }
    Ok(times)
}

fn needs_time(entry: &Entry) -> bool {
    let modified = entry.attributes.modified;
    entry.kind == EntryKind::File
        && modified.is_none_or(|modified| modified.precision != Precision::Second)
}
