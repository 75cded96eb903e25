//! A file of `state_dir`, so that a restart does not forget what the process counts: JSON, read at the start,
//! and replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tempfile::NamedTempFile;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::small_file;
use crate::task;

/// A larger file is not ours.
const SIZE_MAX: u64 = 256 * 1024 * 1024;

/// What a [`StateFile`] saves.
pub trait SavedState: Send + Sync + 'static {
    /// In the folder of `state_dir`.
    const FILE_NAME: &'static str;
    /// Of the content.
    const FORMAT_VERSION: u64;
    /// A crash loses what was counted since the last time.
    const SAVE_INTERVAL: Duration;
    /// What the file has beside its version.
    type Content: Serialize + DeserializeOwned;

    /// What is to be saved; `None`: nothing new.
    fn to_save(&self, has_file: bool) -> Option<Self::Content>;

    /// What [`Self::to_save`] has returned could not be saved.
    fn note_unsaved(&self) {}

    /// Goes on with what was saved before a restart.
    ///
    /// # Errors
    /// What is invalid in it, in words.
    fn restore(&self, content: Self::Content) -> Result<(), String>;

    /// Logs that the file cannot be read, or has invalid content. `kept_as`: the name that it has now.
    fn warn_unreadable(file: &Path, reason: &str, kept_as: Option<&str>);

    /// Logs that the file cannot be written.
    fn warn_unsaved(folder: &Path, error: &io::Error);
}

/// Saves a state in its file.
pub struct StateFile<S> {
    folder: PathBuf,
    state: Arc<S>,
    /// The last attempt to write it failed, which was logged.
    failing: AtomicBool,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Versioned<C> {
    version: u64,
    #[serde(flatten)]
    content: C,
}

impl<S: SavedState> StateFile<S> {
    /// Reads what was saved before a restart, and saves what is new already. A file that cannot be read is logged
    /// and kept under another name.
    pub fn open(folder: &Path, state: Arc<S>) -> Self {
        let path = folder.join(S::FILE_NAME);
        if let Err(reason) = restore(&path, &*state) {
            let name = format!("{}.broken", S::FILE_NAME);
            let is_kept = fs::rename(&path, folder.join(&name)).is_ok();
            S::warn_unreadable(&path, &reason, is_kept.then_some(&name));
        }
        let file = Self::taken_over(folder, state);
        file.write();
        file
    }

    /// Goes on with the file of a process that writes it no more, and whose state this is.
    pub fn taken_over(folder: &Path, state: Arc<S>) -> Self {
        Self { folder: folder.to_owned(), state, failing: AtomicBool::new(false) }
    }

    /// Saves again and again until `end`.
    pub async fn save_until(self: Arc<Self>, end: CancellationToken) {
        while end.run_until_cancelled(sleep(S::SAVE_INTERVAL)).await.is_some() {
            self.clone().save().await;
        }
    }

    /// Saves now. A failure is logged, once until it succeeds again.
    pub async fn save(self: Arc<Self>) {
        // Fails only while the process ends.
        let _ = task::spawn_blocking(move || self.write()).await;
    }

    fn write(&self) {
        let has_file = self.folder.join(S::FILE_NAME).exists();
        let Some(content) = self.state.to_save(has_file) else { return };
        let content = Versioned { version: S::FORMAT_VERSION, content };
        let written = replace(&self.folder, S::FILE_NAME, &content);
        let was_failing = self.failing.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written {
            self.state.note_unsaved();
            if !was_failing {
                S::warn_unsaved(&self.folder, &error);
            }
        }
    }
}

/// Does nothing if there is no such file.
fn restore<S: SavedState>(path: &Path, state: &S) -> Result<(), String> {
    let Some(content) = read(path)? else { return Ok(()) };
    let version = &content["version"];
    if version.as_u64() != Some(S::FORMAT_VERSION) {
        return Err(format!("its version is {version}, not {}", S::FORMAT_VERSION));
    }
    let saved: Versioned<S::Content> =
        serde_json::from_value(content).map_err(|error| error.to_string())?;
    state.restore(saved.content)
}

/// The file's content; `None`: there is no such file.
fn read(path: &Path) -> Result<Option<Json>, String> {
    let bytes = match small_file::read(path, SIZE_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| error.to_string())?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string())
}

/// Replaces the file as a whole: a crash leaves the old or the new one.
fn replace(folder: &Path, name: &str, content: &impl Serialize) -> io::Result<()> {
    let mut new = NamedTempFile::new_in(folder)?;
    serde_json::to_writer(new.as_file_mut(), content)?;
    new.write_all(b"\n")?;
    new.as_file().sync_all()?;
    new.persist(folder.join(name))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start would wait for ever, or until memory is full.
    #[test]
    fn a_fifo_or_device_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("quotas.json");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        assert!(read(&fifo).unwrap_err().contains("not a regular file"));
        let zero = folder.path().join("expected.json");
        std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
        assert!(read(&zero).unwrap_err().contains("not a regular file"));
        assert_eq!(read(&folder.path().join("none")), Ok(None));
    }
}
