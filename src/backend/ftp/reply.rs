//! Turns a server's reply codes (RFC 959 section 4.2) into failures.

use crate::op::{Failure, FailureKind, PeerReply, Timestamp};
use crate::wire::ftp::time::parse_time;

/// The connection is lost, and the client's session with it. `detail` is for the log only: it may
/// contain what clients need not know.
pub(super) fn unavailable(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::Unavailable,
        "the connection to the backend server was lost; log in again",
    )
    .with_detail(detail)
}

/// What a 4xx or 5xx reply to `what` means.
pub(super) fn failure(what: impl std::fmt::Display, reply: PeerReply) -> Failure {
    failure_about(what, None, reply)
}

/// As [`failure`]. Servers repeat the argument in the text: words in it say nothing of the reason.
fn failure_about(
    what: impl std::fmt::Display,
    argument: Option<&[u8]>,
    reply: PeerReply,
) -> Failure {
    let kind = kind(&reply, argument);
    let message = format!("{what}: the backend answered {reply}");
    if kind == FailureKind::Unavailable {
        return unavailable(message).with_peer(reply);
    }
    Failure::backend(kind, message).with_peer(reply)
}

/// `Ok` for a reply of the expected class (2: 2xx), else the failure that it means.
pub(super) fn expect(
    class: u16,
    what: impl std::fmt::Display,
    reply: PeerReply,
) -> Result<PeerReply, Failure> {
    expect_about(class, what, None, reply)
}

/// As [`expect`], for a reply to a command with this argument.
pub(super) fn expect_about(
    class: u16,
    what: impl std::fmt::Display,
    argument: Option<&[u8]>,
    reply: PeerReply,
) -> Result<PeerReply, Failure> {
    match reply.code / 100 {
        c if c == class => Ok(reply),
        4 | 5 => Err(failure_about(what, argument, reply)),
        _ => Err(unavailable(format!("{what}: out of sync, the backend answered {reply}"))),
    }
}

fn kind(reply: &PeerReply, argument: Option<&[u8]>) -> FailureKind {
    match reply.code {
        421 => FailureKind::Unavailable,
        425 | 522 => FailureKind::DataConnection,
        426 => FailureKind::TransferCut,
        450 => FailureKind::Busy,
        452 | 552 => FailureKind::NoSpace,
        500 | 502 | 504 => FailureKind::Unsupported,
        501 => FailureKind::InvalidArgument,
        430 | 530 => FailureKind::LoginRefused,
        332 | 532 => FailureKind::AccountNeeded,
        553 => FailureKind::NameRefused,
        521 => FailureKind::AlreadyExists,
        550 => kind_of_550(reply, argument),
        _ => FailureKind::Internal,
    }
}

/// 550 has many meanings; usual texts show which one.
fn kind_of_550(reply: &PeerReply, argument: Option<&[u8]>) -> FailureKind {
    // A path, with a slash: a name alone could be one of the words that are looked for.
    let path = argument.filter(|argument| argument.contains(&b'/'));
    let text = without(&reply.lines.concat(), path.unwrap_or_default()).to_ascii_lowercase();
    let contains = |what: &str| text.windows(what.len()).any(|w| w == what.as_bytes());
    if contains("permission")
        || contains("denied")
        || contains("not allowed")
        || contains("read-only")
    {
        FailureKind::PermissionDenied
    } else if contains("not empty") {
        FailureKind::DirectoryNotEmpty
    } else if contains("exists") && !contains("not exist") {
        FailureKind::AlreadyExists
    } else if contains("not a directory") {
        FailureKind::NotADirectory
    } else if contains("is a directory")
        || contains("not a plain file")
        || contains("not a regular file")
    {
        FailureKind::IsADirectory
    } else {
        FailureKind::NotFound
    }
}

fn without(text: &[u8], part: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut kept = Vec::with_capacity(text.len());
    while let Some(first) = rest.first() {
        match rest.strip_prefix(part).filter(|_| !part.is_empty()) {
            Some(after) => rest = after,
            None => {
                kept.push(*first);
                rest = &rest[1..];
            }
        }
    }
    kept
}

/// Whether the server denies information about a path, in an error reply of its own. That does not
/// mean that an operation on the path is denied, too. Lost connections are not denials.
pub(super) fn denies_inspection(failure: &Failure) -> bool {
    use FailureKind as K;
    let lost =
        matches!(failure.kind, K::Unavailable | K::DataConnection | K::TransferCut | K::Busy);
    !lost && failure.peer.as_ref().is_some_and(|reply| matches!(reply.code, 500..=599))
}

