//! What a user may do. Only this module creates a [`Permit`].

use crate::auth::Identity;
use crate::op::Operation;

/// An allowed operation. Only [`decide`] creates one, and a `Target` requires one: code that performs an
/// operation without a permit does not compile.
#[derive(Debug)]
pub struct Permit {
    operation: Operation,
}

/// Allows everything that the backend allows: the configuration has no rules so far. If it had, they would
/// be evaluated here.
pub fn decide(_who: &Identity, operation: Operation) -> Permit {
    Permit { operation }
}

impl Permit {
    pub(crate) fn into_operation(self) -> Operation {
        self.operation
    }
}
