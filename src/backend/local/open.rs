//! Opens a file as `open(2)` does, inside the sandbox.

use std::fs::File;
use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};

use super::attributes::MODE;
use super::errno::{failed, refused};
use super::partial::{DeleteOnDrop, Ending, Temporary, open_for_writing};
use super::paths::{open_file, relative};
use crate::backend::PartialUploads;
use crate::op::{Failure, FailureKind, OpenMode, RemotePath};

/// The mode of a created file, before the umask, if the client sends none.
const DEFAULT_MODE: u32 = 0o666;

/// Blocks. `partial` applies to uploads that start with this call: files that it creates exclusively, and
/// files that it creates or truncates.
pub(super) fn open(
    root: Arc<Dir>,
    path: &RemotePath,
    mode: &OpenMode,
    partial: PartialUploads,
) -> Result<(File, Ending), Failure> {
    let what = format!("open {path} for {}", purpose(mode));
    if !mode.writes() && (!mode.read || mode.truncate) {
        let reason =
            "a file is opened for reading, writing or both, and truncated only for writing";
        return Err(refused(FailureKind::InvalidArgument, what, reason));
    }
    if !mode.writes() && mode.create {
        return Ok((create_and_read(&root, path, mode, &what)?, Ending::Keep));
    }
    let mut options = OpenOptions::new();
    options.read(mode.read).write(mode.write && !mode.append).append(mode.append);
    options.mode(mode.permissions.map_or(DEFAULT_MODE, |permissions| permissions & MODE));

    let exclusive = mode.create && mode.exclusive;
    let replaces = mode.create && mode.truncate && !mode.append && !exclusive;
    if replaces && partial == PartialUploads::TemporaryName {
        let (file, temporary) = Temporary::create(root, relative(path), &mut options, &what)?;
        return Ok((file, Ending::Rename(temporary)));
    }
    options.create(mode.create && !exclusive).create_new(exclusive);
    let opened = if mode.writes() {
        open_for_writing(&root, relative(path), &mut options, &what)
    } else {
        open_file(&root, relative(path), &mut options, &what)
    };
    let (file, metadata) = opened?;
    if mode.truncate {
        // Not by O_TRUNC: only now is it known to be a regular file.
        file.set_len(0).map_err(|e| failed(&what, &e))?;
    }
    let ending = match partial {
        PartialUploads::Delete if exclusive || replaces => {
            Ending::Delete(DeleteOnDrop::new(root, relative(path), &metadata, &what)?)
        }
        // An exclusively created name must exist at once.
        PartialUploads::Delete | PartialUploads::Keep | PartialUploads::TemporaryName => {
            Ending::Keep
        }
    };
    Ok((file, ending))
}

