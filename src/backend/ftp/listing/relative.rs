//! Listings without CWD, in sessions whose paths are relative to an unknown login folder: the
//! server must stay there.

use super::find::{Found, find_in_folder, may_hide};
use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::facts;
use crate::backend::ftp::failures::unknown_home;
use crate::op::{EntryKind, Failure, FailureKind, RemotePath};

/// Checks that the folder exists, as far as MLST or LIST shows it.
pub(in crate::backend::ftp) async fn check_folder(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<(), Failure> {
    if path.is_root() {
        return Ok(());
    }
    if let Some(entry) = facts::stat_by_mlst(connection, path).await? {
        return is_folder(path, &entry.kind);
    }
    // From the top: for anything but a folder, LIST does not show contents.
    let mut folder = RemotePath::root();
    for name in path.components() {
        let inside = [b"./", name].concat();
        folder = RemotePath::resolve(&folder, &inside)
            .map_err(|e| Failure::client(FailureKind::NameRefused, e))?;
        match find_in_folder(connection, &folder).await? {
            Found::Entry(entry) => is_folder(&folder, &entry.kind)?,
            Found::Nothing if may_hide(connection, name) => {
                let what = "a hidden folder cannot be entered";
                return Err(unknown_home(what));
            }
            Found::Nothing => {
                let message = format!("{folder}: no such folder");
                return Err(Failure::backend(FailureKind::NotFound, message));
            }
            Found::Unknown(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn is_folder(path: &RemotePath, kind: &EntryKind) -> Result<(), Failure> {
    match kind {
        EntryKind::Directory => Ok(()),
        EntryKind::Symlink(_) => Err(unknown_home("a link cannot be entered")),
        EntryKind::File | EntryKind::Other => {
            let message = format!("{path} is not a folder");
            Err(Failure::backend(FailureKind::NotADirectory, message))
        }
    }
}

/// The argument of LIST for a folder that [`check_folder`] has found; `None` for the login folder.
/// Servers take some names for options, patterns or several names.
pub(super) fn list_argument(path: &RemotePath) -> Result<Option<Vec<u8>>, Failure> {
    if path.is_root() {
        return Ok(None);
    }
    let name = &path.as_bytes()[1..];
    let is_plain =
        |b: &u8| b.is_ascii_alphanumeric() || b"._-/+=@,#%^".contains(b) || !b.is_ascii();
    if !name.starts_with(b"-") && name.iter().all(is_plain) {
        Ok(Some(name.to_vec()))
    } else {
        Err(unknown_home("a folder with such a name cannot be listed"))
    }
}
