//! What becomes of an upload: `partial_uploads` for files of this machine.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions};
use tokio::runtime::Handle;

use super::errno::failed;
use super::namespace::rename_to_new;
use super::place::{only_file, open_file, real, split};
use crate::op::{Failure, RemotePath};

/// What the end of an upload has to do. Dropped before, the upload counts as cut.
pub(super) enum Ending {
    /// Whole or cut, the file stays as it is.
    Stays,
    /// Cut, the file is deleted.
    Deleted(Leftover),
    /// Whole, the file gets its name; cut, it stays under the temporary one, unless there is no byte
    /// in it.
    Renamed(Temporary),
}

impl Ending {
    /// All is written. Blocks.
    pub(super) fn whole(self, path: &RemotePath) -> Result<(), Failure> {
        match self {
            Self::Stays => Ok(()),
            Self::Deleted(leftover) => {
                leftover.keep();
                Ok(())
            }
            Self::Renamed(temporary) => temporary.give_name(path),
        }
    }

    /// Blocks, where a drop would leave the work to another thread.
    pub(super) fn cut(self) {
        match self {
            Self::Stays => {}
            Self::Deleted(mut leftover) => drop(leftover.0.take()),
            Self::Renamed(temporary) => temporary.cut(),
        }
    }
}

/// A file that is deleted, as well as that is possible, unless it is kept.
pub(super) struct Leftover(Option<Removal>);

impl Leftover {
    pub(super) fn new(
        root: Arc<Dir>,
        path: &Path,
        metadata: &Metadata,
        what: &str,
    ) -> Result<Self, Failure> {
        // A symlink stays; what it leads to is what was begun.
        let place = real(&root, path).map_err(|e| failed(what, &e))?;
        let identity = identity(metadata);
        let mut all = all_begun();
        let begun = all.entry(identity).or_default();
        begun.newest += 1;
        begun.removals += 1;
        let number = begun.newest;
        Ok(Self(Some(Removal { root, place, identity, number, kept: false })))
    }

    fn keep(mut self) {
        if let Some(removal) = &mut self.0 {
            removal.kept = true;
        }
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if let Some(removal) = self.0.take_if(|removal| !removal.kept) {
            match Handle::try_current() {
                // A runtime that is ending drops the closure instead, which removes it just as well.
                Ok(runtime) => drop(runtime.spawn_blocking(move || drop(removal))),
                Err(_) => drop(removal),
            }
        }
    }
}

/// Deletes when it is dropped; blocks.
struct Removal {
    root: Arc<Dir>,
    place: PathBuf,
    identity: Identity,
    number: u64,
    kept: bool,
}

/// Device and inode.
type Identity = (u64, u64);

/// What was begun in a file whose part would be deleted.
#[derive(Default)]
struct Begun {
    /// The number of the newest upload.
    newest: u64,
    /// How many would delete it.
    removals: usize,
}

/// Of all backends: two may have one folder.
static ALL_BEGUN: LazyLock<Mutex<HashMap<Identity, Begun>>> = LazyLock::new(Mutex::default);

fn all_begun() -> MutexGuard<'static, HashMap<Identity, Begun>> {
    ALL_BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`open_file`], for writing. From now on no earlier upload takes what is there for its part: its
/// client may have come back, and sends the file again.
pub(super) fn open_for_writing(
    root: &Dir,
    path: &Path,
    options: &mut OpenOptions,
    what: &str,
) -> Result<(File, Metadata), Failure> {
    loop {
        let (file, metadata) = open_file(root, path, options, what)?;
        let identity = identity(&metadata);
        let mut all = all_begun();
        let Some(begun) = all.get_mut(&identity) else { return Ok((file, metadata)) };
        begun.newest += 1;
        drop(all);
        // It may have been deleted a moment ago.
        if root.metadata(path).is_ok_and(|there| self::identity(&there) == identity) {
            return Ok((file, metadata));
        }
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let mut all = all_begun();
        let Some(begun) = all.get_mut(&self.identity) else { return };
        let is_newest = begun.newest == self.number;
        begun.removals -= 1;
        if begun.removals == 0 {
            all.remove(&self.identity);
        }
        if self.kept || !is_newest {
            return;
        }
        // Another file may have the name by now.
        let same =
            self.root.symlink_metadata(&self.place).is_ok_and(|m| identity(&m) == self.identity);
        if same {
            // Nobody is left to be told; the partial file then stays.
            let _ = self.root.remove_file(&self.place);
        }
        // Until here nobody begins anything in it.
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
    place: PathBuf,
    /// A file that has the name by then is an error.
    exclusive: bool,
}

impl Temporary {
    /// Creates it beside `path`, or beside the file that a symlink there leads to: that is replaced,
    /// with its permissions kept, and the symlink stays. `options` tell how it is opened.
    pub(super) fn create(
        root: Arc<Dir>,
        path: &Path,
        options: &mut OpenOptions,
        what: &str,
    ) -> Result<(File, Self), Failure> {
        let replaced = root.metadata(path).ok();
        if let Some(replaced) = &replaced {
            only_file(replaced, what)?;
        }
        let place = real(&root, path).map_err(|e| failed(what, &e))?;
        let temporary = split(&place).0.join(random_name(".lockgate-", ".part"));
        let (file, _) = open_file(&root, &temporary, options.create_new(true), what)?;
        if let Some(replaced) = replaced {
            // Not all file systems have permissions; the upload matters more.
            let _ = file.set_permissions(Permissions::from_mode(replaced.mode() & 0o777));
        }
        Ok((file, Self { root, temporary, place, exclusive: false }))
    }

    /// As [`Temporary::create`], of a file that replaces none.
    pub(super) fn create_new(
        root: Arc<Dir>,
        path: &Path,
        options: &mut OpenOptions,
        what: &str,
    ) -> Result<(File, Self), Failure> {
        let (file, temporary) = Self::create(root, path, options, what)?;
        Ok((file, Self { exclusive: true, ..temporary }))
    }

    fn give_name(self, path: &RemotePath) -> Result<(), Failure> {
        let Self { root, temporary, place, exclusive } = self;
        let renamed = match exclusive {
            true => rename_to_new(&root, &temporary, &place),
            false => root.rename(&temporary, &root, &place),
        };
        renamed.map_err(|e| failed(format_args!("give the finished upload its name {path}"), &e))
    }

    /// Its client never came, or went at once.
    fn cut(self) {
        let Self { root, temporary, .. } = self;
        if root.symlink_metadata(&temporary).is_ok_and(|there| there.len() == 0) {
            // Nobody is left to be told; the empty file then stays.
            let _ = root.remove_file(&temporary);
        }
    }
}

/// 128 random bits in hexadecimal between the two.
pub(super) fn random_name(before: &str, after: &str) -> String {
    format!("{before}{:032x}{after}", rand::random::<u128>())
}
