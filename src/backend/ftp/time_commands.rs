//! Which command sets the times of files at a server, as far as that is known.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::features::Features;
use super::quirk::QUIRK_TTL;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeCommand {
    Mfmt,
    /// `MDTM YYYYMMDDhhmmss name`
    Mdtm,
    /// `SITE UTIME YYYYMMDDhhmmss name`
    SiteUtime,
    /// `SITE UTIME name YYYYMMDDhhmmss YYYYMMDDhhmmss YYYYMMDDhhmmss UTC`: access, change, creation.
    SiteUtimeUtc,
}

/// What is known of one server.
pub(super) struct TimeCommands {
    /// For the log.
    pub(super) backend: Arc<str>,
    pub(super) server: SocketAddr,
    found: Mutex<Option<(Found, Instant)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Checked.
    Works(TimeCommand),
    /// No way works.
    None,
}

impl TimeCommand {
    pub(super) const ALL: [Self; 4] = [Self::Mfmt, Self::Mdtm, Self::SiteUtime, Self::SiteUtimeUtc];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mfmt => "MFMT",
            Self::Mdtm => "MDTM with a time",
            Self::SiteUtime => "SITE UTIME with the time first",
            Self::SiteUtimeUtc => "SITE UTIME with three times",
        }
    }

    /// Verb and argument.
    pub(super) fn command(self, time: &str, name: &[u8]) -> (&'static str, Vec<u8>) {
        match self {
            Self::Mfmt => ("MFMT", [time.as_bytes(), b" ", name].concat()),
            Self::Mdtm => ("MDTM", [time.as_bytes(), b" ", name].concat()),
            Self::SiteUtime => ("SITE", [b"UTIME ", time.as_bytes(), b" ", name].concat()),
            Self::SiteUtimeUtc => {
                let times = format!(" {time} {time} {time} UTC");
                ("SITE", [b"UTIME ", name, times.as_bytes()].concat())
            }
        }
    }
}

impl TimeCommands {
    pub(super) fn new(backend: &Arc<str>, server: SocketAddr) -> Self {
        Self { backend: backend.clone(), server, found: Mutex::default() }
    }

    /// Whether times can be set, as far as that is known; a server that announces MFMT is believed
    /// until it is known better.
    pub(super) fn can_set(&self, features: &Features) -> Option<bool> {
        match self.found() {
            Some(Found::Works(_)) => Some(true),
            Some(Found::None) => Some(false),
            None => features.mfmt.then_some(true),
        }
    }

    pub(super) fn found(&self) -> Option<Found> {
        let (found, since) = (*self.lock())?;
        // What works is refused before it is wrong.
        (found != Found::None || since.elapsed() < QUIRK_TTL).then_some(found)
    }

    pub(super) fn remember(&self, found: Option<Found>) {
        *self.lock() = found.map(|found| (found, Instant::now()));
        let (backend, server) = (&*self.backend, self.server);
        match found {
            Some(Found::Works(way)) => {
                tracing::info!(backend, %server, "the backend server sets the times of files by {}", way.name());
            }
            Some(Found::None) => {
                tracing::info!(backend, %server, "the backend server sets no times of files: MFMT, MDTM with a time and SITE UTIME were tried");
            }
            None => {}
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<(Found, Instant)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
