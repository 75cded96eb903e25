//! What has arrived, as it is saved.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file_key::FileKey;
use super::schedule::Window;
use super::tally::{FILES_MAX, LastFile, Tally};

/// What an entry has counted, with what tells whether another one counts the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SavedTally {
    pub(super) name: String,
    pub(super) counts: String,
    pub(super) schedule: String,
    pub(super) tally: Tally,
}

/// The same as JSON; times in seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedEntry {
    name: String,
    counts: String,
    schedule: String,
    window_start: i64,
    due: i64,
    told: bool,
    arrived: Vec<(String, i64)>,
    last: Option<(i64, SavedPath)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum SavedPath {
    Text(String),
    /// It is not UTF-8.
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for SavedPath {
    fn from(path: Vec<u8>) -> Self {
        match String::from_utf8(path) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes(error.into_bytes()),
        }
    }
}

impl SavedPath {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl From<&SavedTally> for SavedEntry {
    fn from(saved: &SavedTally) -> Self {
        let SavedTally { name, counts, schedule, tally } = saved;
        let arrived = tally.arrivals.iter().map(|(key, at)| (key.to_hex(), at.as_second()));
        let last = tally.last.as_ref().map(|last| (last.at.as_second(), last.path.clone().into()));
        Self {
            name: name.clone(),
            counts: counts.clone(),
            schedule: schedule.clone(),
            window_start: tally.window.start.as_second(),
            due: tally.window.due.as_second(),
            told: tally.reported,
            arrived: arrived.collect(),
            last,
        }
    }
}

impl SavedEntry {
    /// `None` if a time or a key is invalid.
    pub(super) fn tally(self, now: Timestamp) -> Option<SavedTally> {
        let at = |seconds: i64| Timestamp::from_second(seconds).ok();
        let window = Window { start: at(self.window_start)?, due: at(self.due)? };
        let arrivals = self.arrived.into_iter().take(FILES_MAX);
        let arrivals =
            arrivals.map(|(key, seconds)| Some((FileKey::from_hex(&key)?, at(seconds)?)));
        let arrivals = arrivals.collect::<Option<HashMap<_, _>>>()?;
        let last = match self.last {
            None => None,
            Some((seconds, path)) => {
                Some(LastFile { at: at(seconds)?, path: path.as_bytes().to_vec() })
            }
        };
        let is_ahead = window.start > now && arrivals.is_empty();
        let tally = Tally { window, arrivals, last, reported: self.told, is_ahead };
        Some(SavedTally { name: self.name, counts: self.counts, schedule: self.schedule, tally })
    }
}
