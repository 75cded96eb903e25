//! An allowed action with the backend's own paths: the only thing that a backend takes.

use crate::op::{Action, PathError, RemotePath};
use crate::policy::Permit;

/// An allowed action with the backend's own paths.
#[derive(Debug)]
pub struct Target<A> {
    action: A,
}

impl<A: Action> Target<A> {
    /// What a route with `root` makes of an allowed action. Fails where a path gets too long.
    pub fn new(permit: Permit<A>, root: &RemotePath) -> Result<Self, PathError> {
        Ok(Self { action: permit.into_action().map_paths(|path| path.below(root))? })
    }

    pub fn action(&self) -> &A {
        &self.action
    }

    #[cfg(test)]
    pub(crate) fn for_test(action: A) -> Self {
        Self { action }
    }
}
