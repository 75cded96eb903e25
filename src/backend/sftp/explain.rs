//! What a bare FAILURE is about. OpenSSH answers most errors with nothing more.

use super::server::Server;
use super::stat::{link_stat, stat};
use crate::op::{EntryKind, Failure, FailureKind, RemotePath};

/// What a request tried to do at the path, for [`explain`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// To make a new name.
    Make,
    /// To open a file's content.
    Open,
    Remove,
    RemoveDirectory,
}

/// Looks at the path to find the reason of a bare FAILURE: a round trip that only failures cost.
pub(super) async fn explain<T>(
    server: &Server,
    outcome: Result<T, Failure>,
    path: &RemotePath,
    attempt: Attempt,
) -> Result<T, Failure> {
    let failure = match outcome {
        Err(failure) if failure.kind == FailureKind::Internal && failure.status.is_some() => {
            failure
        }
        outcome => return outcome,
    };
    let found = match attempt {
        Attempt::Open => stat(server, path).await,
        _ => link_stat(server, path).await,
    };
    let is_directory = found.as_ref().is_ok_and(|entry| entry.kind == EntryKind::Directory);
    let kind = match attempt {
        Attempt::Make if found.is_ok() => FailureKind::AlreadyExists,
        Attempt::Open | Attempt::Remove if is_directory => FailureKind::IsADirectory,
        Attempt::RemoveDirectory if is_directory => FailureKind::DirectoryNotEmpty,
        Attempt::RemoveDirectory if found.is_ok() => FailureKind::NotADirectory,
        _ => return Err(failure),
    };
    let message = format!("{} ({})", failure.message, kind.sentence());
    Err(Failure { kind, message, ..failure })
}
