//! What this backend itself has against an operation.

use crate::op::{Failure, FailureKind, RemotePath};

pub(super) fn unsupported(message: &str) -> Failure {
    Failure::backend(FailureKind::Unsupported, message)
}

/// What would need CWD, in a session whose paths are relative to where the login put the user. `what`:
/// what cannot be done.
pub(super) fn unknown_home(what: &str) -> Failure {
    unsupported(&format!(
        "the backend server does not tell where the login put the user (PWD), so {what}; set \
         `login_folder` on the backend"
    ))
}

pub(super) fn no_file_system() -> Failure {
    unsupported("the backend server is reached by FTP, which tells nothing of its file systems")
}

pub(super) fn no_data_connection(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::DataConnection,
        "no data connection between the gateway and the backend server could be made",
    )
    .with_detail(detail)
}

pub(super) fn not_found(path: &RemotePath) -> Failure {
    Failure::backend(FailureKind::NotFound, format!("{path}: no such file or folder"))
}
