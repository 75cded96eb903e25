//! Opens a file as `open(2)` would, inside the sandbox.

use std::fs::File;
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};

use super::attributes::MODE;
use super::errno::{failed, refused};
use super::partial::{Ending, Leftover, Temporary};
use super::place::{open_file, relative};
use crate::backend::PartialUploads;
use crate::op::{Failure, FailureKind, OpenMode, RemotePath};

/// What a created file gets where the client says nothing, before the umask.
const DEFAULT_MODE: u32 = 0o666;

/// Blocks. `partial_uploads` is about files that this call begins: those that it creates exclusively,
/// and those that it creates or else empties.
pub(super) fn open(
    root: Arc<Dir>,
    path: &RemotePath,
    mode: &OpenMode,
    partial: PartialUploads,
) -> Result<(File, Ending), Failure> {
    let what = format!("open {path} for {}", purpose(mode));
    let writes = mode.write || mode.append;
    if !writes && (!mode.read || mode.create || mode.truncate || mode.exclusive) {
        let reason = "nothing can be created or emptied without being opened for writing";
        return Err(refused(FailureKind::InvalidArgument, what, reason));
    }
    let mut options = OpenOptions::new();
    options.read(mode.read).write(mode.write && !mode.append).append(mode.append);
    options.mode(mode.permissions.map_or(DEFAULT_MODE, |permissions| permissions & MODE));

    let exclusive = mode.create && mode.exclusive;
    let replaces = mode.create && mode.truncate && !mode.append && !exclusive;
    if replaces && partial == PartialUploads::TemporaryName {
        let (file, temporary) = Temporary::create(root, relative(path), &mut options, &what)?;
        return Ok((file, Ending::Renamed(temporary)));
    }
    options.create(mode.create && !exclusive).create_new(exclusive);
    let (file, metadata) = open_file(&root, relative(path), &mut options, &what)?;
    if mode.truncate {
        // Not by O_TRUNC: only now is it sure to be a regular file.
        file.set_len(0).map_err(|e| failed(&what, &e))?;
    }
    let ending = match partial {
        PartialUploads::Delete if exclusive || replaces => {
            Ending::Deleted(Leftover::new(root, relative(path), &metadata, &what)?)
        }
        // A name that is claimed exclusively must be taken at once.
        PartialUploads::Delete | PartialUploads::Keep | PartialUploads::TemporaryName => {
            Ending::Stays
        }
    };
    Ok((file, ending))
}

fn purpose(mode: &OpenMode) -> &'static str {
    match (mode.read, mode.write, mode.append) {
        (true, _, true) => "reading and appending",
        (false, _, true) => "appending",
        (true, true, false) => "reading and writing",
        (false, true, false) => "writing",
        (_, false, false) => "reading",
    }
}
