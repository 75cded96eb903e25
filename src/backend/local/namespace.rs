//! The operations that end in a plain answer.

use std::io;
use std::path::Path;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt};
use rustix::fs::{Access, AtFlags, RenameFlags};
use rustix::io::Errno;

use super::attributes::MODE;
use super::errno::{failed, refused};
use super::place::{only_file, relative, split};
use super::{attributes, links};
use crate::op::{Answer, Entry, EntryKind, Onto};
use crate::op::{Failure, FailureKind, Operation, RemotePath};

/// What a folder gets where the client says nothing, before the umask.
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
            "tell the names of users and groups",
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
    let metadata =
        root.metadata(relative(path)).map_err(|e| failed(format_args!("look at {path}"), &e))?;
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => EntryKind::Directory,
        kind if kind.is_file() => EntryKind::File,
        _ => EntryKind::Other,
    };
    let name = path.name().unwrap_or(b"/").to_vec();
    Ok(Entry { name, kind, attributes: attributes::attributes(&metadata) })
}

fn size(root: &Dir, path: &RemotePath) -> Result<u64, Failure> {
    let what = format!("tell the size of {path}");
    let metadata = root.metadata(relative(path)).map_err(|e| failed(&what, &e))?;
    only_file(&metadata, &what)?;
    Ok(metadata.len())
}

