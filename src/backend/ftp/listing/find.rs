//! Looks a path up in the listing of its parent, at servers without MLST.

use tokio::time::timeout;

use super::FtpListing;
use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::refusals::OptionalCommand;
use crate::op::{Entry, Failure, FailureKind, RemotePath};

/// What the parent's listing shows of a path.
pub(in crate::backend::ftp) enum Found {
    Entry(Entry),
    Nothing,
    /// No parsed line has the name, but another line may.
    Unknown(Failure),
}

/// The path's line in its parent's listing.
pub(in crate::backend::ftp) async fn find(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Found, Failure> {
    find_in(connection, path, false).await
}

/// As [`find`]; the parent is known to be a folder.
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
    // For the whole listing: a slow server must not keep the client waiting.
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
            Err(connection
                .unavailable("listing a folder to look up a name timed out (`reply_timeout`)"))
        }
    }
}

/// Whether a listing may hide this name.
pub(in crate::backend::ftp) fn may_hide(connection: &Connection, name: &[u8]) -> bool {
    name.starts_with(b".")
        && !connection.supports(OptionalCommand::Mlsd)
        && !connection.server.refusals.has_worked(OptionalCommand::ListAll)
}

/// Whether a CWD before a listing failed because there is no such folder.
pub(in crate::backend::ftp) fn is_not_a_folder(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::NotFound | FailureKind::NotADirectory)
}
