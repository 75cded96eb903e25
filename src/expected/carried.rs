//! What another process goes on with after a take-over: what has arrived, and what still arrives in the process
//! before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file_key::FileKey;
use super::saved::{SavedEntry, SavedPath};

/// What has arrived for an entry.
#[derive(Debug, Serialize, Deserialize)]
pub struct CarriedFiles(pub(super) SavedEntry);

/// A file that has arrived for an entry, or got another name.
#[derive(Debug, Serialize, Deserialize)]
pub struct CarriedArrival {
    pub(super) name: String,
    key: String,
    /// Its key before it was renamed.
    from: Option<String>,
    path: SavedPath,
    at: i64,
}

impl CarriedArrival {
    pub(super) fn new(name: &str, arrival: &Arrival<'_>) -> Self {
        let Arrival { key, from, path, at } = arrival;
        Self {
            name: name.to_owned(),
            key: key.to_hex(),
            from: from.map(FileKey::to_hex),
            path: path.to_vec().into(),
            at: at.as_second(),
        }
    }

    /// `None` if it is not valid.
    pub(super) fn decode(&self) -> Option<Arrival<'_>> {
        let from = match &self.from {
            None => None,
            Some(from) => Some(FileKey::from_hex(from)?),
        };
        let (key, at) = (FileKey::from_hex(&self.key)?, Timestamp::from_second(self.at).ok()?);
        Some(Arrival { key, from, path: self.path.as_bytes(), at })
    }
}

/// A file that has arrived, or got another name.
pub(super) struct Arrival<'a> {
    pub(super) key: FileKey,
    /// Its key before it was renamed.
    pub(super) from: Option<FileKey>,
    pub(super) path: &'a [u8],
    pub(super) at: Timestamp,
}