/// `O_RDONLY | O_CREAT`: the standard library creates only files that are opened for writing.
fn create_and_read(
    root: &Dir,
    path: &RemotePath,
    mode: &OpenMode,
    what: &str,
) -> Result<File, Failure> {
    let path = relative(path);
    if !mode.exclusive {
        match open_file(root, path, OpenOptions::new().read(true), what) {
            Err(failure) if failure.kind == FailureKind::NotFound => {}
            opened => return opened.map(|(file, _)| file),
        }
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(!mode.exclusive).create_new(mode.exclusive);
    options.mode(mode.permissions.map_or(DEFAULT_MODE, |permissions| permissions & MODE));
    open_file(root, path, &mut options, what).map(|(file, _)| file)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode};

    use super::super::testing::{BOTH, EXCLUSIVE, READ, Sandbox, UPLOAD, WRITE};
    use super::*;

    const APPEND: OpenMode = OpenMode { append: true, create: true, ..WRITE };

    #[tokio::test]
    async fn only_regular_files_inside_the_sandbox_are_opened() {
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.host("folder")).unwrap();
        symlink(sandbox.outside().join("secret"), sandbox.host("absolute")).unwrap();
        symlink("../outside/secret", sandbox.host("relative")).unwrap();
        symlink("../outside/new", sandbox.host("dangling")).unwrap();
        symlink("../outside", sandbox.host("way")).unwrap();
        for mode in [READ, WRITE, BOTH, UPLOAD, APPEND] {
            for (name, kind) in [
                ("folder", FailureKind::IsADirectory),
                ("/", FailureKind::IsADirectory),
                ("absolute", FailureKind::PermissionDenied),
                ("relative", FailureKind::PermissionDenied),
                ("dangling", FailureKind::PermissionDenied),
                ("way/secret", FailureKind::PermissionDenied),
                ("way/new", FailureKind::PermissionDenied),
            ] {
                let refused = sandbox.open(name, mode).await.err().unwrap();
                assert_eq!(refused.kind, kind, "{name} {mode:?}");
            }
        }
        for partial in [PartialUploads::Delete, PartialUploads::TemporaryName] {
            let sandbox = Sandbox::with(partial);
            symlink("../outside/new", sandbox.host("dangling")).unwrap();
            for mode in [UPLOAD, EXCLUSIVE] {
                assert!(sandbox.open("dangling", mode).await.is_err());
            }
            assert_eq!(sandbox.names(), ["dangling"]);
            assert_eq!(std::fs::read_dir(sandbox.outside()).unwrap().count(), 1);
        }
        assert_eq!(std::fs::read(sandbox.outside().join("secret")).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(sandbox.outside()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn opening_a_pipe_is_refused_and_does_not_hang() {
        let sandbox = Sandbox::new();
        let fifo = sandbox.host("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for mode in [READ, WRITE, BOTH, UPLOAD, APPEND] {
            let opened =
                tokio::time::timeout(Duration::from_secs(10), sandbox.open("fifo", mode)).await;
            assert_eq!(opened.unwrap().err().unwrap().kind, FailureKind::PermissionDenied);
        }
    }

    #[tokio::test]
    async fn the_mode_decides_whether_the_file_must_exist() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "old");
        let refused = async |name, mode| sandbox.open(name, mode).await.err().unwrap().kind;
        assert_eq!(refused("missing", READ).await, FailureKind::NotFound);
        assert_eq!(refused("missing", BOTH).await, FailureKind::NotFound);
        assert_eq!(refused("file", EXCLUSIVE).await, FailureKind::AlreadyExists);
        for mode in [
            OpenMode { read: false, ..READ },
            OpenMode { truncate: true, ..READ },
            OpenMode { truncate: true, create: true, ..READ },
        ] {
            assert_eq!(refused("file", mode).await, FailureKind::InvalidArgument, "{mode:?}");
            assert_eq!(refused("missing", mode).await, FailureKind::InvalidArgument, "{mode:?}");
        }
        assert_eq!(sandbox.get("file").unwrap(), b"old");
        assert_eq!(sandbox.names(), ["file"]);

        let create = OpenMode { create: true, ..BOTH };
        sandbox.open("file", create).await.unwrap().close().await.unwrap();
        assert_eq!(sandbox.get("file").unwrap(), b"old");
        let empty = OpenMode { truncate: true, ..WRITE };
        sandbox.open("file", empty).await.unwrap().close().await.unwrap();
        assert_eq!(sandbox.get("file").unwrap(), b"");
    }

    #[tokio::test]
    async fn a_file_opened_for_reading_can_be_created() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "old");
        let create = OpenMode { create: true, ..READ };
        let file = sandbox.open("file", create).await.unwrap();
        assert_eq!(&file.read_at(0, 9).await.unwrap().unwrap()[..], b"old");
        let exclusive = OpenMode { exclusive: true, ..create };
        assert_eq!(
            sandbox.open("file", exclusive).await.err().unwrap().kind,
            FailureKind::AlreadyExists
        );
        for (name, how) in [("new", create), ("exclusive", exclusive)] {
            let how = OpenMode { permissions: Some(0o600), ..how };
            let file = sandbox.open(name, how).await.unwrap();
            assert_eq!(file.read_at(0, 9).await.unwrap(), None);
            let refused = file.write_at(0, "x".into()).await.unwrap_err();
            assert_eq!(refused.kind, FailureKind::PermissionDenied);
            file.close().await.unwrap();
            assert_eq!(sandbox.get(name).unwrap(), b"");
            let mode = sandbox.host(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        symlink("../outside/new", sandbox.host("dangling")).unwrap();
        assert!(sandbox.open("dangling", create).await.is_err());
        assert_eq!(std::fs::read_dir(sandbox.outside()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn created_files_get_the_requested_permissions() {
        for partial in [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName]
        {
            let sandbox = Sandbox::with(partial);
            sandbox.put("old", "");
            let mode =
                |name: &str| sandbox.host(name).metadata().unwrap().permissions().mode() & 0o7777;
            let old = mode("old");
            // The umask, which tests do not change, leaves the owner's bits alone.
            for (name, how) in [("upload", UPLOAD), ("exclusive", EXCLUSIVE)] {
                let how = OpenMode { permissions: Some(0o6700), ..how };
                sandbox.open(name, how).await.unwrap().close().await.unwrap();
                assert_eq!(mode(name), 0o700, "{partial:?}");
            }
            sandbox.open("new", UPLOAD).await.unwrap().close().await.unwrap();
            assert_eq!(mode("new"), old, "{partial:?}");
            let how = OpenMode { permissions: Some(0o700), ..UPLOAD };
            sandbox.open("old", how).await.unwrap().close().await.unwrap();
            assert_eq!(mode("old"), old, "{partial:?}");
        }
    }
}
