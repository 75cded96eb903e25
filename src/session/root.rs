//! The backend's folders as a client sees them, by the route's `root` and `rewrite`, and the check at login
//! that a configured root exists.

use std::sync::Arc;

use crate::backend::{BackendSession, Home};
use crate::op::{Answer, Entry, EntryKind, Failure, FailureKind, Fault, Operation, RemotePath};
use crate::policy::{Names, Permit};
use crate::route::{self, MapError, PathMap, Rewrite, Target};

/// The folder that a client sees as `/`, and those below it that it sees under other paths.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// From the client's paths to the backend's and back.
    pub(super) paths: Arc<PathMap>,
    /// Whether the client must not see the backend's paths, nor messages that name them.
    pub(super) hides: bool,
    /// Whether absolute paths of the server differ from those of the session.
    pub(super) relative: bool,
}

impl Root {
    /// The root of a session whose home directory at the backend is `home`.
    pub(super) fn new(
        configured: &route::Root,
        rewrites: Vec<Rewrite>,
        names: Names,
        home: &Home,
    ) -> Self {
        let path = match configured {
            route::Root::Path(path) => path.clone(),
            route::Root::Home => home.path(),
        };
        let relative = *home == Home::Unknown;
        let hides = !path.is_root()
            || (relative && *configured == route::Root::Home)
            || !rewrites.is_empty();
        Self { paths: Arc::new(PathMap::new(path, rewrites, names)), hides, relative }
    }

    /// As the client sees a path of the backend; `None` where it does not see it.
    pub(super) fn strip(&self, path: &RemotePath) -> Option<RemotePath> {
        self.paths.to_client(path)
    }

    /// The answer where the backend does not have the path: a folder that is shown only because a rewritten
    /// one is below it.
    pub(super) fn if_missing(&self, operation: &Operation) -> Option<Answer> {
        let path = operation.path();
        if !self.paths.is_above_rewritten(path) {
            return None;
        }
        match operation {
            // A rename is refused later, as for all such folders.
            Operation::Enter(_) | Operation::RenameFrom(_) => Some(Answer::Done(None)),
            Operation::Stat(_) | Operation::LinkStat(_) => {
                let name = path.name().unwrap_or(b"/");
                Some(Answer::Entry(Entry::new(name, EntryKind::Directory)))
            }
            _ => None,
        }
    }

    /// The refusal of a path that the backend does not have, or must not be reached by.
    pub(super) fn refusal(error: &MapError) -> Failure {
        match error {
            MapError::Path(error) => Failure::client(FailureKind::NameRefused, error),
            MapError::Hidden(_) => {
                let kind = FailureKind::NotFound;
                Failure::new(kind, Fault::Policy, kind.sentence()).with_detail(error)
            }
        }
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
                "links are not allowed below a route's `root` or `rewrite`: they could lead out of it",
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
        if self.is_affected_by(operation, RemotePath::is_root) {
            return denied(
                "the root folder cannot be removed or renamed, and its access cannot be changed",
            );
        }
        if self.is_affected_by(operation, |path| self.paths.is_needed(path)) {
            return denied(
                "the configuration needs this folder (the route's `rewrite`): it cannot be removed or \
                 renamed, and its access cannot be changed",
            );
        }
        Ok(())
    }

    fn is_affected_by(&self, operation: &Operation, is_kept: impl Fn(&RemotePath) -> bool) -> bool {
        match operation {
            Operation::Remove(path) | Operation::RemoveDirectory(path) => is_kept(path),
            Operation::Rename { from, to, .. } => is_kept(from) || is_kept(to),
            Operation::SetAttributes { path, changes, .. } => {
                let closes = changes.permissions.is_some() || changes.owner.is_some();
                is_kept(path) && self.hides && closes
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
        match Target::new(permit, &PathMap::root_only(root.clone())) {
            Ok(target) => backend.perform(&target).await,
            Err(error) => Err(Root::refusal(&error)),
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
