//! Hides paths of the backend from clients of a route with a `root`.

use super::root::Root;
use crate::op::{Entry, EntryKind, Failure, Fault, PeerReply, RemotePath};

/// A backend's reply names its own paths.
pub(super) fn reply(root: &Root, reply: Option<PeerReply>) -> Option<PeerReply> {
    reply.filter(|_| !root.hides)
}

/// A failure from a backend, whatever its fault. The detail keeps what was hidden, for the record.
pub(super) fn failure(root: &Root, failure: Failure) -> Failure {
    if !root.hides {
        return failure;
    }
    let Failure { kind, fault, message, detail, .. } = failure;
    let detail = detail.map_or(message.clone(), |detail| format!("{message}: {detail}"));
    Failure::new(kind, fault, kind.sentence()).with_detail(detail)
}

/// As [`failure`], for a front's own failure of a transfer: only one about the backend may name its
/// paths.
pub(super) fn front_failure(root: &Root, of_front: Failure) -> Failure {
    if of_front.fault == Fault::Backend { failure(root, of_front) } else { of_front }
}

/// An entry of `folder`, which is as the client sees it. The target of a symlink that leads out of
/// the root is hidden.
pub(super) fn entry(root: &Root, folder: &RemotePath, mut entry: Entry) -> Entry {
    if let EntryKind::Symlink(target) = &mut entry.kind {
        *target = target.take().and_then(|target| link(root, folder, target));
    }
    entry
}

