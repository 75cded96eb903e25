//! Paths inside the sandbox, and how files are opened there.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;

use super::errno::{NOT_A_FILE, failed, refused};
use crate::op::{Failure, FailureKind, RemotePath, as_os_path};

/// A path as the sandbox expects it: relative, `.` for the root.
pub(super) fn relative(path: &RemotePath) -> &Path {
    match path.as_bytes().strip_prefix(b"/") {
        None | Some(b"") => Path::new("."),
        Some(rest) => as_os_path(rest),
    }
}

/// Folder and name of a relative path; `.` and `.` for the root.
pub(super) fn split(path: &Path) -> (&Path, &OsStr) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    (folder.unwrap_or(Path::new(".")), path.file_name().unwrap_or(OsStr::new(".")))
}

/// The path with its symlinks resolved; the path itself if nothing exists there.
pub(super) fn real_path(root: &Dir, path: &Path) -> io::Result<PathBuf> {
    match root.canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        other => other,
    }
}

/// Opens a regular file and nothing else: opening a pipe must not hang, and a device must not be opened at
/// all.
pub(super) fn open_file(
    root: &Dir,
    path: &Path,
    options: &mut OpenOptions,
    what: &str,
) -> Result<(std::fs::File, Metadata), Failure> {
    // If there is no metadata, opening the file reports why.
    if let Ok(metadata) = root.metadata(path) {
        require_file(&metadata, what)?;
    }
    let file = open_nonblocking(root, path, options).map_err(|e| failed(what, &e))?;
    let metadata = file.metadata().map_err(|e| failed(what, &e))?;
    // Another file may have the name since.
    require_file(&metadata, what)?;
    Ok((file.into_std(), metadata))
}

fn open_nonblocking(root: &Dir, path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    root.open_with(path, options.custom_flags(flags.bits().cast_signed()))
}

/// Refuses anything but a regular file.
pub(super) fn require_file(metadata: &Metadata, what: &str) -> Result<(), Failure> {
    if metadata.is_dir() {
        return Err(refused(FailureKind::IsADirectory, what, "it is a directory"));
    }
    if !metadata.is_file() {
        return Err(refused(FailureKind::PermissionDenied, what, NOT_A_FILE));
    }
    Ok(())
}
