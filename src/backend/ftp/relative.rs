//! What is done without CWD, in sessions whose paths are relative to where the login put the user: the
//! server must stay there.

use super::connection::Connection;
use super::listing::{self, Found};
use super::{operations, stat};
use crate::op::{EntryKind, Failure, FailureKind, RemotePath};

/// `what`: what cannot be done.
pub(super) fn unsupported(what: &str) -> Failure {
    operations::unsupported(&format!(
        "the backend server does not tell where the login put the user (PWD), so {what}; set \
         `login_folder` on the backend"
    ))
}

/// Whether there is such a folder, as far as MLST or LIST shows it.
pub(super) async fn check_folder(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<(), Failure> {
    if path.is_root() {
        return Ok(());
    }
    if let Some(entry) = stat::stat_by_mlst(connection, path).await? {
        return is_folder(path, &entry.kind);
    }
    // From above: of what is no folder LIST shows something else than what is in it.
    let mut folder = RemotePath::root();
    for name in path.components() {
        let inside = [b"./", name].concat();
        folder = RemotePath::resolve(&folder, &inside)
            .map_err(|e| Failure::client(FailureKind::NameRefused, e))?;
        match listing::find_in_folder(connection, &folder).await? {
            Found::Entry(entry) => is_folder(&folder, &entry.kind)?,
            Found::Nothing if listing::may_hide(connection, name) => {
                let what = "a folder that the server hides cannot be entered";
                return Err(unsupported(what));
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
        EntryKind::Symlink(_) => Err(unsupported("a link cannot be entered")),
        EntryKind::File | EntryKind::Other => {
            let message = format!("{path} is no folder");
            Err(Failure::backend(FailureKind::NotADirectory, message))
        }
    }
}

/// What LIST is told of a folder that [`check_folder`] has found; `None` for the login's own. Servers
/// take some names for options, patterns or several names.
pub(super) fn list_argument(path: &RemotePath) -> Result<Option<Vec<u8>>, Failure> {
    if path.is_root() {
        return Ok(None);
    }
    let name = &path.as_bytes()[1..];
    let is_plain =
        |b: &u8| b.is_ascii_alphanumeric() || b"._-/+=@,#%^".contains(b) || !b.is_ascii();
    match !name.starts_with(b"-") && name.iter().all(is_plain) {
        true => Ok(Some(name.to_vec())),
        false => Err(unsupported("a folder with such a name cannot be listed")),
    }
}
