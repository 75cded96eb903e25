//! The one place that turns a server's status into a failure (draft-ietf-secsh-filexfer-02 section 7).

use std::fmt;

use bytes::Bytes;

use crate::op::escape::printable;
use crate::op::{Failure, FailureKind, Status};
use crate::wire::sftp::{Attributes, Name, ResponseBody, StatusCode};

/// The failure of `what` ("remove /in/x"), from the server's status.
pub(super) fn failure(what: impl fmt::Display, code: StatusCode, message: &[u8]) -> Failure {
    let reason = match message {
        b"" => code.to_string(),
        message => printable(message).to_string(),
    };
    let status = Status { code: code.0, message: message.to_vec() };
    Failure::backend(kind(code, message), format_args!("cannot {what}: {reason}"))
        .with_status(status)
}

fn kind(code: StatusCode, message: &[u8]) -> FailureKind {
    match code {
        StatusCode::EOF => FailureKind::EndOfFile,
        StatusCode::NO_SUCH_FILE => FailureKind::NotFound,
        StatusCode::PERMISSION_DENIED => FailureKind::PermissionDenied,
        StatusCode::OP_UNSUPPORTED => FailureKind::Unsupported,
        StatusCode::NO_CONNECTION | StatusCode::CONNECTION_LOST => FailureKind::Unavailable,
        // OpenSSH's status for EINVAL and ENAMETOOLONG.
        StatusCode::BAD_MESSAGE => FailureKind::InvalidArgument,
        // Codes of later versions that servers of version 3 send as well.
        StatusCode(10) => FailureKind::NotFound,
        StatusCode(11) => FailureKind::AlreadyExists,
        StatusCode(12) => FailureKind::PermissionDenied,
        StatusCode(14 | 15) => FailureKind::NoSpace,
        StatusCode(18) => FailureKind::DirectoryNotEmpty,
        StatusCode(19) => FailureKind::NotADirectory,
        StatusCode(20) => FailureKind::NameRefused,
        StatusCode(24) => FailureKind::IsADirectory,
        _ => kind_by_text(message),
    }
}

/// Version 3 has only FAILURE for most errors; some servers add the text of errno.
fn kind_by_text(message: &[u8]) -> FailureKind {
    let message = message.to_ascii_lowercase();
    let contains = |text: &str| message.windows(text.len()).any(|w| w == text.as_bytes());
    let known = [
        ("no space", FailureKind::NoSpace),
        ("quota", FailureKind::NoSpace),
        ("not empty", FailureKind::DirectoryNotEmpty),
        ("exists", FailureKind::AlreadyExists),
        ("is a directory", FailureKind::IsADirectory),
        ("not a directory", FailureKind::NotADirectory),
        ("no such file", FailureKind::NotFound),
        ("permission denied", FailureKind::PermissionDenied),
    ];
    known
        .into_iter()
        .find(|(text, _)| contains(text))
        .map_or(FailureKind::Internal, |(_, kind)| kind)
}

/// The expected kind of a response; any other kind is a failure.
pub(super) trait Expect: Sized {
    fn done(self, what: impl fmt::Display) -> Result<(), Failure>;
    fn handle(self, what: impl fmt::Display) -> Result<Bytes, Failure>;
    /// `None` at the end of the file.
    fn data(self, what: impl fmt::Display) -> Result<Option<Bytes>, Failure>;
    /// `None` at the end of the directory.
    fn names(self, what: impl fmt::Display) -> Result<Option<Vec<Name>>, Failure>;
    fn attributes(self, what: impl fmt::Display) -> Result<Attributes, Failure>;
    fn extended(self, what: impl fmt::Display) -> Result<Bytes, Failure>;
}

use ResponseBody as R;

impl Expect for ResponseBody {
    fn done(self, what: impl fmt::Display) -> Result<(), Failure> {
        match self {
            R::Status { code: StatusCode::OK, .. } => Ok(()),
            other => Err(unexpected(what, other)),
        }
    }

    fn handle(self, what: impl fmt::Display) -> Result<Bytes, Failure> {
        match self {
            // A copy: as a slice it would keep the whole packet.
            R::Handle(handle) => Ok(Bytes::copy_from_slice(&handle)),
            other => Err(unexpected(what, other)),
        }
    }

    fn data(self, what: impl fmt::Display) -> Result<Option<Bytes>, Failure> {
        match self {
            R::Data(data) => Ok(Some(data)),
            R::Status { code: StatusCode::EOF, .. } => Ok(None),
            other => Err(unexpected(what, other)),
        }
    }

    fn names(self, what: impl fmt::Display) -> Result<Option<Vec<Name>>, Failure> {
        match self {
            R::Names(names) => Ok(Some(names).filter(|names| !names.is_empty())),
            R::Status { code: StatusCode::EOF, .. } => Ok(None),
            other => Err(unexpected(what, other)),
        }
    }

    fn attributes(self, what: impl fmt::Display) -> Result<Attributes, Failure> {
        match self {
            R::Attributes(attributes) => Ok(attributes),
            other => Err(unexpected(what, other)),
        }
    }

    fn extended(self, what: impl fmt::Display) -> Result<Bytes, Failure> {
        match self {
            R::Extended(data) => Ok(data),
            other => Err(unexpected(what, other)),
        }
    }
}

fn unexpected(what: impl fmt::Display, response: ResponseBody) -> Failure {
    match response {
        R::Status { code, message } if code != StatusCode::OK => failure(what, code, &message),
        _ => misunderstood(what),
    }
}

/// A response that does not fit the request.
pub(super) fn misunderstood(what: impl fmt::Display) -> Failure {
    let message = format_args!("cannot {what}: the backend server's response was not understood");
    Failure::backend(FailureKind::Internal, message)
}

/// Something that this server does not offer.
pub(super) fn unsupported(what: impl fmt::Display, missing: &str) -> Failure {
    let message = format_args!("cannot {what}: the backend server does not offer {missing}");
    let status = Status { code: StatusCode::OP_UNSUPPORTED.0, message: Vec::new() };
    Failure::backend(FailureKind::Unsupported, message).with_status(status)
}

pub(super) fn out_of_range(what: impl std::fmt::Display) -> Failure {
    let message = format_args!("cannot {what}: SFTP carries times from 1970 to 2106 only");
    Failure::client(FailureKind::InvalidArgument, message)
}

/// Some accounts may change what they may not stat (`internal-sftp -P stat,lstat`).
pub(super) fn is_stat_denied(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::PermissionDenied | FailureKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_failure_status_decides_its_kind() {
        for (code, message, kind) in [
            (StatusCode::FAILURE, "write: No space left on device", FailureKind::NoSpace),
            (StatusCode::FAILURE, "Disk quota exceeded", FailureKind::NoSpace),
            (StatusCode::FAILURE, "File exists", FailureKind::AlreadyExists),
            (StatusCode::FAILURE, "Directory not empty", FailureKind::DirectoryNotEmpty),
            (StatusCode::FAILURE, "Failure", FailureKind::Internal),
            (StatusCode::NO_SUCH_FILE, "File exists", FailureKind::NotFound),
            (StatusCode(11), "", FailureKind::AlreadyExists),
        ] {
            let failure = failure("make x", code, message.as_bytes());
            assert_eq!(failure.kind, kind, "{code} {message}");
            assert_eq!(failure.status.unwrap().code, code.0);
        }
        let nameless = failure("remove /x", StatusCode::PERMISSION_DENIED, b"");
        assert_eq!(nameless.message, "cannot remove /x: PERMISSION_DENIED (3)");
    }
}
