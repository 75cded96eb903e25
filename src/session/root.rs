//! The folder of the backend that a client sees as `/`; and whether a configured one is there: said at
//! the login, not at the first command.

use crate::auth::Identity;
use crate::backend::{BackendSession, Home};
use crate::op::{Answer, EntryKind, Failure, FailureKind, Fault, Operation, RemotePath};
use crate::policy;
use crate::route::{self, Route, Target};

/// What a client sees as `/`.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// Put before every path of the client.
    pub(super) path: RemotePath,
    /// Whether folders above it are to be kept from the client, and so what names them.
    pub(super) hides: bool,
    /// Whether absolute paths of the server are others than those of the session.
    pub(super) relative: bool,
}

impl Root {
    /// Of a session at a backend whose login put the user at `home`.
    pub(super) fn new(configured: &route::Root, home: &Home) -> Self {
        let path = match configured {
            route::Root::Path(path) => path.clone(),
            route::Root::Home => home.path(),
        };
        let relative = *home == Home::Unknown;
        let hides = !path.is_root() || (relative && *configured == route::Root::Home);
        Self { path, hides, relative }
    }

    /// As the client sees a path of the backend; `None` where it lies outside.
    pub(super) fn strip(&self, path: &RemotePath) -> Option<RemotePath> {
        path.strip_root(&self.path)
    }

    /// Why an operation is refused that would lead out of the root, or take away, or close to all, what a
    /// route shows to its users as their `/`.
    pub(super) fn refusal(&self, operation: &Operation) -> Option<Failure> {
        let denied =
            |why: &str| Some(Failure::new(FailureKind::PermissionDenied, Fault::Policy, why));
        // A root is a prefix, no jail: a link could lead out of it.
        let links = matches!(operation, Operation::Symlink { .. } | Operation::HardLink { .. });
        if links && self.hides {
            return denied("links are not made below a route's root: they could lead out of it");
        }
        if let Operation::Symlink { target, .. } = operation
            && self.relative
            && target.starts_with(b"/")
        {
            let why = "the backend server does not tell where the login put the user, so a link cannot \
                       lead to an absolute path; set `login_folder` on the backend";
            return Some(Failure::backend(FailureKind::Unsupported, why));
        }
        if self.is_touched_by(operation) {
            return denied("the root folder stays as it is: it can be neither removed nor renamed");
        }
        None
    }

    fn is_touched_by(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Remove(path) | Operation::RemoveDirectory(path) => path.is_root(),
            Operation::Rename { from, to, .. } => from.is_root() || to.is_root(),
            Operation::SetAttributes { path, changes, .. } => {
                let closes = changes.permissions.is_some() || changes.owner.is_some();
                path.is_root() && self.hides && closes
            }
            _ => false,
        }
    }
}

/// Refuses a root that surely is no folder of the backend; `number` is the route's place in the
/// configuration, from 0. One request where all is well. A backend that does not tell, or not this
/// account, is no proof of anything.
pub(super) async fn check(
    backend: &dyn BackendSession,
    identity: &Identity,
    route: &Route,
    number: usize,
) -> Result<(), Failure> {
    let root = match &route.root {
        route::Root::Path(path) if !path.is_root() => path,
        // Where the login has put the user is there.
        _ => return Ok(()),
    };
    let refused = |why: &str, said: &Failure| {
        Failure::new(
            FailureKind::Unavailable,
            Fault::Gateway,
            "your folder does not exist at the server; tell the gateway's operator",
        )
        .with_detail(format!(
            "{} {why} at backend \"{}\" ({said}): make the folder there, or correct routes[{number}].root",
            root, route.backend
        ))
    };
    let ask = |operation: fn(RemotePath) -> Operation| async move {
        let permit = policy::decide(identity, operation(RemotePath::root()));
        match Target::new(permit, root) {
            Ok(target) => backend.perform(&target).await,
            Err(error) => Err(Failure::gateway(FailureKind::NameRefused, error)),
        }
    };
    let (absent, no_folder) = ("does not exist", "is no folder");
    let failure = match ask(Operation::Enter).await {
        Err(failure) => failure,
        Ok(_) => return Ok(()),
    };
    match failure.kind {
        // The session is lost.
        FailureKind::Unavailable => return Err(failure),
        FailureKind::NotADirectory => return Err(refused(no_folder, &failure)),
        // Some servers say so of what may not be entered.
        FailureKind::NotFound => {}
        _ => return Ok(()),
    }
    match ask(Operation::Stat).await {
        Ok(Answer::Entry(entry)) if entry.kind != EntryKind::Directory => {
            Err(refused(no_folder, &failure))
        }
        Err(again) => match again.kind {
            FailureKind::Unavailable => Err(again),
            FailureKind::NotFound => Err(refused(absent, &failure)),
            FailureKind::NotADirectory => Err(refused(no_folder, &again)),
            _ => Ok(()),
        },
        Ok(_) => Ok(()),
    }
}
