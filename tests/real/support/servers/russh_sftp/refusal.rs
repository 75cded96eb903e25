//! The error status of a request.

use std::io;

use russh_sftp::protocol::StatusCode;
use russh_sftp::server::StatusReply;

/// The error status of a request.
pub struct Refusal(StatusReply);

impl Refusal {
    pub fn new(code: StatusCode, message: &str) -> Self {
        Self(code.with_message(message))
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => StatusCode::NoSuchFile,
            io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
            _ => StatusCode::Failure,
        };
        Self::new(code, &error.to_string())
    }
}

impl From<Refusal> for StatusReply {
    fn from(refusal: Refusal) -> Self {
        refusal.0
    }
}
