//! What FAILURE, which says nothing, is about.

use super::server::Server;
use super::stat::{link_stat, stat};
use crate::op::{EntryKind, Failure, FailureKind, RemotePath};

/// What a request wanted from the path, for [`explained`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// A new name.
    Make,
    /// A file's content.
    Open,
    Remove,
    RemoveDirectory,
}

/// FAILURE alone is all that OpenSSH says to most that goes wrong. What is at the path tells more: a
/// round trip that only failures cost.
pub(super) async fn explained<T>(
    server: &Server,
    outcome: Result<T, Failure>,
    path: &RemotePath,
    tried: Tried,
) -> Result<T, Failure> {
    let failure = match outcome {
        Err(failure) if failure.kind == FailureKind::Internal && failure.status.is_some() => {
            failure
        }
        outcome => return outcome,
    };
    let is = match tried {
        Tried::Open => stat(server, path).await,
        _ => link_stat(server, path).await,
    };
    let is_folder = is.as_ref().is_ok_and(|entry| entry.kind == EntryKind::Directory);
    let kind = match tried {
        Tried::Make if is.is_ok() => FailureKind::AlreadyExists,
        Tried::Open | Tried::Remove if is_folder => FailureKind::IsADirectory,
        Tried::RemoveDirectory if is_folder => FailureKind::DirectoryNotEmpty,
        Tried::RemoveDirectory if is.is_ok() => FailureKind::NotADirectory,
        _ => return Err(failure),
    };
    let message = format!("{} ({})", failure.message, kind.sentence());
    Err(Failure { kind, message, ..failure })
}
