use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, File, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;

use super::errno::{NOT_A_FILE, failed, refused};
use crate::op::{Failure, FailureKind, RemotePath};

/// A path as the sandbox wants it: relative, `.` for the root.
pub(super) fn relative(path: &RemotePath) -> &Path {
    match path.as_bytes().strip_prefix(b"/") {
        None | Some(b"") => Path::new("."),
        Some(rest) => Path::new(OsStr::from_bytes(rest)),
    }
}

/// Folder and name of a relative path; `.` and `.` for the root.
pub(super) fn split(path: &Path) -> (&Path, &OsStr) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    (folder.unwrap_or(Path::new(".")), path.file_name().unwrap_or(OsStr::new(".")))
}

/// Where a path really is, its symlinks followed; the path itself while nothing is there.
pub(super) fn real(root: &Dir, path: &Path) -> io::Result<PathBuf> {
    match root.canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        other => other,
    }
}

/// Opens a regular file and nothing else: opening a pipe must not hang, and opening a device must
/// not happen at all.
pub(super) fn open_file(
    root: &Dir,
    path: &Path,
    options: &mut OpenOptions,
    what: &str,
) -> Result<(std::fs::File, Metadata), Failure> {
    // Where nothing is yet, or it cannot be known, opening it says more.
    if let Ok(metadata) = root.metadata(path) {
        only_file(&metadata, what)?;
    }
    let file = open_now(root, path, options).map_err(|e| failed(what, &e))?;
    let metadata = file.metadata().map_err(|e| failed(what, &e))?;
    // What the name stands for may have changed since.
    only_file(&metadata, what)?;
    Ok((file.into_std(), metadata))
}

fn open_now(root: &Dir, path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    root.open_with(path, options.custom_flags(flags.bits().cast_signed()))
}

/// Refuses what is no regular file.
pub(super) fn only_file(metadata: &Metadata, what: &str) -> Result<(), Failure> {
    if metadata.is_dir() {
        return Err(refused(FailureKind::IsADirectory, what, "it is a directory"));
    }
    if !metadata.is_file() {
        return Err(refused(FailureKind::PermissionDenied, what, NOT_A_FILE));
    }
    Ok(())
}
