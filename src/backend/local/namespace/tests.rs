//! Tests of the operations that end in one answer.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::super::testing::{Sandbox, path};
use super::*;
use crate::op::{Attributes, Changes, Representation, Timestamp};

fn make(path: RemotePath) -> Operation {
    Operation::MakeDirectory { path, permissions: None }
}

#[tokio::test]
async fn a_folder_is_created_with_the_requested_permissions() {
    let sandbox = Sandbox::new();
    let mode = |name: &str| sandbox.host(name).metadata().unwrap().permissions().mode() & 0o7777;
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
async fn no_operation_leaves_the_sandbox() {
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
            let shown = operation.to_string();
            let refused = sandbox.refusal(operation).await;
            assert_eq!(refused, FailureKind::PermissionDenied, "{shown}");
        }
    }
    for operation in [
        Operation::Enter(path("absolute")),
        Operation::Enter(path("relative")),
        Operation::Remove(path("absolute/secret")),
        make(path("relative/new")),
        Operation::RemoveDirectory(path("relative/new")),
        Operation::Rename { from: path("sub"), to: path("relative/sub"), onto: Onto::AsBackend },
        Operation::Rename {
            from: path("absolute/secret"),
            to: path("secret"),
            onto: Onto::AsBackend,
        },
    ] {
        let shown = operation.to_string();
        let refused = sandbox.refusal(operation).await;
        assert_eq!(refused, FailureKind::PermissionDenied, "{shown}");
    }
    for name in ["absolute", "relative"] {
        let refused = sandbox.list(name).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::PermissionDenied);
    }
    assert_eq!(std::fs::read(sandbox.outside().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(sandbox.outside()).unwrap().count(), 1);
}

#[tokio::test]
async fn dot_dot_stops_at_the_root() {
    let sandbox = Sandbox::new();
    sandbox.put("file", "abc");
    assert_eq!(sandbox.stat("../../inside/../file").await.unwrap().attributes.size, Some(3));
    let refused = sandbox.refusal(Operation::Stat(path("../outside/secret"))).await;
    assert_eq!(refused, FailureKind::NotFound);
}

#[tokio::test]
async fn symlinks_inside_are_followed_and_loops_are_refused() {
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
async fn stat_and_size_match_the_file() {
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
async fn the_size_in_type_a_of_a_large_file_is_refused() {
    let sandbox = Sandbox::new();
    let file = std::fs::File::create(sandbox.host("large")).unwrap();
    file.set_len(16 * 1024 * 1024 + 1).unwrap();
    let size = Operation::Size(path("large"), Representation::Ascii);
    assert_eq!(sandbox.refusal(size).await, FailureKind::Unsupported);
}

#[tokio::test]
async fn names_are_created_renamed_and_removed() {
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
            Operation::Rename { from: path("a/file"), to: path("empty"), onto: Onto::AsBackend },
            FailureKind::IsADirectory,
        ),
    ];
    for (operation, kind) in refused {
        let shown = operation.to_string();
        assert_eq!(sandbox.refusal(operation).await, kind, "{shown}");
    }
    sandbox.perform(Operation::Remove(path("a/file"))).await.unwrap();
    for folder in ["a", "empty"] {
        sandbox.perform(Operation::RemoveDirectory(path(folder))).await.unwrap();
    }
    assert!(sandbox.names().is_empty());
}

#[tokio::test]
async fn a_rename_replaces_an_existing_file() {
    let sandbox = Sandbox::new();
    sandbox.put("old", "old");
    sandbox.put("new", "new");
    let rename = Operation::Rename { from: path("new"), to: path("old"), onto: Onto::AsBackend };
    sandbox.perform(rename).await.unwrap();
    assert_eq!(sandbox.names(), ["old"]);
    assert_eq!(sandbox.get("old").unwrap(), b"new");
}

#[tokio::test]
async fn a_rename_that_must_not_replace_is_refused_for_an_existing_name() {
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
async fn names_need_not_be_utf_8() {
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
async fn times_and_permissions_are_set() {
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
async fn messages_name_the_path_as_the_client_sees_it() {
    let failure = Sandbox::new().perform(Operation::Remove(path("in/x"))).await.unwrap_err();
    assert_eq!(failure.message, "cannot remove /in/x: no such file or directory");
}
