//! Times to the second for what LIST shows to the minute or the day (MDTM, RFC 3659 section 3): clients
//! compare them to know what has changed.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::refusals::OptionalCommand;
use crate::backend::ftp::reply;
use crate::op::{Entry, EntryKind, Failure, Precision, RemotePath, Timestamp};
use crate::wire::ftp::command::is_sendable;

/// A folder with more files than that keeps the times of its listing: each costs a command.
pub(super) const FILES_MAX: usize = 1024;
/// Commands in one flight. Their replies fit what a server's socket holds.
const FLIGHT_MAX: usize = 32;
/// What a time is answered with.
const TOLD: u16 = 213;
/// For all times of a folder: the client sees nothing of the listing meanwhile.
const TIMES_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether the server tells times, in many answers at once.
pub(super) fn can_be_requested(connection: &Connection) -> bool {
    let server = &connection.server;
    connection.supports(OptionalCommand::Mdtm)
        && !server.no_pipelining.is_known()
        && !server.surplus_replies.is_known()
        && !server.no_mdtm_pipelining.is_known()
}

/// Asks for the time of each file that needs it. What the server does not tell in time stays as it is;
/// a server that is too slow for it, or does not bear it, is not asked again.
pub(super) async fn complete(
    connection: &mut Connection,
    folder: &RemotePath,
    entries: &mut [Entry],
) -> Result<(), Failure> {
    let requested_at =
        timeout_at(Instant::now() + TIMES_TIMEOUT, ask(connection, folder, entries)).await;
    let why = match requested_at {
        Ok(Ok(told)) => {
            for (place, time) in told {
                entries[place].attributes.modified = Some(time);
            }
            return Ok(());
        }
        Ok(Err(failure)) => failure.detail.unwrap_or(failure.message),
        Err(_) => "it takes too long".to_owned(),
    };
    if connection.server.no_mdtm_pipelining.note() {
        tracing::info!(
            backend = %connection.settings.name,
            server = %connection.server.address,
            reason = why,
            "the backend server is not asked for the times of all files in a folder (MDTM); listings show \
             those of LIST"
        );
    }
    connection.give_up_replaceable();
    Err(connection.unavailable(why))
}

/// By the entries' places.
async fn ask(
    connection: &mut Connection,
    folder: &RemotePath,
    entries: &[Entry],
) -> Result<Vec<(usize, Timestamp)>, Failure> {
    let mut files = Vec::new();
    for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| is_inexact(entry)) {
        let named = [b"./", &entry.name[..]].concat();
        let Ok(path) = RemotePath::resolve(folder, &named) else { continue };
        let name = connection.name(&path)?;
        if is_sendable(&name) {
            files.push((place, name));
        }
    }
    let mut told = Vec::with_capacity(files.len());
    for flight in files.chunks(FLIGHT_MAX) {
        if !connection.supports(OptionalCommand::Mdtm) {
            break;
        }
        let names: Vec<&[u8]> = flight.iter().map(|(_, name)| &name[..]).collect();
        let answers = connection.pipeline("MDTM", &names, TOLD).await?;
        for ((place, _), reply) in flight.iter().zip(answers) {
            connection.server.refusals.note_reply(OptionalCommand::Mdtm, &reply);
            told.extend(reply::reported_time(&reply).map(|time| (*place, time)));
        }
    }
    Ok(told)
}

fn is_inexact(entry: &Entry) -> bool {
    let modified = entry.attributes.modified;
    entry.kind == EntryKind::File
        && modified.is_none_or(|modified| modified.precision != Precision::Second)
}
