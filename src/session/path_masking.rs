//! What a client of a route with a `root` must not see: paths as they are at the backend.

use super::root::Root;
use crate::op::{Entry, EntryKind, Failure, Fault, PeerReply, RemotePath};

/// A backend's words name paths as they are there.
pub(super) fn words(root: &Root, words: Option<PeerReply>) -> Option<PeerReply> {
    words.filter(|_| !root.hides)
}

/// What came out of a backend, whosever fault it says it is. What was hidden is in the detail, for
/// the record.
pub(super) fn failure(root: &Root, failure: Failure) -> Failure {
    if !root.hides {
        return failure;
    }
    let Failure { kind, fault, message, detail, .. } = failure;
    let detail = detail.map_or(message.clone(), |detail| format!("{message}: {detail}"));
    Failure::new(kind, fault, kind.sentence()).with_detail(detail)
}

/// As [`failure`], of what a front says about a transfer: only what it says of the backend may name
/// paths of there.
pub(super) fn said_by_front(root: &Root, said: Failure) -> Failure {
    if said.fault == Fault::Backend { failure(root, said) } else { said }
}

/// An entry of `folder`, which is as the client sees it. A symlink that leads out keeps its name and
/// loses its target.
pub(super) fn entry(root: &Root, folder: &RemotePath, mut entry: Entry) -> Entry {
    if let EntryKind::Symlink(target) = &mut entry.kind {
        *target = target.take().and_then(|target| link(root, folder, target));
    }
    entry
}

/// Where a symlink in `folder` leads, as the client may know it; `None` where that lies outside. A
/// target that names folders above the root is told as an absolute path below it. Folders on the way
/// that are symlinks themselves are not looked at.
pub(super) fn link(root: &Root, folder: &RemotePath, target: Vec<u8>) -> Option<Vec<u8>> {
    let stays = !(target.starts_with(b"/") || folder.is_left_by(&target));
    if stays || !(root.hides || root.relative) {
        return Some(target);
    }
    if root.relative {
        // Where that is, seen from the login's folder, nobody knows.
        return None;
    }
    let there = RemotePath::resolve(&folder.below(&root.path).ok()?, &target).ok()?;
    Some(root.strip(&there)?.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Home;
    use crate::op::{FailureKind, Status};
    use crate::route;

    fn path(given: &str) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), given.as_bytes()).unwrap()
    }

    fn root(given: &str) -> Root {
        Root::new(&route::Root::Path(path(given)), &Home::At(path("/")))
    }

    fn open() -> Root {
        root("/")
    }

    #[test]
    fn links_that_lead_out_of_an_unknown_login_folder_are_told_to_nobody() {
        for configured in [route::Root::Home, route::Root::Path(path("/"))] {
            let root = Root::new(&configured, &Home::Unknown);
            for (folder, target, told) in
                [("/in", "../y", true), ("/in", "../../y", false), ("/", "/in/y", false)]
            {
                let seen = link(&root, &path(folder), target.into());
                assert_eq!(seen.is_some(), told, "{configured:?} {folder} {target}");
            }
            // What lies above is kept from those only whose root it is.
            let words = words(&root, Some(PeerReply { code: 250, lines: vec![] }));
            assert_eq!(words.is_none(), configured == route::Root::Home);
        }
    }

    #[test]
    fn links_are_told_as_far_as_they_stay_below_the_root() {
        let root = root("/customers/acme");
        for (folder, target, told) in [
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
            assert_eq!(seen.as_deref(), told.map(str::as_bytes), "{folder} {target}");
            let open = link(&open(), &path(folder), target.into());
            assert_eq!(open.as_deref(), Some(target.as_bytes()));
        }
    }

    #[test]
    fn a_backends_failure_keeps_its_kind_and_tells_the_record_alone() {
        let root = root("/customers/acme");
        for fault in [Fault::Client, Fault::Policy, Fault::Backend, Fault::Gateway] {
            let said = "cannot open /customers/acme/x: it is a directory";
            let told = Failure::new(FailureKind::IsADirectory, fault, said)
                .with_status(Status { code: 4, message: said.into() })
                .with_peer(PeerReply { code: 550, lines: vec![said.into()] })
                .with_detail("EISDIR");
            let masked = failure(&root, told.clone());
            assert_eq!((masked.kind, masked.fault), (told.kind, fault));
            assert_eq!(masked.message, FailureKind::IsADirectory.sentence());
            assert!(masked.status.is_none() && masked.peer.is_none());
            assert_eq!(masked.detail.unwrap(), format!("{said}: EISDIR"));
            assert_eq!(failure(&open(), told).message, said);
        }
    }
}
