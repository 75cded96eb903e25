//! The state of a session, shared by its open files, and the checks of every operation before the
//! backend is called.

use std::sync::Arc;

use super::metrics::Metrics;
use super::open_uploads::OpenUploads;
use super::path_masking;
use super::record::Record;
use super::root::Root;
use super::session_info::SessionInfo;
use super::session_record::SessionRecord;
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
    pub(super) open_uploads: OpenUploads,
    #[expect(dead_code, reason = "written when dropped")]
    pub(super) record: SessionRecord,
}

impl SessionCore {
    /// Checks an operation; returns its record and its target at the backend.
    pub(super) fn admit(&self, operation: Operation) -> Result<(Record, Target), Failure> {
        let record = Record::new(self.who.clone(), self.metrics.clone(), &operation);
        // A root is a prefix and no jail: a link could lead out of it.
        let links = matches!(operation, Operation::Symlink { .. } | Operation::HardLink { .. });
        if links && self.root.hides {
            let reason = "links are not allowed below a route's `root`: they could lead out of it";
            let denied = Failure::new(FailureKind::PermissionDenied, Fault::Policy, reason);
            return refused(record, denied);
        }
        if let Operation::Symlink { target, .. } = &operation
            && self.root.relative
            && target.starts_with(b"/")
        {
            let reason = "the backend server does not report the home directory, so a link cannot lead to an \
                          absolute path; set `login_folder` on the backend";
            return refused(record, Failure::backend(FailureKind::Unsupported, reason));
        }
        if affects_root(&operation, &self.root) {
            let reason =
                "the root folder cannot be removed or renamed, and its access cannot be changed";
            let denied = Failure::new(FailureKind::PermissionDenied, Fault::Policy, reason);
            return refused(record, denied);
        }
        let permit = policy::decide(&self.identity, operation);
        match Target::new(permit, &self.root.path) {
            Ok(target) => Ok((record, target)),
            Err(e) => refused(record, Failure::client(FailureKind::NameRefused, e)),
        }
    }
}

/// Whether an operation would remove, rename or change the access to the folder that clients see as
/// `/`.
fn affects_root(operation: &Operation, root: &Root) -> bool {
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

/// Writes the record of an operation that was refused before the backend was called.
pub(super) fn refused<T>(record: Record, failure: Failure) -> Result<T, Failure> {
    record.failed(&failure);
    Err(failure)
}

/// Writes the record of an operation that failed at the backend; returns the failure for the
/// client.
pub(super) fn failed(record: Record, root: &Root, failure: Failure) -> Failure {
    record.failed(&failure);
    path_masking::failure(root, failure)
}
