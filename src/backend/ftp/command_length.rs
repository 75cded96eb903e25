//! How long a command for an opaque server may be (RFC 959 section 5.3 sets no limit).

use crate::op::{Failure, FailureKind, PeerReply};

/// Bytes of a line, with its CRLF. Old servers read into a buffer of so many bytes, and take what is left of a longer
/// line for the next command: a client could hide one there from the rules, or PORT.
const LINE_MAX: usize = 512;

/// Refuses a longer command.
pub(super) fn check(verb: &str, argument: Option<&[u8]>) -> Result<(), Failure> {
    let len = verb.len() + argument.map_or(0, |argument| 1 + argument.len()) + b"\r\n".len();
    if len <= LINE_MAX {
        return Ok(());
    }
    let text = format!("Command line too long: the server gets at most {LINE_MAX} bytes.");
    let reply = PeerReply { code: 500, lines: vec![text.clone().into_bytes()] };
    Err(Failure::client(FailureKind::InvalidArgument, text).with_peer(reply))
}
