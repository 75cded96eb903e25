//! The choice of a login's route, and the reason in the record where none matches.

use super::{Gateway, refused};
use crate::auth::UserTable;
use crate::op::Failure;
use crate::route::{Access, Authenticator, Backends, Chosen, LoginRequest, Mismatch, Route};

const RESERVED_NAME: &str = "the name is one of the gateway's `users`, and the matching route has `authenticate: backend` \
     or `http`, which are for other users; remove the name from `users`, or add a route with `authenticate: \
     gateway`";

const ANONYMOUS: &str = "the name is one of anonymous FTP, and no route for this FTP listener has `authenticate: \
     anonymous`, or the name literally in its `match.users`";

const NO_ROUTE: &str = "no route matches this user, listener and source address";

impl Gateway {
    /// The route of a login, and why others do not apply. Checks no password.
    pub fn choose(&self, login: LoginRequest<'_>) -> Chosen<'_> {
        self.choose_among(&self.passwords.users(), login)
    }

    /// As [`Self::choose`], with the users that a login began with.
    pub(super) fn choose_among(&self, users: &UserTable, login: LoginRequest<'_>) -> Chosen<'_> {
        let groups_of = |user: &[u8]| users.get(user).map(|user| user.groups.as_slice());
        self.routes.choose(login, groups_of)
    }

    /// Whether a login at this listener may lead to an opaque server, whose features and system are its own.
    pub fn may_be_opaque(&self, listener: &str) -> bool {
        let is_opaque = |name: &str| self.backends.get(name).is_some_and(|it| it.is_opaque());
        // A login hook's answer may name any backend.
        let by_answer = || self.backends.values().any(|backend| backend.is_opaque());
        let is_for = |route: &&Route| {
            route
                .matches
                .listeners
                .as_ref()
                .is_none_or(|names| names.iter().any(|it| it == listener))
        };
        self.routes.0.iter().filter(is_for).any(|route| {
            route.backends().iter().any(|backend| {
                is_opaque(&backend.name)
                    || matches!(&backend.access, Access::Gateway { by: Authenticator::Hook(_), .. })
                        && by_answer()
            })
        })
    }

    /// The refusal of a login that no route matches.
    pub(super) fn without_route(&self, chosen: &Chosen<'_>) -> Failure {
        let first = |wanted| chosen.passed_over.iter().position(|mismatch| *mismatch == wanted);
        if first(Mismatch::Reserved).is_some() {
            return refused(RESERVED_NAME);
        }
        if first(Mismatch::Anonymous).is_some() {
            return refused(ANONYMOUS);
        }
        let Some(number) = first(Mismatch::NoBackend) else { return refused(NO_ROUTE) };
        let backends = match &self.routes.0[number].backends {
            Backends::One(_) => &[],
            Backends::Named(backends) => backends.as_slice(),
        };
        let names: Vec<_> = backends.iter().map(|backend| backend.name.as_str()).collect();
        refused(&format!(
            "{NO_ROUTE}; on routes[{number}] (user_at_backend) a user name must end in `@` and one of: {}",
            names.join(", ")
        ))
    }
}
