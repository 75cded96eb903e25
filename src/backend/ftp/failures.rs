//! Failures that this backend itself reports.

use crate::op::{Failure, FailureKind, RemotePath};

pub(super) fn unsupported(message: &str) -> Failure {
    Failure::backend(FailureKind::Unsupported, message)
}

/// Of a change that `unsupported_attributes` may ignore.
pub(super) fn unsupported_attribute(message: &str) -> Failure {
    unsupported(message)
        .with_detail("`unsupported_attributes: ignore` on the backend reports success to clients")
}

/// For operations that need CWD in a session whose paths are relative to an unknown login folder.
/// `what`: what cannot be done.
pub(super) fn unknown_home(what: &str) -> Failure {
    unsupported(&format!(
        "the backend server does not report the login folder (PWD), so {what}; set \
         `login_folder` on the backend"
    ))
}

pub(super) fn no_file_system() -> Failure {
    unsupported("the backend server is reached by FTP, which has no file system information")
}

pub(super) fn no_data_connection(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::DataConnection,
        "the data connection between the gateway and the backend server could not be established",
    )
    .with_detail(detail)
}

pub(super) fn not_found(path: &RemotePath) -> Failure {
    Failure::backend(FailureKind::NotFound, format!("{path}: no such file or folder"))
}
