//! Files of `state_dir`, as JSON: read at the start, and replaced as a whole.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;
use tempfile::NamedTempFile;

use super::small_file;

/// A larger file is not ours.
const SIZE_MAX: u64 = 256 * 1024 * 1024;

/// The file's content; `None`: there is no such file.
///
/// # Errors
/// Why it cannot be read, in words.
pub fn read(path: &Path) -> Result<Option<Json>, String> {
    let bytes = match small_file::read(path, SIZE_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| error.to_string())?,
    };
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
