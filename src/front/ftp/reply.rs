//! Replies to clients (RFC 959 section 4.2). They begin with the texts that people and scripts know
//! from other servers; an explanation follows.

use std::borrow::Cow;

use crate::front::reason;
use crate::op::{Failure, FailureKind, Fault, PeerReply};
use crate::session::SessionEnd;
use crate::wire::ftp::command::CommandError;

/// A reply of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) text: Cow<'static, [u8]>,
}

impl Reply {
    pub(super) const OPENING_LISTING: Self = Self::fixed(150, "Here comes the directory listing.");
    pub(super) const OK_TO_SEND: Self = Self::fixed(150, "Ok to send data.");
    pub(super) const OK_TO_SEND_UNNAMED: Self =
        Self::fixed(150, "Ok to send data. The backend server does not report the name it chose.");

    pub(super) const MODE_SET: Self = Self::fixed(200, "Mode set to S.");
    pub(super) const STRUCTURE_SET: Self = Self::fixed(200, "Structure set to F.");
    pub(super) const TYPE_ASCII: Self = Self::fixed(200, "Switching to ASCII mode.");
    pub(super) const TYPE_IMAGE: Self = Self::fixed(200, "Switching to Binary mode.");
    pub(super) const PORT_OK: Self = Self::fixed(200, "PORT command successful.");
    pub(super) const EPSV_ALL: Self = Self::fixed(200, "EPSV ALL ok.");
    pub(super) const PBSZ_SET: Self = Self::fixed(200, "PBSZ set to 0.");
    pub(super) const PROT_PRIVATE: Self = Self::fixed(200, "PROT now Private.");
    pub(super) const PROT_CLEAR: Self = Self::fixed(200, "PROT now Clear.");
    pub(super) const UTF8: Self = Self::fixed(200, "Always in UTF8 mode.");
    pub(super) const NOOP: Self = Self::fixed(200, "NOOP ok.");
    pub(super) const CHMOD: Self = Self::fixed(200, "SITE CHMOD command ok.");
    pub(super) const UTIME: Self = Self::fixed(200, "SITE UTIME command ok.");
    pub(super) const ALLO: Self = Self::fixed(202, "ALLO command ignored.");
    pub(super) const ACCT_SUPERFLUOUS: Self = Self::fixed(202, "No account needed.");
    pub(super) const PASS_SUPERFLUOUS: Self = Self::fixed(202, "No password needed: logged in.");
    pub(super) const TIME_SET: Self = Self::fixed(213, "File modification time set.");
    pub(super) const SITE_HELP: Self = Self::fixed(214, "SITE commands: CHMOD HELP UTIME");
    pub(super) const SYSTEM: Self = Self::fixed(215, "UNIX Type: L8");
    pub(super) const READY: Self = Self::fixed(220, "lockgate FTP gateway ready.");
    pub(super) const READY_AGAIN: Self = Self::fixed(220, "Service ready for new user.");
    pub(super) const GOODBYE: Self = Self::fixed(221, "Goodbye.");
    pub(super) const NO_TRANSFER: Self = Self::fixed(225, "No transfer to ABOR.");
    pub(super) const TRANSFER_COMPLETE: Self = Self::fixed(226, "Transfer complete.");
    pub(super) const LISTING_COMPLETE: Self = Self::fixed(226, "Directory send OK.");
    pub(super) const ABORTED: Self = Self::fixed(226, "ABOR successful.");
    pub(super) const LOGGED_IN: Self = Self::fixed(230, "Login successful.");
    pub(super) const LOGGED_IN_BY_CERTIFICATE: Self =
        Self::fixed(232, "Login successful, by the client certificate.");
    pub(super) const START_TLS: Self = Self::fixed(234, "Proceed with negotiation.");
    pub(super) const DIRECTORY_CHANGED: Self = Self::fixed(250, "Directory successfully changed.");
    pub(super) const DELETED: Self = Self::fixed(250, "Delete operation successful.");
    pub(super) const DIRECTORY_REMOVED: Self =
        Self::fixed(250, "Remove directory operation successful.");
    pub(super) const RENAMED: Self = Self::fixed(250, "Rename successful.");