/// Whether the failure is [`FailureKind::NotFound`] only because the reply text names no reason.
pub(super) fn is_unspecific(failure: &Failure) -> bool {
    let Some(reply) = failure.peer.as_ref().filter(|reply| reply.code == 550) else { return false };
    let text = reply.lines.concat().to_ascii_lowercase();
    let contains = |what: &str| text.windows(what.len()).any(|w| w == what.as_bytes());
    let absent = contains("no such")
        || contains("not exist")
        || contains("not found")
        || contains("cannot find");
    failure.kind == FailureKind::NotFound && !absent
}

/// The value of the only word of a reply that parses. Some servers add text to the value that RFC
/// 3659 wants alone.
pub(super) fn single_value<T>(answer: &PeerReply, parse: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let reply = answer.lines.iter().flat_map(|line| line.split(|b| b.is_ascii_whitespace()));
    let trimmed = reply.map(|word| {
        let is_punctuation = |b: &u8| b",.:;()<>\"'=".contains(b);
        let word = &word[word.iter().take_while(|b| is_punctuation(b)).count()..];
        &word[..word.len() - word.iter().rev().take_while(|b| is_punctuation(b)).count()]
    });
    let mut found =
        trimmed.filter(|word| word.first().is_some_and(u8::is_ascii_digit)).filter_map(parse);
    found.next().filter(|_| found.next().is_none())
}

/// The time in a reply to MDTM.
pub(super) fn reported_time(reply: &PeerReply) -> Option<Timestamp> {
    let seconds = (reply.code / 100 == 2).then(|| single_value(reply, parse_time));
    seconds.flatten().map(Timestamp::exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_550_selects_the_failure() {
        for (text, expected) in [
            ("Failed to open file.", FailureKind::NotFound),
            ("hello.txt: No such file or directory", FailureKind::NotFound),
            ("/x: Permission denied", FailureKind::PermissionDenied),
            ("Create directory operation failed: File exists", FailureKind::AlreadyExists),
            ("x does not exist", FailureKind::NotFound),
            ("Can't remove directory: Directory not empty", FailureKind::DirectoryNotEmpty),
        ] {
            let reply = PeerReply { code: 550, lines: vec![text.into()] };
            assert_eq!(failure("test", reply).kind, expected, "{text}");
        }
    }

    #[test]
    fn the_name_in_a_reply_says_nothing_of_the_reason() {
        for (argument, text, expected) in [
            (
                "/in/permission denied",
                "'/in/permission denied' cannot be listed",
                FailureKind::NotFound,
            ),
            ("/denied/x", "/denied/x: No such file or directory", FailureKind::NotFound),
            ("/denied/x", "/denied/x: Permission denied", FailureKind::PermissionDenied),
            ("/exists", "Can't open /exists: no such file", FailureKind::NotFound),
            ("denied", "Permission denied", FailureKind::PermissionDenied),
            ("/", "/: Permission denied", FailureKind::PermissionDenied),
        ] {
            let reply = PeerReply { code: 550, lines: vec![text.into()] };
            let failure = expect_about(2, "MLST", Some(argument.as_bytes()), reply).unwrap_err();
            assert_eq!(failure.kind, expected, "{text}");
        }
    }

    #[test]
    fn a_550_without_a_reason_is_unspecific() {
        for (code, text, vague) in [
            (550, "Create directory operation failed.", true),
            (550, "x: No such file or directory", false),
            (550, "File exists", false),
            (501, "Create directory operation failed.", false),
        ] {
            let reply = PeerReply { code, lines: vec![text.into()] };
            assert_eq!(is_unspecific(&failure("test", reply)), vague, "{text}");
        }
    }

    #[test]
    fn a_reply_of_another_class_is_a_lost_connection() {
        let reply = PeerReply { code: 350, lines: vec![] };
        assert_eq!(expect(2, "DELE", reply).unwrap_err().kind, FailureKind::Unavailable);
    }

    #[test]
    fn a_single_number_in_a_reply_is_found() {
        let size = |text: &str| {
            let lines = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            single_value(&PeerReply { code: 213, lines }, |word| {
                std::str::from_utf8(word).ok()?.parse::<u64>().ok()
            })
        };
        for text in
            ["11", " 11 ", "Size: 11", "11 bytes", "/a/2024.txt is 11 bytes.", "Size\n 11", "(11)"]
        {
            assert_eq!(size(text), Some(11), "{text}");
        }
        for text in
            ["", "no", "-11", "+11", "1,100", "11 of 12", "11 11", "18446744073709551616", "1.5"]
        {
            assert_eq!(size(text), None, "{text}");
        }
        let time = |text: &str| {
            single_value(&PeerReply { code: 213, lines: vec![text.into()] }, parse_time)
        };
        for text in [
            "20260102030405",
            "Modified: 20260102030405 UTC",
            "20260102030405.5",
            "a 7 20260102030405",
        ] {
            assert_eq!(time(text), parse_time(b"20260102030405"), "{text}");
        }
        assert_eq!(time("20260102030405 20260102030406"), None);
    }
}
