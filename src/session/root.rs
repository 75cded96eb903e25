//! The folder of the backend that a client sees as `/`, and the check at login that a configured
//! one exists.

use crate::backend::{BackendSession, Home};
use crate::op::{Answer, EntryKind, Failure, FailureKind, Fault, Operation, RemotePath};
use crate::policy::Permit;
use crate::route::{self, Target};

/// The folder that a client sees as `/`.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// Put before every path of the client.
    pub(super) path: RemotePath,
    /// Whether the client must not see folders above it, nor messages that name them.
    pub(super) hides: bool,
    /// Whether absolute paths of the server differ from those of the session.
    pub(super) relative: bool,
}

impl Root {
    /// The root of a session whose home directory at the backend is `home`.
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

    /// Refuses an operation that would lead out of the root, or remove, rename or change the access to the
    /// folder that clients see as `/`.
    pub(super) fn check(&self, operation: &Operation) -> Result<(), Failure> {
        let denied =
            |reason: &str| Err(Failure::new(FailureKind::PermissionDenied, Fault::Policy, reason));
        // A root is a prefix and no jail: a link could lead out of it.
        let links = matches!(operation, Operation::Symlink { .. } | Operation::HardLink { .. });
        if links && self.hides {
            return denied(
                "links are not allowed below a route's `root`: they could lead out of it",
            );
        }
        if let Operation::Symlink { target, .. } = operation
            && self.relative
            && target.starts_with(b"/")
        {
            let reason = "the backend server does not report the home directory, so a link cannot lead to an \
                          absolute path; set `login_folder` on the backend";
            return Err(Failure::backend(FailureKind::Unsupported, reason));
        }
        if self.is_affected_by(operation) {
            return denied(
                "the root folder cannot be removed or renamed, and its access cannot be changed",
            );
        }
        Ok(())
    }

    fn is_affected_by(&self, operation: &Operation) -> bool {
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

/// Refuses a root that is certainly not a folder of the backend `name`; `number` is the route's index in
/// the configuration. Sends one request if the root exists. A root that the account may not see is
/// accepted.
pub(super) async fn check(
    backend: &dyn BackendSession,
    root: &route::Root,
    (name, number): (&str, usize),
) -> Result<(), Failure> {
    let root = match root {
        route::Root::Path(path) if !path.is_root() => path,
        // The home directory exists.
        _ => return Ok(()),
    };
    let refused = |problem: &str, failure: &Failure| {
        Failure::new(
            FailureKind::Unavailable,
            Fault::Gateway,
            "your folder does not exist at the server; contact the operator of the gateway",
        )
        .with_detail(format!(
            "{root} {problem} at backend \"{name}\" ({failure}): create the folder there, or correct \
             routes[{number}].root"
        ))
    };
    let perform = |operation: fn(RemotePath) -> Operation| async move {
        let permit = Permit::internal(operation(RemotePath::root()));
        match Target::new(permit, root) {
            Ok(target) => backend.perform(&target).await,
            Err(error) => Err(Failure::gateway(FailureKind::NameRefused, error)),
        }
    };
    let (absent, not_a_folder) = ("does not exist", "is not a folder");
    let Err(failure) = perform(Operation::Enter).await else { return Ok(()) };
    match failure.kind {
        // The session is lost.
        FailureKind::Unavailable => return Err(failure),
        FailureKind::NotADirectory => return Err(refused(not_a_folder, &failure)),
        // Some servers report this for a folder that may not be entered.
        FailureKind::NotFound => {}
        _ => return Ok(()),
    }
    match perform(Operation::Stat).await {
        Ok(Answer::Entry(entry)) if entry.kind != EntryKind::Directory => {
            Err(refused(not_a_folder, &failure))
        }
        Err(again) => match again.kind {
            FailureKind::Unavailable => Err(again),
            FailureKind::NotFound => Err(refused(absent, &failure)),
            FailureKind::NotADirectory => Err(refused(not_a_folder, &again)),
            _ => Ok(()),
        },
        Ok(_) => Ok(()),
    }
}
