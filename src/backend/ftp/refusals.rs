//! Commands that a server does not have: what it has refused once is not asked again for a while.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::quirk::KEPT;
use crate::op::PeerReply;

/// A way to ask that not every server has, and there is another for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Optional {
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
    backend: Arc<str>,
    server: SocketAddr,
    refused: Mutex<Vec<(Optional, Instant)>>,
    /// A bit for each that has worked: an answer that says otherwise is about one name then.
    worked: AtomicU8,
}

impl Optional {
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
    pub(super) fn new(backend: &Arc<str>, server: SocketAddr) -> Self {
        Self {
            backend: backend.clone(),
            server,
            refused: Mutex::default(),
            worked: AtomicU8::new(0),
        }
    }

    /// Whether the server has refused it and may not be asked again yet.
    pub(super) fn holds(&self, asked: Optional) -> bool {
        self.lock().iter().any(|(refused, since)| *refused == asked && since.elapsed() < KEPT)
    }

    /// Notes an answer; whether it says that the server does not have the command at all.
    pub(super) fn note(&self, asked: Optional, answer: &PeerReply) -> bool {
        if answer.code / 100 == 2 {
            self.worked(asked);
        }
        let unknown = is_unknown(answer.code) && !self.has_worked(asked);
        if unknown {
            self.add(asked, answer);
        }
        unknown
    }

    pub(super) fn worked(&self, asked: Optional) {
        self.worked.fetch_or(asked.bit(), Ordering::Relaxed);
    }

    pub(super) fn has_worked(&self, asked: Optional) -> bool {
        self.worked.load(Ordering::Relaxed) & asked.bit() != 0
    }

    /// The server does not have it, as this answer shows.
    pub(super) fn add(&self, asked: Optional, answer: &PeerReply) {
        let now = Instant::now();
        let mut refused = self.lock();
        if let Some((_, since)) = refused.iter_mut().find(|(refused, _)| *refused == asked) {
            *since = now;
            return;
        }
        refused.push((asked, now));
        drop(refused);
        tracing::info!(
            backend = &*self.backend,
            server = %self.server,
            answer = %answer,
            "the backend server does not have {}; other commands are used",
            asked.name(),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Optional, Instant)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not known, not implemented, or not with such a parameter (RFC 959 section 4.2). 501 and 550 are
/// about the name.
pub(super) fn is_unknown(code: u16) -> bool {
    matches!(code, 500 | 502 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_not_asked_again_for_a_while() {
        let refusals = Refusals::new(&"b".into(), ([127, 0, 0, 1], 21).into());
        let answer = |code| PeerReply { code, lines: vec![b"words".to_vec()] };
        for code in [450, 501, 530, 550] {
            assert!(!refusals.note(Optional::Mlst, &answer(code)), "{code}");
        }
        assert!(!refusals.holds(Optional::Mlst));
        assert!(refusals.note(Optional::Mlst, &answer(502)));
        assert!(refusals.holds(Optional::Mlst) && !refusals.holds(Optional::Mlsd));
        // What has worked is there.
        assert!(!refusals.note(Optional::Size, &answer(213)));
        assert!(!refusals.note(Optional::Size, &answer(500)) && !refusals.holds(Optional::Size));
        // A machine that has just started knows no time so long ago.
        if let Some(old) = Instant::now().checked_sub(KEPT) {
            refusals.lock()[0].1 = old;
            assert!(!refusals.holds(Optional::Mlst));
        }
    }

    #[test]
    fn a_refused_name_is_no_unknown_command() {
        for (code, unknown) in [(500, true), (502, true), (504, true), (501, false), (550, false)] {
            assert_eq!(is_unknown(code), unknown, "{code}");
        }
    }
}