    pub(super) const PASSWORD: Self = Self::fixed(331, "Please specify the password.");
    pub(super) const MAIL_ADDRESS: Self =
        Self::fixed(331, "Guest login ok, send your complete e-mail address as password.");
    pub(super) const READY_FOR_RNTO: Self = Self::fixed(350, "Ready for RNTO.");

    pub(super) const SHUTTING_DOWN: Self =
        Self::fixed(421, "Service not available: the gateway is shutting down; connect again.");
    pub(super) const TOO_MANY_COMMANDS: Self = Self::fixed(
        421,
        "Service not available: too many commands at once; closing control connection.",
    );
    pub(super) const TOO_MANY_LOGINS: Self = Self::fixed(
        421,
        "Service not available: too many failed logins (limits.login_attempts); closing control \
         connection.",
    );
    pub(super) const IDLE_TIMEOUT: Self =
        Self::fixed(421, "Idle timeout (limits.idle_timeout): closing control connection.");
    pub(super) const LOGIN_TIMEOUT: Self =
        Self::fixed(421, "Login timeout (limits.login_timeout): closing control connection.");
    pub(super) const NO_REQUESTED_CONNECTION: Self = Self::fixed(425, "Use PORT or PASV first.");
    pub(super) const TRANSFER_ABORTED: Self =
        Self::fixed(426, "Connection closed; transfer aborted.");

