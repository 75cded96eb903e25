//! Symlinks: shown as they are written, created only where they stay inside the sandbox.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use cap_std::fs::{Dir, FileType};

use super::attributes::attributes;
use super::errno::{failed, refused};
use super::paths::relative;
use crate::op::{Entry, EntryKind, Failure, FailureKind, RemotePath};

/// The entry at `path`; a symlink is not followed. The root's entry is named `/`.
pub(super) fn stat(root: &Dir, path: &RemotePath) -> Result<Entry, Failure> {
    let metadata = root
        .symlink_metadata(relative(path))
        .map_err(|e| failed(format_args!("get the attributes of {path}"), &e))?;
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
        return Err(refused(FailureKind::InvalidArgument, what, "it is not a symbolic link"));
    }
    let target = root.read_link_contents(relative(path)).map_err(|e| failed(&what, &e))?;
    Ok(target.into_os_string().into_vec())
}

/// The sandbox follows no link that leads out of it. Other programs on this machine might, so none is
/// created.
pub(super) fn symlink(root: &Dir, target: &[u8], link: &RemotePath) -> Result<(), Failure> {
    let what = format!("make the symbolic link {link}");
    if target.starts_with(b"/") {
        let reason = "an absolute target would be a path of the gateway's machine; \
                      use one that is relative to the link's folder";
        return Err(refused(FailureKind::PermissionDenied, what, reason));
    }
    if link.parent().unwrap_or_else(RemotePath::root).is_left_by(target) {
        let reason = "it would lead outside of the backend's folder";
        return Err(refused(FailureKind::PermissionDenied, what, reason));
    }
    let target = OsStr::from_bytes(target);
    root.symlink_contents(target, relative(link)).map_err(|e| failed(&what, &e))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Sandbox, path};
    use super::*;
    use crate::op::{Answer, Operation};

    fn symlink(target: &[u8], link: &str) -> Operation {
        Operation::Symlink { target: target.to_vec(), link: path(link) }
    }

    #[tokio::test]
    async fn a_link_shows_its_target_as_written() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "");
        std::os::unix::fs::symlink("/etc/passwd", sandbox.host("absolute")).unwrap();
        for (target, link) in [(&b"file"[..], "to-file"), (b"caf\xe9/nowhere", "dangling")] {
            sandbox.perform(symlink(target, link)).await.unwrap();
        }
        for (name, target) in [
            ("to-file", &b"file"[..]),
            ("dangling", b"caf\xe9/nowhere"),
            ("absolute", b"/etc/passwd"),
        ] {
            match sandbox.perform(Operation::ReadLink(path(name))).await.unwrap() {
                Answer::Link(read) => assert_eq!(read, target),
                other => panic!("{other:?}"),
            }
            match sandbox.perform(Operation::LinkStat(path(name))).await.unwrap() {
                Answer::Entry(entry) => {
                    assert_eq!(entry.name, name.as_bytes());
                    assert_eq!(entry.kind, EntryKind::Symlink(Some(target.to_vec())));
                    assert_eq!(entry.attributes.type_bits, Some(0o120_000));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sandbox.stat("to-file").await.unwrap().kind, EntryKind::File);
        let refused = sandbox.refusal(Operation::ReadLink(path("file"))).await;
        assert_eq!(refused, FailureKind::InvalidArgument);
        let refused = sandbox.refusal(Operation::ReadLink(path("missing"))).await;
        assert_eq!(refused, FailureKind::NotFound);
    }

    #[tokio::test]
    async fn a_link_that_leads_out_of_the_sandbox_is_refused() {
        let sandbox = Sandbox::new();
        std::fs::create_dir_all(sandbox.host("a/b")).unwrap();
        for (target, link) in [
            (&b"/etc/passwd"[..], "link"),
            (b"/", "link"),
            (b"..", "link"),
            (b"../outside/secret", "link"),
            (b"x/../../outside/secret", "link"),
            (b"../../..", "a/b/link"),
            (b"..//.././../outside", "a/b/link"),
        ] {
            let refused = sandbox.refusal(symlink(target, link)).await;
            assert_eq!(refused, FailureKind::PermissionDenied, "{}", target.escape_ascii());
        }
        for (target, link) in [(&b"../.."[..], "a/b/up"), (b"../a/b", "a/down"), (b".", "here")] {
            sandbox.perform(symlink(target, link)).await.unwrap();
        }
        let refused = sandbox.refusal(symlink(b"a", "here")).await;
        assert_eq!(refused, FailureKind::AlreadyExists);
        let refused = sandbox.refusal(symlink(b"a\0b", "nul")).await;
        assert_eq!(refused, FailureKind::InvalidArgument);
        let refused = sandbox.refusal(symlink(b"", "empty")).await;
        assert_eq!(refused, FailureKind::NotFound);
    }

    #[tokio::test]
    async fn hard_links_stay_inside_the_sandbox() {
        let sandbox = Sandbox::new();
        sandbox.put("file", "x");
        std::os::unix::fs::symlink("../outside", sandbox.host("way")).unwrap();
        let link = |from: &str, to: &str| Operation::HardLink { from: path(from), to: path(to) };
        sandbox.perform(link("file", "other")).await.unwrap();
        assert_eq!(sandbox.stat("other").await.unwrap().attributes.links, Some(2));
        for (from, to, kind) in [
            ("way/secret", "secret", FailureKind::PermissionDenied),
            ("file", "way/new", FailureKind::PermissionDenied),
            ("file", "other", FailureKind::AlreadyExists),
            ("missing", "new", FailureKind::NotFound),
            ("/", "new", FailureKind::PermissionDenied),
        ] {
            assert_eq!(sandbox.refusal(link(from, to)).await, kind, "{from} {to}");
        }
        assert_eq!(sandbox.names(), ["file", "other", "way"]);
    }
}
