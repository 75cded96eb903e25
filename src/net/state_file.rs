//! Files of `state_dir`, as JSON: read at the start, and replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;
use tempfile::NamedTempFile;

/// A larger file is not ours.
const SIZE_MAX: u64 = 256 * 1024 * 1024;

/// The file's content; `None`: there is no such file.
///
/// # Errors
/// Why it cannot be read, in words.
pub fn read(path: &Path) -> Result<Option<Json>, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > SIZE_MAX => return Err("it is too large".into()),
        _ => {}
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string())
}

/// Replaces the file as a whole: a crash leaves the old or the new one.
pub fn replace(folder: &Path, name: &str, content: &impl Serialize) -> io::Result<()> {
    let mut new = NamedTempFile::new_in(folder)?;
    serde_json::to_writer(new.as_file_mut(), content)?;
    new.write_all(b"\n")?;
    new.as_file().sync_all()?;
    new.persist(folder.join(name))?;
    File::open(folder)?.sync_all()
}
