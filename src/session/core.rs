//! The state of a session, shared by its open files, and the checks of every operation before the
//! backend is called.

use std::sync::Arc;

use tracing::Span;

use super::metrics::Metrics;
use super::open_uploads::OpenUploads;
use super::path_masking;
use super::record::Record;
use super::root::Root;
use super::session_info::SessionInfo;
use super::session_record::SessionRecord;
use crate::auth::Identity;
use crate::backend::BackendSession;
use crate::op::{Action, Failure, FailureKind, Operation};
use crate::policy;
use crate::route::Target;

pub(super) struct SessionCore {
    pub(super) identity: Identity,
    pub(super) info: Arc<SessionInfo>,
    pub(super) span: Span,
    pub(super) metrics: Metrics,
    pub(super) root: Root,
    pub(super) backend: Box<dyn BackendSession>,
    pub(super) open_uploads: OpenUploads,
    #[expect(dead_code, reason = "written when dropped")]
    pub(super) record: SessionRecord,
}

impl SessionCore {
    /// Checks an action; returns its record and its target at the backend.
    pub(super) fn admit<A: Action>(&self, action: A) -> Result<(Record, Target<A>), Failure> {
        self.permit(self.record(&action), action)
    }

    /// As [`SessionCore::admit`], for an operation that could lead out of the route's root or change it.
    pub(super) fn admit_operation(
        &self,
        operation: Operation,
    ) -> Result<(Record, Target<Operation>), Failure> {
        let record = self.record(&operation);
        match self.root.check(&operation) {
            Ok(()) => self.permit(record, operation),
            Err(failure) => refused(record, failure),
        }
    }

    fn record(&self, action: &impl Action) -> Record {
        Record::new(self.info.clone(), self.metrics.clone(), action)
    }

    fn permit<A: Action>(&self, record: Record, action: A) -> Result<(Record, Target<A>), Failure> {
        if let Err(failure) = self.info.audit.admits() {
            return refused(record, failure);
        }
        let permit = policy::decide(&self.identity, action);
        match Target::new(permit, &self.root.path) {
            Ok(target) => Ok((record, target)),
            Err(e) => refused(record, Failure::client(FailureKind::NameRefused, e)),
        }
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
