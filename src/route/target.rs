use crate::op::{Operation, PathError, RemotePath};
use crate::policy::Permit;

/// An allowed operation with the backend's own paths.
#[derive(Debug)]
pub struct Target {
    operation: Operation,
}

impl Target {
    /// What a route with `root` makes of an allowed operation.
    pub fn new(permit: Permit, root: &RemotePath) -> Result<Self, PathError> {
        Ok(Self { operation: permit.into_operation().map_paths(|path| path.below(root))? })
    }

    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    #[cfg(test)]
    pub(crate) fn for_test(operation: Operation) -> Self {
        Self { operation }
    }
}
