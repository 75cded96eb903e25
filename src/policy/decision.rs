//! What the rules say of an operation: allowed, denied, or that it depends on a file.

use std::sync::Arc;

use super::denial::{Denial, Reason};
use crate::op::{Action, Effect, Operation, RemotePath};

/// An allowed action. Only this module creates one, and a `Target` requires one: code that performs an
/// action without a permit does not compile.
#[derive(Debug, Clone)]
pub struct Permit<A> {
    action: A,
    terms: Terms,
}

/// What a permit is limited to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The rule that allowed the action; `None` without rules.
    pub rule: Option<Arc<str>>,
    /// Bytes at the start of a file that must stay as they are: the file may only become longer.
    pub kept_bytes: u64,
    /// The largest size of the file, in bytes, with the entry of `policy.uploads` that says so.
    pub max_size: Option<(u64, Arc<str>)>,
    /// Bytes that the file has before the first one that is written.
    pub size_before: u64,
    /// Why the action is refused if the backend finds that the file exists.
    pub if_exists: Option<Denial>,
    /// Why the action is refused if the backend finds that the file does not exist.
    pub if_absent: Option<Denial>,
}

/// What the rules say of an action.
#[derive(Debug)]
pub enum Decision<A> {
    /// It is allowed.
    Allowed(Permit<A>),
    /// It is denied.
    Denied(Box<Denial>),
    /// The rules differ for a file that exists and one that does not.
    Depends(Box<Question<A>>),
}

/// An action whose decision depends on whether a file exists.
#[derive(Debug)]
pub struct Question<A> {
    pub(super) path: RemotePath,
    pub(super) if_absent: Result<Permit<A>, Denial>,
    pub(super) if_present: IfPresent<A>,
}

/// The decision for a file that exists.
#[derive(Debug)]
pub(super) enum IfPresent<A> {
    /// Whatever its size is.
    AnySize(Result<Permit<A>, Denial>),
    /// If it is written from this offset on, which must not lie within it.
    From { offset: u64, permit: Permit<A>, otherwise: Denial },
    /// If its bytes stay.
    Keeping { permit: Permit<A>, otherwise: Denial },
    /// If it does not become larger than it may be.
    Appending { permit: Permit<A>, otherwise: Denial },
}

/// What the backend knows of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It does not exist.
    Absent,
    /// It exists, with this size if that is known; or nothing is known of it.
    Present(Option<u64>),
}

impl<A> Permit<A> {
    pub(super) fn new(action: A, terms: Terms) -> Self {
        Self { action, terms }
    }

    /// For the gateway's own requests, which no client sees.
    pub fn internal(action: A) -> Self {
        Self { action, terms: Terms::default() }
    }

    /// For an action on an open file that the permit of the file, with these terms, includes.
    pub fn of_open_file(action: A, terms: Terms) -> Self {
        Self { action, terms }
    }

    /// What it is limited to.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn into_action(self) -> A {
        self.action
    }

    fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(&mut self.terms);
        self
    }
}

impl<A: Action> Question<A> {
    /// The request that finds the file's state.
    pub fn request(&self) -> Permit<Operation> {
        Permit::internal(Operation::Stat(self.path.clone()))
    }

    /// The decision for a file in this state. What is not known counts as a file that exists.
    pub fn answer(self, state: FileState) -> Result<Permit<A>, Box<Denial>> {
        let FileState::Present(size) = state else { return self.if_absent.map_err(Box::new) };
        match (self.if_present, size) {
            (IfPresent::AnySize(decision), _) => decision.map_err(Box::new),
            (IfPresent::From { offset, permit, otherwise }, Some(size)) => {
                if offset >= size {
                    Ok(permit)
                } else {
                    Err(Box::new(otherwise))
                }
            }
            (IfPresent::Keeping { permit, .. }, Some(size)) => {
                Ok(permit.with(|terms| (terms.kept_bytes, terms.size_before) = (size, size)))
            }
            (IfPresent::Appending { permit, otherwise }, Some(size)) => {
                let fits = permit.terms.max_size.as_ref().is_none_or(|(max, _)| size < *max);
                if fits {
                    Ok(permit.with(|terms| terms.size_before = size))
                } else {
                    Err(Box::new(otherwise))
                }
            }
            (
                IfPresent::From { otherwise, .. }
                | IfPresent::Keeping { otherwise, .. }
                | IfPresent::Appending { otherwise, .. },
                None,
            ) => Err(Box::new(otherwise)),
        }
    }
}

impl<A> From<Result<Permit<A>, Denial>> for Decision<A> {
    fn from(decided: Result<Permit<A>, Denial>) -> Self {
        match decided {
            Ok(permit) => Self::Allowed(permit),
            Err(denial) => Self::Denied(Box::new(denial)),
        }
    }
}

impl Terms {
    /// Why bytes of the file must not change.
    pub fn shortens(&self, path: &RemotePath) -> Denial {
        let path = path.as_bytes().to_vec();
        Denial { effect: Effect::Overwrite, path, reason: Reason::Shortens }
    }

    /// Why a file must not become as long as `size` bytes, for an operation on `path`.
    pub fn check_size(&self, path: &RemotePath, size: u64) -> Result<(), Denial> {
        match &self.max_size {
            Some((max, entry)) if size > *max => Err(Denial {
                effect: Effect::Create,
                path: path.as_bytes().to_vec(),
                reason: Reason::TooLarge { entry: entry.clone(), max: *max },
            }),
            _ => Ok(()),
        }
    }
}
