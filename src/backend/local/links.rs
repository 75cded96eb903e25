//! Symlinks: told as they are written, made only where they stay inside.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use cap_std::fs::{Dir, FileType};

use super::attributes::attributes;
use super::errno::{failed, refused};
use super::place::relative;
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath};

/// What lies at `path`, a symlink not followed. The root's entry is named `/`.
pub(super) fn stat(root: &Dir, path: &RemotePath) -> Result<Entry, Failure> {
    let metadata = root
        .symlink_metadata(relative(path))
        .map_err(|e| failed(format_args!("look at {path}"), &e))?;
    let kind = kind_of(root, metadata.file_type(), relative(path));
    let name = path.name().unwrap_or(b"/").to_vec();
    Ok(Entry { name, kind, attributes: attributes(&metadata) })
}

pub(super) fn kind_of(folder: &Dir, kind: FileType, name: &Path) -> EntryKind {
    if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_file() {
        EntryKind::File
    } else if kind.is_symlink() {
        let target = folder.read_link_contents(name).ok();
        EntryKind::Symlink(target.map(|target| target.into_os_string().into_vec()))
    } else {
        EntryKind::Other
    }
}

pub(super) fn read(root: &Dir, path: &RemotePath) -> Result<Vec<u8>, Failure> {
    let what = format!("read the symbolic link {path}");
    let metadata = root.symlink_metadata(relative(path)).map_err(|e| failed(&what, &e))?;
    if !metadata.is_symlink() {
        return Err(refused(FailureKind::InvalidArgument, what, "it is no symbolic link"));
    }
    let target = root.read_link_contents(relative(path)).map_err(|e| failed(&what, &e))?;
    Ok(target.into_os_string().into_vec())
}

/// The sandbox follows no link that leads out. What else runs on this machine might, so none is made.
pub(super) fn symlink(root: &Dir, target: &[u8], link: &RemotePath) -> Result<(), Failure> {
    let what = format!("make the symbolic link {link}");
    if target.starts_with(b"/") {
        let reason = "an absolute target would be a path of the gateway's machine; \
                      give one that is relative to the link's folder";
        return Err(refused(FailureKind::PermissionDenied, what, reason));
    }
    if leads_out(target, link) {
        let reason = "it would lead outside of the backend's folder";
        return Err(refused(FailureKind::PermissionDenied, what, reason));
    }
    let target = OsStr::from_bytes(target);
    root.symlink_contents(target, relative(link)).map_err(|e| failed(&what, &e))
}

/// As the names tell it: folders on the way that are symlinks themselves are not looked at.
fn leads_out(target: &[u8], link: &RemotePath) -> bool {
    let names = |path: &[u8]| path.split(|b| *b == b'/').filter(|name| !name.is_empty()).count();
    let folders = names(link.as_bytes()).saturating_sub(1);
    let depth = target.split(|b| *b == b'/').try_fold(folders, |depth, name| match name {
        b".." => depth.checked_sub(1),
        b"" | b"." => Some(depth),
        _ => Some(depth + 1),
    });
    depth.is_none()
}
