//! What has arrived in a file (`state_dir`), so that a restart does not forget it.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::ExpectedFiles;
use super::saved::SavedEntry;
use crate::files::SavedState;

/// What the file has.
#[derive(Serialize, Deserialize)]
pub struct SavedFiles {
    expected: Vec<SavedEntry>,
}

impl SavedState for ExpectedFiles {
    const FILE_NAME: &'static str = "expected.json";
    const FORMAT_VERSION: u64 = 1;
    const SAVE_INTERVAL: Duration = Duration::from_secs(5);
    type Content = SavedFiles;

    /// No file begins without entries.
    fn to_save(&self, has_file: bool) -> Option<SavedFiles> {
        let saved = self.take_changed().filter(|saved| has_file || !saved.is_empty())?;
        Some(SavedFiles { expected: saved.iter().map(SavedEntry::from).collect() })
    }

    fn note_unsaved(&self) {
        self.note_changed();
    }

    /// [`ExpectedFiles::put_in_force`] goes on with them.
    fn restore(&self, content: SavedFiles) -> Result<(), String> {
        let now = Timestamp::now();
        let entries = content.expected.into_iter().enumerate();
        let decoded = entries.map(|(index, entry)| {
            entry.tally(now).ok_or_else(|| format!("expected[{index}] has an invalid time or key"))
        });
        self.go_on_with(decoded.collect::<Result<_, _>>()?);
        Ok(())
    }

    fn warn_unreadable(file: &Path, reason: &str, kept_as: Option<&str>) {
        tracing::warn!(
            file = %file.display(),
            reason,
            kept_as,
            "it is not known which expected files have arrived: their file cannot be read (state_dir)"
        );
    }

    fn warn_unsaved(folder: &Path, error: &io::Error) {
        tracing::warn!(
            folder = %folder.display(),
            %error,
            "which expected files have arrived cannot be saved (state_dir): a restart would forget it"
        );
    }
}
