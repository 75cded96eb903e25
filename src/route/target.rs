//! Allowed actions on the backend's paths: what a backend takes.

use super::path_map::{MapError, PathMap};
use crate::op::Action;
use crate::policy::Permit;

/// An allowed action with the backend's paths.
#[derive(Debug)]
pub struct Target<A> {
    action: A,
}

impl<A: Action> Target<A> {
    /// Replaces the paths of an allowed action by those of the backend.
    pub fn new(permit: Permit<A>, paths: &PathMap) -> Result<Self, MapError> {
        Ok(Self { action: permit.into_action().map_paths(|path| paths.to_backend(&path))? })
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
