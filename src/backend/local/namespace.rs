//! Operations that end in one answer.

use std::io;
use std::path::Path;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt};
use rustix::fs::{Access, AtFlags, RenameFlags};
use rustix::io::Errno;

use super::attributes::MODE;
use super::errno::{failed, refused};
use super::paths::{relative, require_file, split};
use super::{attributes, links};
use crate::op::{Answer, Entry, EntryKind, Onto};
use crate::op::{Failure, FailureKind, Operation, RemotePath};

/// The mode of a new folder, before the umask, if the client sends none.
const FOLDER_MODE: u32 = 0o777;

/// Blocks for as long as the file system does.
pub(super) fn perform(root: &Dir, operation: &Operation) -> Result<Answer, Failure> {
    match operation {
        Operation::Stat(path) => stat(root, path).map(Answer::Entry),
        Operation::LinkStat(path) => links::stat(root, path).map(Answer::Entry),
        // In bytes; `read::count_ascii` counts what TYPE A makes of them.
        Operation::Size(path, _) => size(root, path).map(Answer::Size),
        Operation::Enter(path) => done(enter(root, path), || format!("enter {path}")),
        Operation::Remove(path) => {
            not_root(path, "remove")?;
            done(root.remove_file(relative(path)), || format!("remove {path}"))
        }
        Operation::MakeDirectory { path, permissions } => {
            let mut folder = DirBuilder::new();
            folder.mode(permissions.map_or(FOLDER_MODE, |permissions| permissions & MODE));
            let made = root.create_dir_with(relative(path), &folder);
            done(made, || format!("make the directory {path}"))
        }
        Operation::RemoveDirectory(path) => {
            not_root(path, "remove")?;
            done(root.remove_dir(relative(path)), || format!("remove the directory {path}"))
        }
        // A symlink is renamed itself, wherever it leads.
        Operation::RenameFrom(path) => match links::stat(root, path) {
            Err(failure) if failure.kind != FailureKind::PermissionDenied => Err(failure),
            _ => Ok(Answer::Done(None)),
        },
        Operation::Rename { from, to, onto } => {
            not_root(from, "rename")?;
            not_root(to, "replace")?;
            let (old, new) = (relative(from), relative(to));
            let renamed = match onto {
                Onto::Refused => rename_to_new(root, old, new),
                Onto::Replaced | Onto::AsBackend => root.rename(old, root, new),
            };
            done(renamed, || format!("rename {from} to {to}"))
        }
        Operation::SetAttributes { path, changes, follow } => {
            attributes::set(root, path, changes, *follow).map(|()| Answer::Done(None))
        }
        Operation::ReadLink(path) => links::read(root, path).map(Answer::Link),
        Operation::Symlink { target, link } => {
            links::symlink(root, target, link).map(|()| Answer::Done(None))
        }
        Operation::HardLink { from, to } => {
            not_root(from, "link")?;
            let linked = root.hard_link(relative(from), root, relative(to));
            done(linked, || format!("link {from} as {to}"))
        }
        Operation::FileSystem(path) => attributes::file_system(root, path).map(Answer::FileSystem),
        Operation::AccountNames { .. } => Err(refused(
            FailureKind::Unsupported,
            "look up the names of users and groups",
            "those of the gateway's machine are not for its clients",
        )),
    }
}

fn done(result: io::Result<()>, what: impl FnOnce() -> String) -> Result<Answer, Failure> {
    result.map(|()| Answer::Done(None)).map_err(|e| failed(what(), &e))
}

fn not_root(path: &RemotePath, verb: &str) -> Result<(), Failure> {
    if path.is_root() {
        let what = format_args!("{verb} {path}");
        return Err(refused(FailureKind::PermissionDenied, what, "it is the backend's root"));
    }
    Ok(())
}

/// The root's entry is named `/`.
fn stat(root: &Dir, path: &RemotePath) -> Result<Entry, Failure> {
    let metadata = root
        .metadata(relative(path))
        .map_err(|e| failed(format_args!("get the attributes of {path}"), &e))?;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => EntryKind::Directory,
        kind if kind.is_file() => EntryKind::File,
        _ => EntryKind::Other,
    };
    let name = path.name().unwrap_or(b"/").to_vec();
    Ok(Entry { name, kind, attributes: attributes::attributes(&metadata) })
}

fn size(root: &Dir, path: &RemotePath) -> Result<u64, Failure> {
    let what = format!("get the size of {path}");
    let metadata = root.metadata(relative(path)).map_err(|e| failed(&what, &e))?;
    require_file(&metadata, &what)?;
    Ok(metadata.len())
}

/// Does not follow the last names, so these can be passed to the kernel relative to their folders.
pub(super) fn rename_to_new(root: &Dir, old: &Path, new: &Path) -> io::Result<()> {
    let ((old_folder, old_name), (new_folder, new_name)) = (split(old), split(new));
    let (old_dir, new_dir) = (root.open_dir(old_folder)?, root.open_dir(new_folder)?);
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(&old_dir, old_name, &new_dir, new_name, flags) {
        // Not all file systems support the flag. Without it, a file that appears between the check and
        // the rename is replaced.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match new_dir.symlink_metadata(new_name) {
                Ok(_) => Err(Errno::EXIST.into()),
                Err(_) => root.rename(old, root, new),
            }
        }
        renamed => Ok(renamed?),
    }
}

fn enter(root: &Dir, path: &RemotePath) -> io::Result<()> {
    enterable(&root.open_dir(relative(path))?)
}

/// Whether a folder may be searched: opening it does not check that.
pub(super) fn enterable(folder: &Dir) -> io::Result<()> {
    Ok(rustix::fs::accessat(folder, ".", Access::EXEC_OK, AtFlags::EACCESS)?)
}

#[cfg(test)]
mod tests;