/// The target of a symlink in `folder`, as the client may see it; `None` where it does not see it. A target
/// that names folders above the root, or leads elsewhere by the client's paths, becomes an absolute path of the
/// client. Folders on the way that are symlinks themselves are not resolved.
pub(super) fn link(root: &Root, folder: &RemotePath, target: Vec<u8>) -> Option<Vec<u8>> {
    let absolute = target.starts_with(b"/");
    let stays = !absolute && !folder.is_left_by(&target);
    if !(root.hides || root.relative) || (stays && root.paths.is_plain()) {
        return Some(target);
    }
    let here = root.paths.to_backend(folder).ok()?;
    if root.relative && (absolute || here.is_left_by(&target)) {
        // Its path relative to the home directory is not known.
        return None;
    }
    let there = RemotePath::resolve(&here, &target).ok()?;
    let followed = RemotePath::resolve(folder, &target).ok()?;
    if stays && root.paths.to_backend(&followed).as_ref() == Ok(&there) {
        return Some(target);
    }
    Some(root.strip(&there)?.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Home;
    use crate::op::{FailureKind, Status};
    use crate::policy::Names;
    use crate::route;

    fn path(given: &str) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), given.as_bytes()).unwrap()
    }

    fn root(given: &str) -> Root {
        Root::new(&route::Root::Path(path(given)), Vec::new(), Names::Exact, &Home::At(path("/")))
    }

    fn open() -> Root {
        root("/")
    }

    #[test]
    fn targets_outside_of_an_unknown_home_directory_are_hidden() {
        for configured in [route::Root::Home, route::Root::Path(path("/"))] {
            let root = Root::new(&configured, Vec::new(), Names::Exact, &Home::Unknown);
            for (folder, target, visible) in
                [("/in", "../y", true), ("/in", "../../y", false), ("/", "/in/y", false)]
            {
                let seen = link(&root, &path(folder), target.into());
                assert_eq!(seen.is_some(), visible, "{configured:?} {folder} {target}");
            }
            // The reply is hidden only where the home directory is the root.
            let reply = reply(&root, Some(PeerReply { code: 250, lines: vec![] }));
            assert_eq!(reply.is_none(), configured == route::Root::Home);
        }
    }

    #[test]
    fn targets_are_visible_below_the_root_only() {
        let root = root("/customers/acme");
        for (folder, target, expected) in [
            ("/", "y", Some("y")),
            ("/", "../y", None),
            ("/in", "../y", Some("../y")),
            ("/in", "../../other/y", None),
            ("/in", "../../acme/y", Some("/y")),
            ("/in", "../../../customers/acme/y", Some("/y")),
            ("/", "/customers/acme/in/y", Some("/in/y")),
            ("/", "/customers/acme", Some("/")),
            ("/", "/customers/other", None),
            ("/", "/customers/acmeister", None),
        ] {
            let seen = link(&root, &path(folder), target.into());
            assert_eq!(seen.as_deref(), expected.map(str::as_bytes), "{folder} {target}");
            let open = link(&open(), &path(folder), target.into());
            assert_eq!(open.as_deref(), Some(target.as_bytes()));
        }
    }

    #[test]
    fn targets_lead_where_the_client_sees_what_they_name() {
        let rewrite = |from, to| route::Rewrite { from: path(from), to: path(to) };
        let rewrites = || vec![rewrite("/in", "/data/p/in"), rewrite("/old/out", "/data/p/out")];
        let at = |given: &str, home: Home| {
            Root::new(&route::Root::Path(path(given)), rewrites(), Names::Exact, &home)
        };
        let cases = [
            // Within the rewritten folder, and beside.
            ("/in", "y", Some("y")),
            ("/in/a", "../y", Some("../y")),
            ("/x", "../z/y", Some("../z/y")),
            // Out of it: the client's path differs.
            ("/in", "../y", Some("/data/p/y")),
            ("/in", "../out/y", Some("/old/out/y")),
            ("/old/out", "../in", Some("/in")),
            ("/data/p", "in/y", Some("/in/y")),
            ("/", "data/p/out", Some("/old/out")),
            // Into a folder that is behind the rewritten one.
            ("/", "in/y", None),
            ("/old", "out", None),
        ];
        for given in ["/", "/srv"] {
            for (folder, target, expected) in cases {
                let seen = link(&at(given, Home::At(path("/"))), &path(folder), target.into());
                assert_eq!(seen.as_deref(), expected.map(str::as_bytes), "{folder} {target}");
            }
        }
        for (given, target, expected) in [
            ("/", "/data/p/in/y", Some("/in/y")),
            ("/", "/x", Some("/x")),
            ("/", "/in/y", None),
            ("/srv", "/srv/data/p/in/y", Some("/in/y")),
            ("/srv", "/srv/x", Some("/x")),
            ("/srv", "/data/p/in/y", None),
            ("/srv", "../x", None),
        ] {
            let seen = link(&at(given, Home::At(path("/"))), &path("/"), target.into());
            assert_eq!(seen.as_deref(), expected.map(str::as_bytes), "{given} {target}");
        }
        // Only what is relative to an unknown home directory can be followed.
        for (folder, target, expected) in [
            ("/in", "../out/y", Some("/old/out/y")),
            ("/in", "../../../y", Some("/y")),
            ("/in", "../../../../y", None),
            ("/in", "/data/p/in/y", None),
        ] {
            let seen = link(&at("/", Home::Unknown), &path(folder), target.into());
            assert_eq!(seen.as_deref(), expected.map(str::as_bytes), "{folder} {target}");
        }
    }

    #[test]
    fn a_masked_failure_keeps_its_kind_and_moves_its_message_to_the_detail() {
        let root = root("/customers/acme");
        for fault in [Fault::Client, Fault::Policy, Fault::Backend, Fault::Gateway] {
            let message = "cannot open /customers/acme/x: it is a directory";
            let original = Failure::new(FailureKind::IsADirectory, fault, message)
                .with_status(Status { code: 4, message: message.into() })
                .with_peer(PeerReply { code: 550, lines: vec![message.into()] })
                .with_detail("EISDIR");
            let masked = failure(&root, original.clone());
            assert_eq!((masked.kind, masked.fault), (original.kind, fault));
            assert_eq!(masked.message, FailureKind::IsADirectory.sentence());
            assert!(masked.status.is_none() && masked.peer.is_none());
            assert_eq!(masked.detail.unwrap(), format!("{message}: EISDIR"));
            assert_eq!(failure(&open(), original).message, message);
        }
    }
}
