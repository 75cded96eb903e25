//! Failures as SFTP statuses (draft-ietf-secsh-filexfer-02 section 7), with the messages of
//! OpenSSH's server; a reason follows.

use bytes::Bytes;

use crate::front::reason;
use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{ResponseBody, StatusCode};

/// In bytes.
const MESSAGE_MAX: usize = 1024;

pub(super) fn ok() -> ResponseBody {
    ResponseBody::Status { code: StatusCode::OK, message: Bytes::new() }
}

pub(super) fn end_of_file() -> ResponseBody {
    ResponseBody::Status { code: StatusCode::EOF, message: Bytes::from_static(b"End of file") }
}

/// The status of an SFTP backend is passed on.
pub(super) fn of_failure(failure: &Failure) -> ResponseBody {
    let (code, mut message) = match &failure.status {
        // OK and EOF are not failures.
        Some(status) if status.code > StatusCode::EOF.0 => {
            (StatusCode(status.code), status.message.clone())
        }
        _ => {
            let (code, text) = of_kind(failure.kind);
            let message = match reason(failure) {
                Some(reason) => format!("{text}: {reason}"),
                None => text.to_owned(),
            };
            (code, message.into_bytes())
        }
    };
    message.truncate(MESSAGE_MAX);
    ResponseBody::Status { code, message: message.into() }
}

fn of_kind(kind: FailureKind) -> (StatusCode, &'static str) {
    match kind {
        FailureKind::NotFound => (StatusCode::NO_SUCH_FILE, "No such file"),
        FailureKind::PermissionDenied
        | FailureKind::LoginRefused
        | FailureKind::AccountNeeded
        | FailureKind::MethodNeeded => {
            (StatusCode::PERMISSION_DENIED, "Permission denied")
        }
        FailureKind::Unsupported => (StatusCode::OP_UNSUPPORTED, "Operation unsupported"),
        // The draft reserves NO_CONNECTION and CONNECTION_LOST for clients, and has no codes for
        // these.
        FailureKind::AlreadyExists
        | FailureKind::NotADirectory
        | FailureKind::IsADirectory
        | FailureKind::DirectoryNotEmpty
        | FailureKind::NoSpace
        | FailureKind::QuotaExceeded
        | FailureKind::NameRefused
        | FailureKind::InvalidArgument
        // EOF is a failure of copy-data only.
        | FailureKind::EndOfFile
        | FailureKind::DataConnection
        | FailureKind::TransferCut
        | FailureKind::Aborted
        | FailureKind::Unavailable
        | FailureKind::TimedOut
        | FailureKind::Busy
        | FailureKind::Internal => (StatusCode::FAILURE, "Failure"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Status;

    fn status(failure: &Failure) -> (u32, Vec<u8>) {
        match of_failure(failure) {
            ResponseBody::Status { code, message } => (code.0, message.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn kinds_of_failures_become_codes_with_the_usual_message() {
        for (kind, reason, code, message) in [
            (FailureKind::NotFound, "/x: no such file or directory", 2, "No such file"),
            (FailureKind::NotFound, "why", 2, "No such file: why"),
            (FailureKind::PermissionDenied, "why", 3, "Permission denied: why"),
            (FailureKind::Unsupported, "why", 8, "Operation unsupported: why"),
            (FailureKind::NoSpace, "why", 4, "Failure: why"),
            (FailureKind::AlreadyExists, "why", 4, "Failure: why"),
            (FailureKind::Unavailable, "why", 4, "Failure: why"),
        ] {
            let failure = Failure::backend(kind, reason);
            assert_eq!(status(&failure), (code, message.into()), "{kind:?}");
        }
    }

    #[test]
    fn the_status_of_an_sftp_backend_is_passed_on() {
        let peer = |code| {
            Failure::backend(FailureKind::NoSpace, "ours")
                .with_status(Status { code, message: b"quota \xff".to_vec() })
        };
        assert_eq!(status(&peer(15)), (15, b"quota \xff".to_vec()));
        // A failure is never OK or EOF.
        assert_eq!(status(&peer(0)), (4, b"Failure: ours".to_vec()));
        assert_eq!(status(&peer(1)), (4, b"Failure: ours".to_vec()));
    }
}
