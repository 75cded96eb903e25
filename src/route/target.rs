//! Allowed actions on the backend's paths: what a backend takes.

use crate::op::{Action, PathError, RemotePath};
use crate::policy::Permit;

/// An allowed action with the backend's paths.
#[derive(Debug)]
pub struct Target<A> {
    action: A,
}

impl<A: Action> Target<A> {
    /// Prepends `root` to the paths of an allowed action. Fails if a path becomes too long.
    pub fn new(permit: Permit<A>, root: &RemotePath) -> Result<Self, PathError> {
        Ok(Self { action: permit.into_action().map_paths(|path| path.below(root))? })
    }

    /// The action, with paths at the backend.
    pub fn action(&self) -> &A {
        &self.action
    }

    #[cfg(test)]
    pub(crate) fn for_test(action: A) -> Self {
        Self { action }
    }
}
