//! The protocols that clients speak to the gateway.

pub mod ftp;
mod refusal;
pub mod sftp;

use crate::op::{Failure, FailureKind};

/// A failure's message, where it has more than the protocol's usual text for its kind.
fn reason(failure: &Failure) -> Option<&str> {
    let message = failure.message.trim_end_matches('.');
    let text = match failure.kind {
        FailureKind::NotFound => "no such file",
        FailureKind::PermissionDenied => "permission denied",
        FailureKind::AlreadyExists => "file exists",
        FailureKind::NotADirectory => "not a directory",
        FailureKind::IsADirectory => "is a directory",
        FailureKind::DirectoryNotEmpty => "directory not empty",
        FailureKind::LoginRefused => "login incorrect",
        _ => return Some(message),
    };
    // "cannot open /x: no such file or directory"
    let last = message.rsplit(": ").next().unwrap_or(message).to_ascii_lowercase();
    let rest = last.strip_prefix(text);
    let is_bare = rest.is_some_and(|rest| matches!(rest, "" | " or directory" | " or folder"));
    (!is_bare && message != failure.kind.sentence()).then_some(message)
}
