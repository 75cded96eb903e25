//! What becomes of an upload at its end (`partial_uploads`).

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions};
use tokio::runtime::Handle;

use super::errno::failed;
use super::namespace::rename_to_new;
use super::paths::{open_file, real_path, require_file, split};
use crate::op::{Failure, RemotePath};
use crate::task;

/// What happens at the end of an upload. Dropped before, the upload counts as aborted.
pub(super) enum Ending {
    /// Whole or aborted, the file stays as it is.
    Keep,
    /// Aborted, the file is deleted.
    Delete(DeleteOnDrop),
    /// Whole, the file is renamed; aborted, it stays under its temporary name unless it is empty.
    Rename(Temporary),
}

impl Ending {
    /// The file is whole. Blocks.
    pub(super) fn commit(self, path: &RemotePath) -> Result<(), Failure> {
        match self {
            Self::Keep => Ok(()),
            Self::Delete(file) => {
                file.keep();
                Ok(())
            }
            Self::Rename(temporary) => temporary.commit(path),
        }
    }

    /// Blocks; a drop leaves the work to another thread.
    pub(super) fn abort(self) {
        match self {
            Self::Keep => {}
            Self::Delete(mut file) => drop(file.0.take()),
            Self::Rename(temporary) => temporary.abort(),
        }
    }
}

/// Deletes a file on drop, on another thread, unless it is kept.
pub(super) struct DeleteOnDrop(Option<Removal>);

impl DeleteOnDrop {
    pub(super) fn new(
        root: Arc<Dir>,
        path: &Path,
        metadata: &Metadata,
        what: &str,
    ) -> Result<Self, Failure> {
        // A symlink stays; the upload writes its target.
        let path = real_path(&root, path).map_err(|e| failed(what, &e))?;
        let identity = identity(metadata);
        let mut all = uploads();
        let uploads = all.entry(identity).or_default();
        uploads.newest += 1;
        uploads.removals += 1;
        let number = uploads.newest;
        Ok(Self(Some(Removal { root, path, identity, number, kept: false })))
    }

    fn keep(mut self) {
        if let Some(removal) = &mut self.0 {
            removal.kept = true;
        }
    }
}

impl Drop for DeleteOnDrop {
    fn drop(&mut self) {
        if let Some(removal) = self.0.take_if(|removal| !removal.kept) {
            match Handle::try_current() {
                // A runtime that shuts down drops the closure instead, which deletes the file as well.
                Ok(runtime) => drop(task::spawn_blocking_on(&runtime, move || drop(removal))),
                Err(_) => drop(removal),
            }
        }
    }
}

/// Deletes the file on drop; blocks.
struct Removal {
    root: Arc<Dir>,
    path: PathBuf,
    identity: Identity,
    number: u64,
    kept: bool,
}

/// Device and inode.
type Identity = (u64, u64);

/// The uploads to one file, while any of them would delete it.
#[derive(Default)]
struct Uploads {
    /// The number of the newest upload.
    newest: u64,
    /// How many would delete it.
    removals: usize,
}

/// Of all backends: two may have the same folder.
static UPLOADS: LazyLock<Mutex<HashMap<Identity, Uploads>>> = LazyLock::new(Mutex::default);

fn uploads() -> MutexGuard<'static, HashMap<Identity, Uploads>> {
    UPLOADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`open_file`], for writing. From now on no earlier upload deletes the file: its client may have
/// reconnected and be sending the file again.
pub(super) fn open_for_writing(
    root: &Dir,
    path: &Path,
    options: &mut OpenOptions,
    what: &str,
) -> Result<(File, Metadata), Failure> {
    loop {
        let (file, metadata) = open_file(root, path, options, what)?;
        let identity = identity(&metadata);
        let mut all = uploads();
        let Some(uploads) = all.get_mut(&identity) else { return Ok((file, metadata)) };
        uploads.newest += 1;
        drop(all);
        // It may just have been deleted.
        if root.metadata(path).is_ok_and(|current| self::identity(&current) == identity) {
            return Ok((file, metadata));
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let mut all = uploads();
        let Some(uploads) = all.get_mut(&self.identity) else { return };
        let is_newest = uploads.newest == self.number;
        uploads.removals -= 1;
        if uploads.removals == 0 {
            all.remove(&self.identity);
        }
        if self.kept || !is_newest {
            return;
        }
        // Another file may have the name by now.
        let same =
            self.root.symlink_metadata(&self.path).is_ok_and(|m| identity(&m) == self.identity);
        if same {
            // No caller is left to report a failure to; the partial file stays then.
            let _ = self.root.remove_file(&self.path);
        }
        // Until here no other upload opens the file.
        drop(all);
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// An upload under a hidden name in its own folder.
pub(super) struct Temporary {
    root: Arc<Dir>,
    temporary: PathBuf,
    path: PathBuf,
    /// It is an error if the name exists by then.
    exclusive: bool,
}

impl Temporary {
    /// Creates it in the folder of `path`, or of its target if `path` is a symlink: the target is replaced,
    /// with its permissions kept, and the symlink stays.
    pub(super) fn create(
        root: Arc<Dir>,
        path: &Path,
        options: &mut OpenOptions,
        what: &str,
    ) -> Result<(File, Self), Failure> {
        let replaced = root.metadata(path).ok();
        if let Some(replaced) = &replaced {
            require_file(replaced, what)?;
        }
        let path = real_path(&root, path).map_err(|e| failed(what, &e))?;
        let temporary = split(&path).0.join(random_name(".lockgate-", ".part"));
        let (file, _) = open_file(&root, &temporary, options.create_new(true), what)?;
        if let Some(replaced) = replaced {
            // Not all file systems have permissions; the upload matters more.
            let _ = file.set_permissions(Permissions::from_mode(replaced.mode() & 0o777));
        }
        Ok((file, Self { root, temporary, path, exclusive: false }))
    }

    /// As [`Temporary::create`], for a file that replaces none.
    pub(super) fn create_new(
        root: Arc<Dir>,
        path: &Path,
        options: &mut OpenOptions,
        what: &str,
    ) -> Result<(File, Self), Failure> {
        let (file, temporary) = Self::create(root, path, options, what)?;
        Ok((file, Self { exclusive: true, ..temporary }))
    }

    fn commit(self, to: &RemotePath) -> Result<(), Failure> {
        let Self { root, temporary, path, exclusive } = self;
        let renamed = if exclusive {
            rename_to_new(&root, &temporary, &path)
        } else {
            root.rename(&temporary, &root, &path)
        };
        renamed.map_err(|e| failed(format_args!("rename the finished upload to {to}"), &e))
    }

    /// Deletes the file if it is empty: its client never sent a byte.
    fn abort(self) {
        let Self { root, temporary, .. } = self;
        if root.symlink_metadata(&temporary).is_ok_and(|metadata| metadata.len() == 0) {
            // No caller is left to report a failure to; the empty file stays then.
            let _ = root.remove_file(&temporary);
        }
    }
}

/// 128 random bits in hexadecimal between the two.
pub(super) fn random_name(before: &str, after: &str) -> String {
    format!("{before}{:032x}{after}", rand::random::<u128>())
}
