//! Times to the second for what LIST shows to the minute or the day (MDTM, RFC 3659 section 3): clients
//! compare them to know what has changed.

use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::refusals::Optional;
use crate::backend::ftp::stat;
use crate::op::{Entry, EntryKind, Failure, Precision, RemotePath};
use crate::wire::ftp::command::is_carriable;

/// A folder with more files than that keeps the times of its listing: each costs a command.
pub(super) const FILES_MAX: usize = 1024;
/// Commands in one flight. Their replies fit what a server's socket holds.
const FLIGHT_MAX: usize = 32;

/// Whether the server tells times, in many answers at once.
pub(super) fn can_be_asked(connection: &Connection) -> bool {
    let server = &connection.server;
    connection.has(Optional::Mdtm)
        && !server.no_flights.is_known()
        && !server.surplus_replies.is_known()
}

/// Asks for the time of each file that needs it. What the server does not tell stays as it is.
pub(super) async fn complete(
    connection: &mut Connection,
    folder: &RemotePath,
    entries: &mut [Entry],
) -> Result<(), Failure> {
    let mut files = Vec::new();
    for entry in entries.iter_mut().filter(|entry| is_inexact(entry)) {
        let named = [b"./", &entry.name[..]].concat();
        let Ok(path) = RemotePath::resolve(folder, &named) else { continue };
        let name = connection.name(&path)?;
        if is_carriable(&name) {
            files.push((name, &mut entry.attributes.modified));
        }
    }
    for flight in files.chunks_mut(FLIGHT_MAX) {
        if !connection.has(Optional::Mdtm) {
            break;
        }
        let names: Vec<&[u8]> = flight.iter().map(|(name, _)| &name[..]).collect();
        let answers = connection.ask_each("MDTM", &names).await?;
        for ((_, modified), words) in flight.iter_mut().zip(answers) {
            connection.server.refusals.note(Optional::Mdtm, &words);
            if let Some(exact) = stat::told_time(&words) {
                **modified = Some(exact);
            }
        }
    }
    Ok(())
}

fn is_inexact(entry: &Entry) -> bool {
    let modified = entry.attributes.modified;
    entry.kind == EntryKind::File
        && modified.is_none_or(|modified| modified.precision != Precision::Second)
}
