//! Optional commands that a server does not support. A refused one is not sent again for a while.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::quirk::QUIRK_TTL;
use crate::op::PeerReply;

/// A command that not every server has, and for which there is an alternative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionalCommand {
    Mlsd,
    Mlst,
    Size,
    Mdtm,
    /// LIST with `-a`.
    ListAll,
    /// STAT with a path.
    StatPath,
}

/// What one server has refused.
pub(super) struct Refusals {
    /// For the log.
    server: SocketAddr,
    refused: Mutex<Vec<(OptionalCommand, Instant)>>,
    /// A bit per command that has worked: a later error reply is about its argument then.
    succeeded: AtomicU8,
}

impl OptionalCommand {
    fn bit(self) -> u8 {
        1 << self as u8
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mlsd => "MLSD",
            Self::Mlst => "MLST",
            Self::Size => "SIZE",
            Self::Mdtm => "MDTM",
            Self::ListAll => "LIST -a",
            Self::StatPath => "STAT with a path",
        }
    }
}

impl Refusals {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, refused: Mutex::default(), succeeded: AtomicU8::new(0) }
    }

    /// Whether the server has refused the command recently.
    pub(super) fn is_refused(&self, command: OptionalCommand) -> bool {
        self.lock()
            .iter()
            .any(|(refused, since)| *refused == command && since.elapsed() < QUIRK_TTL)
    }

    /// Records a reply; returns whether it means that the server does not support the command.
    pub(super) fn note_reply(&self, command: OptionalCommand, reply: &PeerReply) -> bool {
        if reply.code / 100 == 2 {
            self.note_success(command);
        }
        let unknown = is_unknown(reply.code) && !self.has_worked(command);
        if unknown {
            self.note_refusal(command, reply);
        }
        unknown
    }

    pub(super) fn note_success(&self, command: OptionalCommand) {
        self.succeeded.fetch_or(command.bit(), Ordering::Relaxed);
    }

    pub(super) fn has_worked(&self, command: OptionalCommand) -> bool {
        self.succeeded.load(Ordering::Relaxed) & command.bit() != 0
    }

    /// Records that the server does not have the command.
    pub(super) fn note_refusal(&self, command: OptionalCommand, reply: &PeerReply) {
        let now = Instant::now();
        let mut refused = self.lock();
        if let Some((_, since)) = refused.iter_mut().find(|(refused, _)| *refused == command) {
            *since = now;
            return;
        }
        refused.push((command, now));
        drop(refused);
        tracing::info!(
            server = %self.server,
            reply = %reply,
            "the backend server does not support {}; other commands are used",
            command.name(),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(OptionalCommand, Instant)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unknown, not implemented, or not for this parameter (RFC 959 section 4.2). 501 and 550 are about
/// the argument.
pub(super) fn is_unknown(code: u16) -> bool {
    matches!(code, 500 | 502 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_command_is_not_sent_again_for_a_while() {
        let refusals = Refusals::new(([127, 0, 0, 1], 21).into());
        let reply = |code| PeerReply { code, lines: vec![b"words".to_vec()] };
        for code in [450, 501, 530, 550] {
            assert!(!refusals.note_reply(OptionalCommand::Mlst, &reply(code)), "{code}");
        }
        assert!(!refusals.is_refused(OptionalCommand::Mlst));
        assert!(refusals.note_reply(OptionalCommand::Mlst, &reply(502)));
        assert!(
            refusals.is_refused(OptionalCommand::Mlst)
                && !refusals.is_refused(OptionalCommand::Mlsd)
        );
        // A command that has worked is supported.
        assert!(!refusals.note_reply(OptionalCommand::Size, &reply(213)));
        assert!(
            !refusals.note_reply(OptionalCommand::Size, &reply(500))
                && !refusals.is_refused(OptionalCommand::Size)
        );
        // Soon after a boot, `Instant` does not reach back that far.
        if let Some(old) = Instant::now().checked_sub(QUIRK_TTL) {
            refusals.lock()[0].1 = old;
            assert!(!refusals.is_refused(OptionalCommand::Mlst));
        }
    }

    #[test]
    fn codes_501_and_550_do_not_mean_an_unknown_command() {
        for (code, unknown) in [(500, true), (502, true), (504, true), (501, false), (550, false)] {
            assert_eq!(is_unknown(code), unknown, "{code}");
        }
    }
}
