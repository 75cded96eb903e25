//! What a user may do. Only this module creates a [`Permit`].

mod conditions;
mod facts;
pub mod limits;

pub use conditions::SessionConditions;
pub use facts::{Protocol, SessionFacts};

use crate::auth::Identity;
use crate::op::Action;

/// An allowed action. Only [`decide`] creates one, and a `Target` requires one: code that performs an
/// action without a permit does not compile.
#[derive(Debug)]
pub struct Permit<A> {
    action: A,
}

/// Allows everything that the backend allows: the configuration has no rules so far. If it had, they would
/// be evaluated here.
pub fn decide<A: Action>(_identity: &Identity, action: A) -> Permit<A> {
    Permit { action }
}

impl<A> Permit<A> {
    pub(crate) fn into_action(self) -> A {
        self.action
    }
}
