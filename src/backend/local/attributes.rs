//! Reads and changes attributes, by path and by open file.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use cap_std::fs::{Dir, Metadata, MetadataExt as _, OpenOptions, Permissions, PermissionsExt as _};
use rustix::fs::{AtFlags, StatVfs, Timespec, Timestamps, UTIME_OMIT};

use super::errno::{NOT_A_FILE, failed, refused};
use super::paths::{open_file, real_path, relative, split};
use crate::op::{Attributes, Changes, Failure, FailureKind, FileSystem, RemotePath, Timestamp};

pub(super) fn attributes(metadata: &Metadata) -> Attributes {
    Attributes {
        size: Some(metadata.len()),
        modified: Some(Timestamp::exact(metadata.mtime())),
        permissions: Some(metadata.mode() & 0o7777),
        owner: Some(metadata.uid().to_string().into_bytes()),
        group: Some(metadata.gid().to_string().into_bytes()),
        links: Some(metadata.nlink()),
        ids: Some((metadata.uid(), metadata.gid())),
        accessed: Some(metadata.atime()),
        type_bits: Some(metadata.mode() & 0o170_000),
    }
}

/// Changes the file at a path, or with `follow` false a symlink itself. Blocks.
pub(super) fn set(
    root: &Dir,
    path: &RemotePath,
    changes: &Changes,
    follow: bool,
) -> Result<(), Failure> {
    let what = format!("set the attributes of {path}");
    let name = relative(path);
    let itself = root.symlink_metadata(name).map_err(|e| failed(&what, &e))?;
    if itself.is_symlink() && !follow {
        return set_link(root, name, changes, &itself, &what);
    }
    let metadata = root.metadata(name).map_err(|e| failed(&what, &e))?;
    same_owner(changes, (metadata.uid(), metadata.gid()), &what)?;
    if let Some(size) = changes.size {
        let (file, _) = open_file(root, name, OpenOptions::new().write(true), &what)?;
        file.set_len(size).map_err(|e| failed(&what, &e))?;
    }
    if let Some(mode) = changes.permissions {
        // cap-std may have to open it, which hangs for a pipe.
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(refused(FailureKind::PermissionDenied, what, NOT_A_FILE));
        }
        let permissions = Permissions::from_mode(mode & MODE);
        root.set_permissions(name, permissions).map_err(|e| failed(&what, &e))?;
    }
    // Symlinks are resolved inside the sandbox first, and the result is not followed: a name that becomes a
    // symlink meanwhile cannot reach a file outside. No file is opened, so neither its permissions nor a
    // pipe matter.
    let path = real_path(root, name).map_err(|e| failed(&what, &e))?;
    set_times(root, &path, changes, &what)
}

fn set_link(
    root: &Dir,
    name: &Path,
    changes: &Changes,
    link: &Metadata,
    what: &str,
) -> Result<(), Failure> {
    same_owner(changes, (link.uid(), link.gid()), what)?;
    if changes.size.is_some() || changes.permissions.is_some() {
        let reason = "a symbolic link has no size and permissions that can be set";
        return Err(refused(FailureKind::Unsupported, what, reason));
    }
    set_times(root, name, changes, what)
}

/// The last name of `path` is not followed.
fn set_times(root: &Dir, path: &Path, changes: &Changes, what: &str) -> Result<(), Failure> {
    let Some(times) = times(changes) else { return Ok(()) };
    let (folder, name) = split(path);
    let folder = root.open_dir(folder).map_err(|e| failed(what, &e))?;
    rustix::fs::utimensat(&folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| failed(what, &e.into()))
}

/// Of an open file. Blocks.
pub(super) fn set_open(
    file: &File,
    path: &RemotePath,
    changes: &Changes,
    writable: bool,
) -> Result<(), Failure> {
    let what = format!("set the attributes of {path}");
    let metadata = file.metadata().map_err(|e| failed(&what, &e))?;
    same_owner(changes, (metadata.uid(), metadata.gid()), &what)?;
    if let Some(size) = changes.size {
        if !writable {
            let reason = "its size can be set only when it is open for writing";
            return Err(refused(FailureKind::PermissionDenied, what, reason));
        }
        file.set_len(size).map_err(|e| failed(&what, &e))?;
    }
    if let Some(mode) = changes.permissions {
        let permissions = std::fs::Permissions::from_mode(mode & MODE);
        file.set_permissions(permissions).map_err(|e| failed(&what, &e))?;
    }
    match times(changes) {
        Some(times) => rustix::fs::futimens(file, &times).map_err(|e| failed(&what, &e.into())),
        None => Ok(()),
    }
}

