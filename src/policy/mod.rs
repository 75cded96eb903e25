//! What a user may do. The only maker of a [`Permit`].

use crate::op::Operation;

/// An operation that was allowed. Only [`decide`] makes one, and a route makes a `Target` of nothing
/// else: an operation that nobody allowed does not compile.
pub struct Permit {
    operation: Operation,
}

impl Permit {
    pub(crate) fn into_operation(self) -> Operation {
        self.operation
    }

    #[cfg(test)]
    pub(crate) fn for_test(operation: Operation) -> Self {
        Self { operation }
    }
}
