//! The state of a session, shared by its open files, and the checks of every operation before the
//! backend is called.

use std::sync::Arc;

use tracing::Span;

use super::metrics::Metrics;
use super::open_uploads::OpenUploads;
use super::path_masking;
use super::record::Record;
use super::root::Root;
use super::rules::SessionRules;
use super::session_info::SessionInfo;
use super::session_record::SessionRecord;
use crate::backend::BackendSession;
use crate::op::{Action, Answer, Direction, Failure, FailureKind, Greeting, Operation};
use crate::policy::limits::SessionLimits;
use crate::policy::{
    self, Decision, Denial, FileState, Permit, Question, SessionPolicy, Subject, Terms,
};
use crate::route::Target;

pub(super) struct SessionCore {
    pub(super) rules: Arc<SessionRules>,
    pub(super) limits: SessionLimits,
    pub(super) info: Arc<SessionInfo>,
    pub(super) span: Span,
    pub(super) metrics: Arc<Metrics>,
    pub(super) root: Root,
    pub(super) backend: Box<dyn BackendSession>,
    pub(super) open_uploads: OpenUploads,
    /// The route's, for after the login.
    pub(super) greeting: Option<Arc<Greeting>>,
    #[expect(dead_code, reason = "written when dropped")]
    pub(super) record: SessionRecord,
}

/// An action that the policy allows.
pub(super) struct Admitted<A> {
    pub(super) record: Record,
    pub(super) target: Target<A>,
    pub(super) terms: Terms,
}

impl SessionCore {
    /// Checks an action; asks the backend for a file only if the rules depend on it.
    pub(super) async fn admit<A: Subject>(&self, action: A) -> Result<Admitted<A>, Failure> {
        let record = self.record(&action);
        self.permit(record, action).await
    }

    /// As [`SessionCore::admit`], for an operation that could lead out of the route's root or change it.
    pub(super) async fn admit_operation(
        &self,
        operation: Operation,
    ) -> Result<Admitted<Operation>, Failure> {
        let record = self.record(&operation);
        match self.root.check(&operation) {
            Ok(()) => self.permit(record, operation).await,
            Err(failure) => refused(record, failure),
        }
    }

    /// Admits an operation on a file that is open, which its permit allows.
    pub(super) fn admit_of_open_file(
        &self,
        operation: Operation,
        terms: &Terms,
    ) -> Result<Admitted<Operation>, Failure> {
        let record = self.record(&operation);
        match self.root.check(&operation) {
            Ok(()) => self.target(record, Permit::of_open_file(operation, terms.clone())),
            Err(failure) => refused(record, failure),
        }
    }

    pub(super) fn record(&self, action: &impl Action) -> Record {
        Record::new(self.info.clone(), self.metrics.clone(), action)
    }

    async fn permit<A: Subject>(&self, record: Record, action: A) -> Result<Admitted<A>, Failure> {
        let mut record = self.start(record).await?;
        let policy = self.rules.get();
        let exclusive = policy.is_some() && self.backend.abilities().exclusive_creation;
        let decided = match policy::decide(policy.as_deref(), action, exclusive) {
            Decision::Allowed(permit) => Ok(permit),
            Decision::Denied(denial) => Err(denial),
            Decision::Depends(question) => match self.file_state(&question).await {
                Ok(state) => question.answer(state),
                Err(failure) => return refused(record, failure),
            },
        };
        match decided {
            Ok(permit) => self.target(record, permit),
            Err(denial) => {
                if let Some(policy) = policy {
                    policy.count_denied(denial.rule());
                }
                record.set_denied_by(denial.rule().cloned());
                refused(record, denial.failure())
            }
        }
    }

    /// What every operation waits for, or is refused by, whatever it does.
    pub(super) async fn start(&self, record: Record) -> Result<Record, Failure> {
        if let Err(failure) = self.info.audit.admits() {
            return refused(record, failure);
        }
        match self.limits.operation().await {
            Ok(()) => Ok(record),
            Err(failure) => refused(record, failure),
        }
    }

    pub(super) fn target<A: Action>(
        &self,
        mut record: Record,
        permit: Permit<A>,
    ) -> Result<Admitted<A>, Failure> {
        let terms = permit.terms().clone();
        record.set_rule(terms.rule.clone());
        // A copy within the backend is no transfer.
        if matches!(record.direction(), Some(Direction::Upload | Direction::Download)) {
            match self.limits.transfer() {
                Ok(permit) => record.set_transfer(permit),
                Err(failure) => return refused(record, failure),
            }
        }
        match Target::new(permit, &self.root.paths) {
            Ok(target) => Ok(Admitted { record, target, terms }),
            Err(error) => refused(record, Root::refusal(&error)),
        }
    }

    /// Fails only if the session is lost.
    async fn file_state<A: Action>(&self, question: &Question<A>) -> Result<FileState, Failure> {
        let target = Target::new(question.request(), &self.root.paths)
            .map_err(|error| Root::refusal(&error))?;
        let answer = match self.open_uploads.perform(target.action()).await {
            Some(answer) => answer,
            None => self.backend.perform(&target).await,
        };
        match answer {
            Ok(Answer::Entry(entry)) => Ok(FileState::Present(entry.attributes.size)),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(FileState::Absent),
            Err(failure) if failure.kind == FailureKind::Unavailable => Err(failure),
            Ok(_) | Err(_) => Ok(FileState::Present(None)),
        }
    }
}

/// Counts what the rules deny of bytes that are written; returns the failure for the client.
pub(super) fn refuse(denial: &Denial, policy: Option<&SessionPolicy>) -> Failure {
    if let Some(policy) = policy {
        policy.count_denied(denial.rule());
    }
    denial.failure()
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

/// As [`failed`]; a backend that found a file, or none, where the rules deny just that is no failure of its
/// own.
pub(super) fn failed_or_denied(
    mut record: Record,
    core: &SessionCore,
    failure: Failure,
    terms: &Terms,
) -> Failure {
    let denial = match failure.kind {
        FailureKind::AlreadyExists => &terms.if_exists,
        FailureKind::NotFound => &terms.if_absent,
        _ => &None,
    };
    let Some(denial) = denial else { return failed(record, &core.root, failure) };
    if let Some(policy) = core.rules.get() {
        policy.count_denied(denial.rule());
    }
    record.set_denied_by(denial.rule().cloned());
    let denied = denial.failure();
    record.failed(&denied);
    denied
}
