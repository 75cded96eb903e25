//! What a user may do. The only maker of a [`Permit`].

use crate::auth::Identity;
use crate::op::Action;

/// An action that was allowed. Only [`decide`] makes one, and a route makes a `Target` of nothing
/// else: an action that nobody allowed does not compile.
#[derive(Debug)]
pub struct Permit<A> {
    action: A,
}

/// Allows everything: the configuration has no rules yet, and a backend refuses what it does not allow
/// itself. This is the one place where rules are asked.
pub fn decide<A: Action>(_identity: &Identity, action: A) -> Permit<A> {
    Permit { action }
}

impl<A> Permit<A> {
    pub(crate) fn into_action(self) -> A {
        self.action
    }
}
