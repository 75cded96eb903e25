//! Reads a file as a whole, up to a size.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// The file's content. A FIFO or device is refused, since it may have no end and no beginning either; /dev/null
/// is an empty file.
///
/// # Errors
/// It cannot be read, or has more than `max` bytes.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // The open of a FIFO waits for a writer otherwise.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    // To read a folder fails by itself.
    if !metadata.is_file() && !metadata.is_dir() && path != Path::new("/dev/null") {
        return Err(io::Error::other("it is not a regular file"));
    }
    let too_large = || io::Error::other(format!("it is too large; at most {max} bytes are read"));
    if metadata.len() > max && metadata.is_file() {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(too_large()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_no_beginning_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert!(read(&file, 4).unwrap_err().to_string().contains("at most 4 bytes"));
        assert_eq!(read(Path::new("/dev/null"), 5).unwrap(), b"");
        assert!(read(folder.path(), 5).is_err());
        // Without a size that tells.
        assert!(read(Path::new("/proc/self/maps"), 5).unwrap_err().to_string().contains("at most"));
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for path in [&*fifo, Path::new("/dev/zero")] {
            let refused = read(path, 5).unwrap_err().to_string();
            assert!(refused.contains("not a regular file"), "{refused}");
        }
    }
}
