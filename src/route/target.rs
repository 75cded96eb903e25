//! Operations on the backend's paths.

use crate::op::{Operation, PathError, RemotePath};
use crate::policy::Permit;

/// An allowed operation with the backend's paths.
#[derive(Debug)]
pub struct Target {
    operation: Operation,
}

impl Target {
    /// Prepends `root` to the paths of an allowed operation.
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
