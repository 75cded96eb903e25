//! What a session is made of, shared by all that it has open, and the check that every operation
//! passes before a backend is asked.

use std::sync::Arc;

use super::metrics::Metrics;
use super::path_masking;
use super::record::Record;
use super::root::Root;
use super::session_info::SessionInfo;
use super::session_record::SessionRecord;
use super::unfinished::Unfinished;
use crate::auth::Identity;
use crate::backend::BackendSession;
use crate::op::{Failure, FailureKind, Fault, Operation};
use crate::policy;
use crate::route::Target;

pub(super) struct SessionCore {
    pub(super) identity: Identity,
    pub(super) who: Arc<SessionInfo>,
    pub(super) metrics: Metrics,
    pub(super) root: Root,
    pub(super) backend: Box<dyn BackendSession>,
    pub(super) unfinished: Unfinished,
    #[expect(dead_code, reason = "written when dropped")]
    pub(super) record: SessionRecord,
}

impl SessionCore {
    /// The operation's record and, where it is allowed, what the backend is asked.
    pub(super) fn admit(&self, operation: Operation) -> Result<(Record, Target), Failure> {
        let record = Record::new(self.who.clone(), self.metrics.clone(), &operation);
        // A root is a prefix, no jail: a link could lead out of it.
        let links = matches!(operation, Operation::Symlink { .. } | Operation::HardLink { .. });
        if links && self.root.hides {
            let why = "links are not made below a route's root: they could lead out of it";
            let denied = Failure::new(FailureKind::PermissionDenied, Fault::Policy, why);
            return refused(record, denied);
        }
        if let Operation::Symlink { target, .. } = &operation
            && self.root.relative
            && target.starts_with(b"/")
        {
            let why = "the backend server does not tell where the login put the user, so a link cannot \
                       lead to an absolute path; set `login_folder` on the backend";
            return refused(record, Failure::backend(FailureKind::Unsupported, why));
        }
        if touches_own_root(&operation, &self.root) {
            let why = "the root folder stays as it is: it can be neither removed nor renamed";
            let denied = Failure::new(FailureKind::PermissionDenied, Fault::Policy, why);
            return refused(record, denied);
        }
        let permit = policy::decide(&self.identity, operation);
        match Target::new(permit, &self.root.path) {
            Ok(target) => Ok((record, target)),
            Err(e) => refused(record, Failure::client(FailureKind::NameRefused, e)),
        }
    }
}

/// Whether it would take away, or close to all, what a route shows to its users as their `/`.
fn touches_own_root(operation: &Operation, root: &Root) -> bool {
    match operation {
        Operation::Remove(path) | Operation::RemoveDirectory(path) => path.is_root(),
        Operation::Rename { from, to, .. } => from.is_root() || to.is_root(),
        Operation::SetAttributes { path, changes, .. } => {
            let closes = changes.permissions.is_some() || changes.owner.is_some();
            path.is_root() && root.hides && closes
        }
        _ => false,
    }
}

/// Refused before a backend was asked.
pub(super) fn refused<T>(record: Record, failure: Failure) -> Result<T, Failure> {
    record.failed(&failure);
    Err(failure)
}

/// Writes the record of what a backend did not do; what is returned is for the client.
pub(super) fn failed(record: Record, root: &Root, failure: Failure) -> Failure {
    record.failed(&failure);
    path_masking::failure(root, failure)
}
