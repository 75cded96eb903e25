//! What a user may do. The only maker of a [`Permit`].

use crate::auth::Identity;
use crate::op::Operation;

/// An operation that was allowed. Only [`decide`] makes one, and a route makes a `Target` of nothing
/// else: an operation that nobody allowed does not compile.
#[derive(Debug)]
pub struct Permit {
    operation: Operation,
}

/// Without rules in the configuration everything is allowed that the backend allows. Rules, and with
/// them refusals, are a later issue's; this is the one place where they are asked.
pub fn decide(_who: &Identity, operation: Operation) -> Permit {
    Permit { operation }
}

impl Permit {
    pub(crate) fn into_operation(self) -> Operation {
        self.operation
    }
}