/// The last names are not followed, so they can be given to the system in their folders.
pub(super) fn rename_to_new(root: &Dir, old: &Path, new: &Path) -> io::Result<()> {
    let ((old_folder, old_name), (new_folder, new_name)) = (split(old), split(new));
    let (old_dir, new_dir) = (root.open_dir(old_folder)?, root.open_dir(new_folder)?);
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(&old_dir, old_name, &new_dir, new_name, flags) {
        // Not all file systems can; then what comes between look and rename is replaced.
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

/// Whether a folder may be searched: opening it does not ask for that.
pub(super) fn enterable(folder: &Dir) -> io::Result<()> {
    Ok(rustix::fs::accessat(folder, ".", Access::EXEC_OK, AtFlags::EACCESS)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::super::testing::{Sandbox, path};
    use super::*;
    use crate::op::Representation;
    use crate::op::{Attributes, Changes, Timestamp};

    fn make(path: RemotePath) -> Operation {
        Operation::MakeDirectory { path, permissions: None }
    }

    #[tokio::test]
    async fn a_folder_is_made_with_its_permissions() {
        let sandbox = Sandbox::new();
        let mode =
            |name: &str| sandbox.host(name).metadata().unwrap().permissions().mode() & 0o7777;
        // The umask, which tests do not change, leaves the owner's bits alone.
        let permissions = Some(0o6700);
        let private = Operation::MakeDirectory { path: path("private"), permissions };
        sandbox.perform(private).await.unwrap();
        assert_eq!(mode("private") & 0o777, 0o700);
        sandbox.perform(make(path("usual"))).await.unwrap();
        std::fs::create_dir(sandbox.host("plain")).unwrap();
        assert_eq!(mode("usual"), mode("plain"));
    }

    #[tokio::test]
    async fn nothing_leads_outside() {
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.host("sub")).unwrap();
        symlink(sandbox.outside(), sandbox.host("absolute")).unwrap();
        symlink("../outside", sandbox.host("relative")).unwrap();
        symlink("../../outside/secret", sandbox.host("sub/file")).unwrap();
        symlink("/etc/passwd", sandbox.host("passwd")).unwrap();
        symlink("../outside/new", sandbox.host("dangling")).unwrap();
        for name in ["absolute/secret", "relative/secret", "sub/file", "passwd"] {
            for operation in [
                Operation::Stat(path(name)),
                Operation::Size(path(name), Representation::Image),
                Operation::Size(path(name), Representation::Ascii),
                Operation::SetAttributes {
                    path: path(name),
                    changes: Changes::modified(1),
                    follow: true,
                },
                Operation::SetAttributes {
                    path: path(name),
                    changes: Changes::permissions(0o777),
                    follow: true,
                },
            ] {
                let said = operation.to_string();
                let refused = sandbox.refusal(operation).await;
                assert_eq!(refused, FailureKind::PermissionDenied, "{said}");
            }
        }
        for operation in [
            Operation::Enter(path("absolute")),
            Operation::Enter(path("relative")),
            Operation::Remove(path("absolute/secret")),
            make(path("relative/new")),
            Operation::RemoveDirectory(path("relative/new")),
            Operation::Rename {
                from: path("sub"),
                to: path("relative/sub"),
                onto: Onto::AsBackend,
            },
            Operation::Rename {
                from: path("absolute/secret"),
                to: path("secret"),
                onto: Onto::AsBackend,
            },
        ] {
            let said = operation.to_string();
            let refused = sandbox.refusal(operation).await;
            assert_eq!(refused, FailureKind::PermissionDenied, "{said}");
        }
        for name in ["absolute", "relative"] {
            let refused = sandbox.list(name).await.unwrap_err();
            assert_eq!(refused.kind, FailureKind::PermissionDenied);
        }
        assert_eq!(std::fs::read(sandbox.outside().join("secret")).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(sandbox.outside()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn dots_stop_at_the_root() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "abc");
        assert_eq!(sandbox.stat("../../inside/../file").await.unwrap().attributes.size, Some(3));
        let refused = sandbox.refusal(Operation::Stat(path("../outside/secret"))).await;
        assert_eq!(refused, FailureKind::NotFound);
    }

    #[tokio::test]
    async fn symlinks_inside_are_followed_and_loops_end() {
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.host("sub")).unwrap();
        sandbox.put("sub/file", "abc");
        symlink("sub/../sub/file", sandbox.host("link")).unwrap();
        symlink("loop", sandbox.host("loop")).unwrap();
        symlink("nothing", sandbox.host("dangling")).unwrap();
        let entry = sandbox.stat("link").await.unwrap();
        assert_eq!((entry.name, entry.kind), (b"link".to_vec(), EntryKind::File));
        for name in ["loop", "dangling", "loop/x"] {
            assert_eq!(sandbox.refusal(Operation::Stat(path(name))).await, FailureKind::NotFound);
        }
        let set = Operation::SetAttributes {
            path: path("link"),
            changes: Changes::modified(1_000_000_000),
            follow: true,
        };
        sandbox.perform(set).await.unwrap();
        assert_eq!(sandbox.host("sub/file").metadata().unwrap().mtime(), 1_000_000_000);
    }

    #[tokio::test]
    async fn stat_and_size_tell_what_is_there() {
        let sandbox = Sandbox::new();
        sandbox.put("text", "a\nb\r\n");
        std::fs::create_dir(sandbox.host("folder")).unwrap();
        let metadata = sandbox.host("text").metadata().unwrap();
        let entry = sandbox.stat("text").await.unwrap();
        assert_eq!(entry.kind, EntryKind::File);
        assert_eq!(
            entry.attributes,
            Attributes {
                size: Some(5),
                modified: Some(Timestamp::exact(metadata.mtime())),
                permissions: Some(metadata.mode() & 0o7777),
                owner: Some(metadata.uid().to_string().into_bytes()),
                group: Some(metadata.gid().to_string().into_bytes()),
                links: Some(1),
                ids: Some((metadata.uid(), metadata.gid())),
                accessed: Some(metadata.atime()),
                type_bits: Some(0o100_000),
            }
        );
        let root = sandbox.stat("/").await.unwrap();
        assert_eq!((root.name, root.kind), (b"/".to_vec(), EntryKind::Directory));
        for (representation, bytes) in [(Representation::Image, 5), (Representation::Ascii, 6)] {
            let size = sandbox.perform(Operation::Size(path("text"), representation)).await;
            assert!(matches!(size, Ok(Answer::Size(n)) if n == bytes), "{size:?}");
            let refused = sandbox.refusal(Operation::Size(path("folder"), representation)).await;
            assert_eq!(refused, FailureKind::IsADirectory);
        }
    }

    #[tokio::test]
    async fn a_large_text_is_not_counted() {
        let sandbox = Sandbox::new();
        let file = std::fs::File::create(sandbox.host("large")).unwrap();
        file.set_len(16 * 1024 * 1024 + 1).unwrap();
        let size = Operation::Size(path("large"), Representation::Ascii);
        assert_eq!(sandbox.refusal(size).await, FailureKind::Unsupported);
    }

    #[tokio::test]
    async fn names_come_and_go() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "x");
        let done = [
            make(path("a")),
            make(path("empty")),
            Operation::Rename { from: path("file"), to: path("a/file"), onto: Onto::AsBackend },
            Operation::Enter(path("a")),
            Operation::Enter(path("/")),
        ];
        for operation in done {
            sandbox.perform(operation).await.unwrap();
        }
        let long = path([b'n'; 300]);
        let refused = [
            (make(path("a")), FailureKind::AlreadyExists),
            (make(path("/")), FailureKind::AlreadyExists),
            (make(long), FailureKind::NameRefused),
            (Operation::Enter(path("a/file")), FailureKind::NotADirectory),
            (Operation::Enter(path("b")), FailureKind::NotFound),
            (Operation::Stat(path("a/file/x")), FailureKind::NotADirectory),
            (Operation::Remove(path("a")), FailureKind::IsADirectory),
            (Operation::Remove(path("/")), FailureKind::PermissionDenied),
            (Operation::RemoveDirectory(path("a")), FailureKind::DirectoryNotEmpty),
            (Operation::RemoveDirectory(path("a/file")), FailureKind::NotADirectory),
            (Operation::RemoveDirectory(path("/")), FailureKind::PermissionDenied),
            (
                Operation::Rename { from: path("a"), to: path("a/b"), onto: Onto::AsBackend },
                FailureKind::InvalidArgument,
            ),
            (
                Operation::Rename {
                    from: path("a/file"),
                    to: path("empty"),
                    onto: Onto::AsBackend,
                },
                FailureKind::IsADirectory,
            ),
        ];
        for (operation, kind) in refused {
            let said = operation.to_string();
            assert_eq!(sandbox.refusal(operation).await, kind, "{said}");
        }
        sandbox.perform(Operation::Remove(path("a/file"))).await.unwrap();
        for folder in ["a", "empty"] {
            sandbox.perform(Operation::RemoveDirectory(path(folder))).await.unwrap();
        }
        assert!(sandbox.names().is_empty());
    }

    #[tokio::test]
    async fn a_rename_replaces() {
        let sandbox = Sandbox::new();
        sandbox.put("old", "old");
        sandbox.put("new", "new");
        let rename =
            Operation::Rename { from: path("new"), to: path("old"), onto: Onto::AsBackend };
        sandbox.perform(rename).await.unwrap();
        assert_eq!(sandbox.names(), ["old"]);
        assert_eq!(sandbox.get("old").unwrap(), b"new");
    }

    #[tokio::test]
    async fn a_rename_to_a_new_name_replaces_nothing() {
        let sandbox = Sandbox::new();
        sandbox.put("old", "old");
        sandbox.put("new", "new");
        std::fs::create_dir(sandbox.host("folder")).unwrap();
        symlink("nowhere", sandbox.host("dangling")).unwrap();
        symlink("../outside", sandbox.host("way")).unwrap();
        let rename = |from: &str, to: &str| Operation::Rename {
            from: path(from),
            to: path(to),
            onto: Onto::Refused,
        };
        for (from, to, kind) in [
            ("new", "old", FailureKind::AlreadyExists),
            ("new", "folder", FailureKind::AlreadyExists),
            ("new", "dangling", FailureKind::AlreadyExists),
            ("missing", "other", FailureKind::NotFound),
            ("folder", "folder/in", FailureKind::InvalidArgument),
            ("new", "way/new", FailureKind::PermissionDenied),
            ("way/secret", "secret", FailureKind::PermissionDenied),
        ] {
            assert_eq!(sandbox.refusal(rename(from, to)).await, kind, "{from} {to}");
        }
        sandbox.perform(rename("new", "folder/new")).await.unwrap();
        sandbox.perform(rename("folder", "other")).await.unwrap();
        assert_eq!(sandbox.get("other/new").unwrap(), b"new");
        assert_eq!(sandbox.get("old").unwrap(), b"old");
        let replace =
            Operation::Rename { from: path("other/new"), to: path("old"), onto: Onto::Replaced };
        sandbox.perform(replace).await.unwrap();
        assert_eq!(sandbox.get("old").unwrap(), b"new");
    }

    #[tokio::test]
    async fn names_are_bytes() {
        let sandbox = Sandbox::new();
        let (from, to) = (path(b"caf\xe9\n"), path(b"\xff\xfe"));
        sandbox.perform(make(from.clone())).await.unwrap();
        sandbox
            .perform(Operation::Rename { from, to: to.clone(), onto: Onto::AsBackend })
            .await
            .unwrap();
        match sandbox.perform(Operation::Stat(to)).await.unwrap() {
            Answer::Entry(entry) => assert_eq!(entry.name, b"\xff\xfe"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn attributes_are_set() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "x");
        let name = path("file");
        for (seconds, mode) in [(-86_400, 0o000), (951_782_400, 0o640)] {
            let set = Operation::SetAttributes {
                path: name.clone(),
                changes: Changes::permissions(mode),
                follow: true,
            };
            sandbox.perform(set).await.unwrap();
            let set = Operation::SetAttributes {
                path: name.clone(),
                changes: Changes::modified(seconds),
                follow: true,
            };
            sandbox.perform(set).await.unwrap();
            let metadata = sandbox.host("file").metadata().unwrap();
            assert_eq!((metadata.mtime(), metadata.mode() & 0o7777), (seconds, mode));
        }
        sandbox
            .perform(Operation::SetAttributes {
                path: path("/"),
                changes: Changes::modified(5),
                follow: true,
            })
            .await
            .unwrap();
        assert_eq!(sandbox.host("").metadata().unwrap().mtime(), 5);
        sandbox
            .perform(Operation::SetAttributes {
                path: path("/"),
                changes: Changes::permissions(0o750),
                follow: true,
            })
            .await
            .unwrap();
        assert_eq!(sandbox.host("").metadata().unwrap().permissions().mode() & 0o7777, 0o750);
    }

    #[tokio::test]
    async fn messages_name_the_path_as_the_client_knows_it() {
        let failure = Sandbox::new().perform(Operation::Remove(path("in/x"))).await.unwrap_err();
        assert_eq!(failure.message, "cannot remove /in/x: no such file or directory");
    }
}
