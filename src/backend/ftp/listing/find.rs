//! Looking a path up in the listing of its folder, on servers without MLST.

use tokio::time::timeout;

use super::FtpListing;
use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::refusals::OptionalCommand;
use crate::op::{Entry, Failure, FailureKind, RemotePath};

/// What the folder above tells of a path.
pub(in crate::backend::ftp) enum Found {
    Entry(Entry),
    Nothing,
    /// No line that was understood has the name, but another one may.
    Unknown(Failure),
}

/// What a path is, on a server without MLST: its line in the folder above.
pub(in crate::backend::ftp) async fn find(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Found, Failure> {
    find_in(connection, path, false).await
}

/// As [`find`]; the folder above is known to be one.
pub(super) async fn find_in_folder(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Found, Failure> {
    find_in(connection, path, true).await
}

async fn find_in(
    connection: &mut Connection,
    path: &RemotePath,
    checked: bool,
) -> Result<Found, Failure> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
        return Ok(Found::Nothing);
    };
    // For all of it: a server that dribbles must not keep the client waiting for ever.
    let limit = connection.settings.reply_timeout;
    let search = async {
        let mut listing = FtpListing::start(&mut *connection, &parent, checked).await?;
        listing.omitted.look_up(name);
        let mut found = None;
        while let Some(entries) = listing.next_entries().await? {
            found = found.or_else(|| entries.into_iter().find(|entry| entry.name == name));
        }
        Ok(match (found, listing.check_absent()) {
            (Some(entry), _) => Found::Entry(entry),
            (None, Ok(())) => Found::Nothing,
            (None, Err(failure)) => Found::Unknown(failure),
        })
    };
    match timeout(limit, search).await {
        Ok(found) => found,
        Err(_) => {
            connection.give_up();
            Err(connection.unavailable("looking a name up in its folder took too long"))
        }
    }
}

/// Whether a listing may be without this name although it is there.
pub(in crate::backend::ftp) fn may_hide(connection: &Connection, name: &[u8]) -> bool {
    name.starts_with(b".")
        && !connection.supports(OptionalCommand::Mlsd)
        && !connection.server.refusals.has_worked(OptionalCommand::ListAll)
}

/// What a failed CWD before a listing is to the client: the folder is not there.
pub(in crate::backend::ftp) fn is_not_a_folder(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::NotFound | FailureKind::NotADirectory)
}
