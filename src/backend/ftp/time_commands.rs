//! The commands that set the time of a file, and which of them a server supports.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// What one server supports.
pub(super) struct TimeCommands {
    /// For the log.
    pub(super) server: SocketAddr,
    support: Mutex<Option<(Support, Instant)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    /// Verified by reading the time back.
    Works(TimeCommand),
    /// None of the commands works.
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

    /// Returns verb and argument.
    pub(super) fn build(self, time: &str, name: &[u8]) -> (&'static str, Vec<u8>) {
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
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, support: Mutex::default() }
    }

    /// Whether the server can set times, if known. A server that announces MFMT is believed until
    /// it fails.
    pub(super) fn can_set(&self, features: Features) -> Option<bool> {
        match self.support() {
            Some(Support::Works(_)) => Some(true),
            Some(Support::None) => Some(false),
            None => features.mfmt.then_some(true),
        }
    }

    pub(super) fn support(&self) -> Option<Support> {
        let (support, since) = (*self.lock())?;
        // A command that stops working is refused, so it need not expire.
        (support != Support::None || since.elapsed() < QUIRK_TTL).then_some(support)
    }

    pub(super) fn set_support(&self, support: Option<Support>) {
        *self.lock() = support.map(|support| (support, Instant::now()));
        let server = self.server;
        match support {
            Some(Support::Works(command)) => {
                tracing::info!(%server, "the backend server sets the times of files by {}", command.name());
            }
            Some(Support::None) => {
                tracing::info!(%server, "the backend server cannot set the times of files: MFMT, MDTM with a time and SITE UTIME were tried");
            }
            None => {}
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<(Support, Instant)>> {
        self.support.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
