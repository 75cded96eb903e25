//! Failures as SFTP statuses (draft-ietf-secsh-filexfer-02 section 7): the one match.

use bytes::Bytes;

use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{ResponseBody, StatusCode};

/// The longest text that is passed on, in bytes.
const LONGEST: usize = 1024;

pub(super) fn ok() -> ResponseBody {
    ResponseBody::Status { code: StatusCode::OK, message: Bytes::new() }
}

pub(super) fn end_of_file() -> ResponseBody {
    ResponseBody::Status { code: StatusCode::EOF, message: Bytes::from_static(b"end of file") }
}

/// A like peer's own status as it is; else ours, with the failure's words.
pub(super) fn of_failure(failure: &Failure) -> ResponseBody {
    let (code, message) = match &failure.status {
        // Neither is a failure, whatever a peer means by it.
        Some(status) if status.code > StatusCode::EOF.0 => {
            (StatusCode(status.code), status.message.as_slice())
        }
        _ => (of_kind(failure.kind), failure.message.as_bytes()),
    };
    let message = Bytes::copy_from_slice(message.get(..LONGEST).unwrap_or(message));
    ResponseBody::Status { code, message }
}

fn of_kind(kind: FailureKind) -> StatusCode {
    match kind {
        FailureKind::NotFound => StatusCode::NO_SUCH_FILE,
        FailureKind::PermissionDenied | FailureKind::LoginRefused | FailureKind::AccountNeeded => {
            StatusCode::PERMISSION_DENIED
        }
        FailureKind::Unsupported => StatusCode::OP_UNSUPPORTED,
        // The draft keeps NO_CONNECTION and CONNECTION_LOST for clients, and has no codes for these.
        FailureKind::AlreadyExists
        | FailureKind::NotADirectory
        | FailureKind::IsADirectory
        | FailureKind::DirectoryNotEmpty
        | FailureKind::NoSpace
        | FailureKind::NameRefused
        | FailureKind::InvalidArgument
        // EOF is no failure but of copy-data.
        | FailureKind::EndOfFile
        | FailureKind::DataConnection
        | FailureKind::TransferCut
        | FailureKind::Aborted
        | FailureKind::Unavailable
        | FailureKind::TimedOut
        | FailureKind::Busy
        | FailureKind::Internal => StatusCode::FAILURE,
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
    fn kinds_become_the_codes_that_clients_know() {
        for (kind, code) in [
            (FailureKind::NotFound, 2),
            (FailureKind::PermissionDenied, 3),
            (FailureKind::Unsupported, 8),
            (FailureKind::NoSpace, 4),
            (FailureKind::AlreadyExists, 4),
            (FailureKind::Unavailable, 4),
        ] {
            let failure = Failure::backend(kind, "why");
            assert_eq!(status(&failure), (code, b"why".to_vec()), "{kind:?}");
        }
    }

    #[test]
    fn a_like_peers_own_status_is_passed_on() {
        let peer = |code| {
            Failure::backend(FailureKind::NoSpace, "ours")
                .with_status(Status { code, message: b"quota \xff".to_vec() })
        };
        assert_eq!(status(&peer(15)), (15, b"quota \xff".to_vec()));
        // A failure never says OK or EOF.
        assert_eq!(status(&peer(0)), (4, b"ours".to_vec()));
        assert_eq!(status(&peer(1)), (4, b"ours".to_vec()));
    }
}