    pub(super) const LINE_TOO_LONG: Self = Self::fixed(500, "Input line too long.");
    pub(super) const NOT_FTP: Self = Self::fixed(500, "Unknown command: this is an FTP server.");
    pub(super) const PASV_AFTER_EPSV_ALL: Self =
        Self::fixed(501, "Illegal PASV command: EPSV ALL in effect.");
    pub(super) const PORT_AFTER_EPSV_ALL: Self =
        Self::fixed(501, "Illegal PORT command: EPSV ALL in effect.");
    pub(super) const UNKNOWN_OPTION: Self =
        Self::fixed(501, "Option not understood: use OPTS UTF8 or OPTS MLST.");
    pub(super) const NO_MECHANISM: Self = Self::fixed(501, "AUTH needs a mechanism: use AUTH TLS.");
    pub(super) const NO_TLS: Self =
        Self::fixed(502, "Command not implemented: TLS is not enabled (tls.mode).");
    pub(super) const NO_ACTIVE_MODE: Self = Self::fixed(
        502,
        "Command not implemented: active mode is not enabled (active.allowed); use EPSV or PASV.",
    );
    pub(super) const LOGIN_WITH_USER: Self = Self::fixed(503, "Login with USER first.");
    pub(super) const LOGIN_BEFORE_ACCT: Self = Self::fixed(503, "Login with USER and PASS first.");
    pub(super) const LOGGED_IN_ALREADY: Self =
        Self::fixed(503, "Can't change to another user: send REIN first.");
    pub(super) const NO_RNFR: Self = Self::fixed(503, "RNFR required first.");
    pub(super) const TLS_ALREADY: Self =
        Self::fixed(503, "The control connection is protected by TLS already.");
    pub(super) const AUTH_AFTER_USER: Self = Self::fixed(503, "Send AUTH before USER.");
    pub(super) const PBSZ_IN_CLEAR: Self =
        Self::fixed(503, "PBSZ needs a secure connection: send AUTH TLS first.");
    pub(super) const PROT_IN_CLEAR: Self =
        Self::fixed(503, "PROT needs a secure connection: send AUTH TLS first.");
    pub(super) const NO_PBSZ: Self = Self::fixed(503, "PROT needs PBSZ 0 first.");
    pub(super) const UNKNOWN_TYPE: Self =
        Self::fixed(504, "Unrecognised TYPE command: use A, I or L 8.");
    pub(super) const UNKNOWN_MODE: Self = Self::fixed(504, "Bad MODE command: use S (stream).");
    pub(super) const UNKNOWN_STRUCTURE: Self = Self::fixed(504, "Bad STRU command: use F (file).");
    pub(super) const UNKNOWN_MECHANISM: Self = Self::fixed(504, "Unknown AUTH type: use AUTH TLS.");
    pub(super) const UNKNOWN_PROTECTION: Self =
        Self::fixed(504, "PROT not recognized: use PROT P or PROT C.");
    pub(super) const UTF8_OFF: Self =
        Self::fixed(504, "Always in UTF8 mode: it cannot be switched off.");
    pub(super) const NO_PASSIVE_MODE: Self = Self::fixed(
        502,
        "Command not implemented: passive mode is not enabled (data_ports); use PORT or EPRT.",
    );
    pub(super) const PORT_OTHER_ADDRESS: Self = Self::fixed(
        504,
        "Illegal PORT command: the address must be the one that you connect from.",
    );
    pub(super) const PORT_PRIVILEGED: Self =
        Self::fixed(504, "Illegal PORT command: the port must be 1024 or above.");
    pub(super) const UNPROTECTED_DATA: Self =
        Self::fixed(521, "Data connections must be encrypted (tls.mode): send PROT P first.");
    pub(super) const EPSV_OTHER_ADDRESS_V4: Self = Self::fixed(
        522,
        "EPSV cannot name the address for data connections (listen and advertise of the pool): use \
         PASV.",
    );
    pub(super) const EPSV_OTHER_ADDRESS_V6: Self = Self::fixed(
        522,
        "EPSV cannot name the address for data connections (listen and advertise of the pool).",
    );
    pub(super) const NOT_LOGGED_IN: Self = Self::fixed(530, "Please login with USER and PASS.");
    pub(super) const TLS_REQUIRED: Self =
        Self::fixed(530, "Sessions must use encryption (tls.mode): send AUTH TLS first.");
    pub(super) const CCC_DENIED: Self =
        Self::fixed(533, "CCC denied: the control connection stays protected.");
    pub(super) const PROT_CLEAR_DENIED: Self =
        Self::fixed(534, "Data connections must be encrypted (tls.mode): use PROT P.");
    pub(super) const UNSUPPORTED_PROTECTION: Self =
        Self::fixed(536, "PROT not supported: use PROT P.");
    pub(super) const NO_MODIFICATION_TIME: Self = Self::fixed(
        550,
        "Could not get file modification time: the backend server does not report seconds.",
    );

    const fn fixed(code: u16, text: &'static str) -> Self {
        Self { code, text: Cow::Borrowed(text.as_bytes()) }
    }

    pub(super) fn new(code: u16, text: impl Into<Vec<u8>>) -> Self {
        Self { code, text: Cow::Owned(text.into()) }
    }

    /// Before the gateway closes the connection.
    pub(super) fn closing(end: &SessionEnd) -> Self {
        if end.is_shutdown() {
            return Self::SHUTTING_DOWN;
        }
        Self::new(421, format!("Service not available: {}.", end.reason()))
    }

    /// The failure that is reported with this reply, and with its text in the log.
    pub(super) fn failure(self, kind: FailureKind, fault: Fault) -> Failure {
        let Self { code, text } = self;
        let message = String::from_utf8_lossy(&text).into_owned();
        let reply = PeerReply { code, lines: vec![text.into_owned()] };
        Failure::new(kind, fault, message).with_peer(reply)
    }
}

/// The reply to a failure. A backend that speaks FTP keeps its own text.
pub(super) fn of_failure(failure: &Failure) -> PeerReply {
    if let Some(peer) = &failure.peer
        && passes(failure, peer.code)
    {
        return peer.clone();
    }
    let (code, text) = of_kind(failure.kind);
    let line = match reason(failure) {
        Some(reason) => format!("{text}: {reason}."),
        None => format!("{text}."),
    };
    PeerReply { code, lines: vec![line.into_bytes()] }
}

