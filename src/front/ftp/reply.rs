//! One match turns a failure into an FTP reply (RFC 959 section 4.2).

use crate::op::{Failure, FailureKind, PeerReply};
use crate::wire::ftp::command::CommandError;

/// Code and text for a failure. A backend that speaks FTP keeps its own words.
pub(super) fn of_failure(failure: &Failure) -> PeerReply {
    if let Some(peer) = &failure.peer
        && passes(failure, peer.code)
    {
        return peer.clone();
    }
    PeerReply { code: code(failure.kind), lines: vec![failure.message.clone().into_bytes()] }
}

/// A refusal of the backend, but never a 421 while the session goes on.
fn passes(failure: &Failure, code: u16) -> bool {
    let closes = failure.kind == FailureKind::Unavailable;
    matches!(code, 400..=599 | 332) && (code == 421) == closes
}

fn code(kind: FailureKind) -> u16 {
    match kind {
        FailureKind::NotFound
        | FailureKind::PermissionDenied
        | FailureKind::AlreadyExists
        | FailureKind::NotADirectory
        | FailureKind::IsADirectory
        | FailureKind::DirectoryNotEmpty => 550,
        FailureKind::NoSpace => 452,
        FailureKind::NameRefused => 553,
        FailureKind::Unsupported => 504,
        FailureKind::InvalidArgument => 501,
        FailureKind::LoginRefused => 530,
        FailureKind::AccountNeeded => 332,
        FailureKind::DataConnection => 425,
        FailureKind::TransferCut | FailureKind::Aborted => 426,
        FailureKind::Unavailable => 421,
        FailureKind::Busy => 450,
        FailureKind::EndOfFile | FailureKind::TimedOut | FailureKind::Internal => 451,
    }
}

pub(super) fn of_command_error(error: &CommandError) -> (u16, String) {
    let code = match error {
        CommandError::NotACommand | CommandError::Unknown(_) => 500,
        CommandError::UnknownSite(_) => 502,
        CommandError::Argument(_) => 501,
        CommandError::Parameter(_) => 504,
        CommandError::Name => 553,
        CommandError::Protocol => 522,
    };
    (code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backends_words_pass_but_not_its_421_alone() {
        let words = |code| PeerReply { code, lines: vec![b"its words".to_vec()] };
        let failure = |kind, code| Failure::backend(kind, "ours").with_peer(words(code));
        assert_eq!(of_failure(&failure(FailureKind::NotFound, 550)), words(550));
        assert_eq!(of_failure(&failure(FailureKind::Unavailable, 421)), words(421));
        assert_eq!(of_failure(&failure(FailureKind::Unavailable, 550)).code, 421);
        assert_eq!(of_failure(&failure(FailureKind::TransferCut, 226)).code, 426);
    }
}
