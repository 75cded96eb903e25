//! What has arrived in a file (`state_dir`), so that a restart does not forget it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::files::ExpectedFiles;
use super::saved::{SavedEntry, SavedTally};
use crate::files::state_file;
use crate::task;

/// In the folder of `state_dir`.
const FILE_NAME: &str = "expected.json";
/// Where a file that cannot be read is kept.
const BROKEN_NAME: &str = "expected.json.broken";
const FORMAT_VERSION: u64 = 1;
/// A crash loses what has arrived since the last time.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// The file with what has arrived.
pub struct ExpectedStateFile {
    folder: PathBuf,
    files: Arc<ExpectedFiles>,
    /// The last attempt to write it failed, which was logged.
    failing: AtomicBool,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u64,
    expected: Vec<SavedEntry>,
}

impl ExpectedStateFile {
    /// Reads what had arrived before a restart, for [`ExpectedFiles::put_in_force`] to go on with. A file that
    /// cannot be read is logged and kept under another name.
    pub fn open(folder: &Path, files: Arc<ExpectedFiles>) -> Self {
        let path = folder.join(FILE_NAME);
        match read(&path) {
            Ok(saved) => files.restore(saved),
            Err(reason) => {
                let kept = fs::rename(&path, folder.join(BROKEN_NAME)).is_ok();
                tracing::warn!(
                    file = %path.display(),
                    reason,
                    kept_as = kept.then_some(BROKEN_NAME),
                    "it is not known which expected files have arrived: their file cannot be read (state_dir)"
                );
            }
        }
        Self { folder: folder.to_owned(), files, failing: AtomicBool::new(false) }
    }

    /// Goes on with the file of a process that writes it no more, and whose arrivals these are.
    pub fn taken_over(folder: &Path, files: Arc<ExpectedFiles>) -> Self {
        Self { folder: folder.to_owned(), files, failing: AtomicBool::new(false) }
    }

    /// Saves what has changed, until `end`.
    pub async fn save_until(self: Arc<Self>, end: CancellationToken) {
        while end.run_until_cancelled(sleep(SAVE_INTERVAL)).await.is_some() {
            self.clone().save().await;
        }
    }

    /// Saves now what has changed. A failure is logged, once until it succeeds again.
    pub async fn save(self: Arc<Self>) {
        // Fails only while the process ends.
        let _ = task::spawn_blocking(move || self.write()).await;
    }

    fn write(&self) {
        let Some(saved) = self.files.take_changed() else { return };
        if saved.is_empty() && !self.folder.join(FILE_NAME).exists() {
            return;
        }
        let expected = saved.iter().map(SavedEntry::from).collect();
        let content = Content { version: FORMAT_VERSION, expected };
        let written = state_file::replace(&self.folder, FILE_NAME, &content);
        let was_failing = self.failing.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written {
            self.files.note_unsaved();
            if !was_failing {
                tracing::warn!(
                    folder = %self.folder.display(),
                    %error,
                    "which expected files have arrived cannot be saved (state_dir): a restart would forget it"
                );
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<SavedTally>, String> {
    let Some(content) = state_file::read(path)? else { return Ok(Vec::new()) };
    let version = &content["version"];
    if version.as_u64() != Some(FORMAT_VERSION) {
        return Err(format!("its version is {version}, not {FORMAT_VERSION}"));
    }
    decode(content)
}

fn decode(content: Json) -> Result<Vec<SavedTally>, String> {
    let content: Content = serde_json::from_value(content).map_err(|error| error.to_string())?;
    let now = Timestamp::now();
    let entries = content.expected.into_iter().enumerate();
    let decoded = entries.map(|(index, entry)| {
        entry.tally(now).ok_or_else(|| format!("expected[{index}] has an invalid time or key"))
    });
    decoded.collect()
}