/// A refusal of the backend, but never a 421 while the session goes on.
fn passes(failure: &Failure, code: u16) -> bool {
    let closes = failure.kind == FailureKind::Unavailable;
    matches!(code, 400..=599 | 332) && (code == 421) == closes
}

fn of_kind(kind: FailureKind) -> (u16, &'static str) {
    match kind {
        FailureKind::NotFound => (550, "No such file or directory"),
        FailureKind::PermissionDenied => (550, "Permission denied"),
        FailureKind::AlreadyExists => (550, "File exists"),
        FailureKind::NotADirectory => (550, "Not a directory"),
        FailureKind::IsADirectory => (550, "Is a directory"),
        FailureKind::DirectoryNotEmpty => (550, "Directory not empty"),
        FailureKind::NoSpace => (452, "Insufficient storage space"),
        FailureKind::QuotaExceeded => (552, "Exceeded storage allocation"),
        FailureKind::NameRefused => (553, "File name not allowed"),
        FailureKind::Unsupported => (504, "Command not implemented for that parameter"),
        FailureKind::InvalidArgument => (501, "Invalid argument"),
        FailureKind::LoginRefused | FailureKind::MethodNeeded => (530, "Login incorrect"),
        FailureKind::AccountNeeded => (332, "Need account for login"),
        FailureKind::DataConnection => (425, "Can't open data connection"),
        FailureKind::TransferCut | FailureKind::Aborted => {
            (426, "Connection closed; transfer aborted")
        }
        FailureKind::Unavailable => (421, "Service not available"),
        FailureKind::Busy => (450, "Requested file action not taken"),
        FailureKind::EndOfFile | FailureKind::TimedOut | FailureKind::Internal => {
            (451, "Requested action aborted")
        }
    }
}

pub(super) fn of_command_error(error: &CommandError) -> Reply {
    let (code, text) = match error {
        CommandError::NotACommand | CommandError::Unknown(_) => {
            return Reply::fixed(500, "Unknown command.");
        }
        CommandError::UnknownSite(_) | CommandError::NeverRelayed(_) => {
            (502, "Command not implemented")
        }
        CommandError::Argument(_) => (501, "Syntax error in parameters or arguments"),
        CommandError::Parameter(_) => (504, "Command not implemented for that parameter"),
        CommandError::Name => (553, "File name not allowed"),
        CommandError::Protocol => {
            return Reply::fixed(522, "Network protocol not supported, use (1,2).");
        }
    };
    Reply::new(code, format!("{text}: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backends_reply_is_passed_on_but_421_only_when_the_session_ends() {
        let reply = |code| PeerReply { code, lines: vec![b"its own text".to_vec()] };
        let failure = |kind, code| Failure::backend(kind, "ours").with_peer(reply(code));
        assert_eq!(of_failure(&failure(FailureKind::NotFound, 550)), reply(550));
        assert_eq!(of_failure(&failure(FailureKind::Unavailable, 421)), reply(421));
        assert_eq!(of_failure(&failure(FailureKind::Unavailable, 550)).code, 421);
        assert_eq!(of_failure(&failure(FailureKind::TransferCut, 226)).code, 426);
    }

    #[test]
    fn a_reason_is_appended_to_the_usual_text_unless_it_repeats_it() {
        for (kind, message, expected) in [
            (
                FailureKind::NotFound,
                "cannot open /x for reading: no such file or directory",
                "550 No such file or directory.",
            ),
            (
                FailureKind::NotFound,
                FailureKind::NotFound.sentence(),
                "550 No such file or directory.",
            ),
            (FailureKind::LoginRefused, "login incorrect", "530 Login incorrect."),
            (
                FailureKind::PermissionDenied,
                "cannot write /x: the file system is read-only",
                "550 Permission denied: cannot write /x: the file system is read-only.",
            ),
        ] {
            let reply = of_failure(&Failure::backend(kind, message));
            assert_eq!(reply.to_string(), expected);
        }
    }
}