/// The mode bits that clients can set: without setuid, setgid and sticky, because the files belong to the
/// gateway's own user.
pub(super) const MODE: u32 = 0o777;

/// Files belong to the gateway's own user; clients are not users of this machine.
fn same_owner(changes: &Changes, current: (u32, u32), what: &str) -> Result<(), Failure> {
    match changes.owner {
        Some(owner) if owner != current => {
            let reason = "a local backend does not change owners; leave owner and group out";
            Err(refused(FailureKind::PermissionDenied, what, reason))
        }
        _ => Ok(()),
    }
}

fn times(changes: &Changes) -> Option<Timestamps> {
    let time = |seconds: Option<i64>| match seconds {
        Some(tv_sec) => Timespec { tv_sec, tv_nsec: 0 },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    (changes.accessed.is_some() || changes.modified.is_some()).then(|| Timestamps {
        last_access: time(changes.accessed),
        last_modification: time(changes.modified),
    })
}

/// Opens the folder at the path, or the one that contains the file: the file itself need not be readable.
/// Blocks.
pub(super) fn file_system(root: &Dir, path: &RemotePath) -> Result<FileSystem, Failure> {
    let statvfs = || {
        let path = root.canonicalize(relative(path))?;
        let is_dir = root.metadata(&path)?.is_dir();
        let folder = root.open_dir(if is_dir { &path } else { split(&path).0 })?;
        Ok(rustix::fs::fstatvfs(&folder)?)
    };
    statvfs()
        .map(|statvfs| neutral(&statvfs))
        .map_err(|e| failed(format_args!("describe the file system of {path}"), &e))
}

/// Of an open file. Blocks.
pub(super) fn file_system_open(file: &File, path: &RemotePath) -> Result<FileSystem, Failure> {
    rustix::fs::fstatvfs(file)
        .map(|statvfs| neutral(&statvfs))
        .map_err(|e| failed(format_args!("describe the file system of {path}"), &e.into()))
}

fn neutral(statvfs: &StatVfs) -> FileSystem {
    FileSystem {
        block_size: statvfs.f_bsize,
        fragment_size: statvfs.f_frsize,
        blocks: statvfs.f_blocks,
        blocks_free: statvfs.f_bfree,
        blocks_available: statvfs.f_bavail,
        files: statvfs.f_files,
        files_free: statvfs.f_ffree,
        files_available: statvfs.f_favail,
        id: statvfs.f_fsid,
        flags: statvfs.f_flag.bits(),
        longest_name: statvfs.f_namemax,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::testing::{READ, Sandbox, WRITE, path};
    use super::*;
    use crate::op::{Answer, Operation};

    fn set(name: &str, changes: Changes, follow: bool) -> Operation {
        Operation::SetAttributes { path: path(name), changes, follow }
    }

    fn size(size: u64) -> Changes {
        Changes { size: Some(size), ..Changes::default() }
    }

    #[tokio::test]
    async fn all_attributes_are_set_at_once_by_path_and_by_file() {
        let sandbox = Sandbox::new();
        for by_path in [true, false] {
            sandbox.put("file", "0123");
            let metadata = sandbox.host("file").metadata().unwrap();
            let changes = Changes {
                size: Some(2),
                owner: Some((metadata.uid(), metadata.gid())),
                permissions: Some(0o6640),
                accessed: Some(1_000_000_000),
                modified: Some(-5),
            };
            if by_path {
                sandbox.perform(set("file", changes, true)).await.unwrap();
            } else {
                let file = sandbox.open("file", WRITE).await.unwrap();
                file.set_attributes(&changes).await.unwrap();
                assert_eq!(file.stat().await.unwrap(), sandbox.stat("file").await.unwrap());
                file.close().await.unwrap();
            }
            let attributes = sandbox.stat("file").await.unwrap().attributes;
            assert_eq!(attributes.size, Some(2));
            assert_eq!(attributes.permissions, Some(0o640));
            assert_eq!(attributes.accessed, Some(1_000_000_000));
            assert_eq!(attributes.modified, Some(Timestamp::exact(-5)));
            assert_eq!(sandbox.get("file").unwrap(), b"01");
        }
    }

    #[tokio::test]
    async fn attributes_that_are_not_named_stay() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "0123");
        let both = Changes { accessed: Some(1), modified: Some(2), ..Changes::default() };
        sandbox.perform(set("file", both, true)).await.unwrap();
        let before = sandbox.stat("file").await.unwrap();
        let accessed = Changes { accessed: Some(3), ..Changes::default() };
        for changes in [Changes::default(), accessed] {
            sandbox.perform(set("file", changes, true)).await.unwrap();
            let file = sandbox.open("file", READ).await.unwrap();
            file.set_attributes(&changes).await.unwrap();
        }
        let mut after = sandbox.stat("file").await.unwrap();
        assert_eq!(after.attributes.accessed, Some(3));
        after.attributes.accessed = Some(1);
        assert_eq!(after, before);
    }

    #[tokio::test]
    async fn another_owner_is_refused_before_anything_changes() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "0123");
        let metadata = sandbox.host("file").metadata().unwrap();
        let owner = Some((metadata.uid() + 1, metadata.gid()));
        let changes = Changes { owner, ..size(0) };
        let refused = sandbox.refusal(set("file", changes, true)).await;
        assert_eq!(refused, FailureKind::PermissionDenied);
        let file = sandbox.open("file", WRITE).await.unwrap();
        let refused = file.set_attributes(&changes).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::PermissionDenied);
        assert_eq!(sandbox.get("file").unwrap(), b"0123");
    }

    #[tokio::test]
    async fn only_files_inside_the_sandbox_can_be_resized() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "0123");
        std::fs::create_dir(sandbox.host("folder")).unwrap();
        symlink("../outside/secret", sandbox.host("out")).unwrap();
        sandbox.perform(set("file", size(6), true)).await.unwrap();
        assert_eq!(sandbox.get("file").unwrap(), b"0123\0\0");
        for (name, kind) in [
            ("folder", FailureKind::IsADirectory),
            ("out", FailureKind::PermissionDenied),
            ("missing", FailureKind::NotFound),
        ] {
            assert_eq!(sandbox.refusal(set(name, size(0), true)).await, kind);
        }
        let file = sandbox.open("file", READ).await.unwrap();
        let refused = file.set_attributes(&size(0)).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::PermissionDenied);
        assert_eq!(std::fs::read(sandbox.outside().join("secret")).unwrap(), b"secret");
    }

    #[tokio::test]
    async fn only_the_times_of_a_link_itself_can_be_set() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "");
        symlink("file", sandbox.host("link")).unwrap();
        symlink("../outside/secret", sandbox.host("out")).unwrap();
        let before = sandbox.stat("file").await.unwrap();
        for name in ["link", "out"] {
            sandbox.perform(set(name, Changes::modified(7), false)).await.unwrap();
            let times = sandbox.host(name).symlink_metadata().unwrap();
            assert_eq!(times.mtime(), 7);
            for changes in [size(0), Changes::permissions(0o600)] {
                let refused = sandbox.refusal(set(name, changes, false)).await;
                assert_eq!(refused, FailureKind::Unsupported);
            }
        }
        assert_eq!(sandbox.stat("file").await.unwrap(), before);
        sandbox.perform(set("file", Changes::permissions(0o600), false)).await.unwrap();
        assert_eq!(sandbox.stat("file").await.unwrap().attributes.permissions, Some(0o600));
    }

    #[tokio::test]
    async fn file_systems_are_described_by_path_and_by_file() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "");
        std::fs::create_dir(sandbox.host("folder")).unwrap();
        symlink("../outside", sandbox.host("out")).unwrap();
        let expected = rustix::fs::statvfs(sandbox.host("")).unwrap();
        let check = |found: FileSystem| {
            assert_eq!(
                (found.block_size, found.blocks, found.files),
                (expected.f_bsize, expected.f_blocks, expected.f_files)
            );
            assert_eq!((found.longest_name, found.id), (expected.f_namemax, expected.f_fsid));
        };
        for name in ["file", "folder", "/"] {
            match sandbox.perform(Operation::FileSystem(path(name))).await.unwrap() {
                Answer::FileSystem(found) => check(found),
                other => panic!("{other:?}"),
            }
        }
        check(sandbox.open("file", READ).await.unwrap().file_system().await.unwrap());
        for (name, kind) in
            [("missing", FailureKind::NotFound), ("out", FailureKind::PermissionDenied)]
        {
            assert_eq!(sandbox.refusal(Operation::FileSystem(path(name))).await, kind);
        }
    }
}
