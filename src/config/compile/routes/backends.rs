//! `routes[].backend` and `routes[].user_at_backend`, with `authenticate`.

use std::collections::HashMap;

use crate::config::compile::backends::LoginMode;
use crate::config::compile::login_hooks;
use crate::config::compile::route_lookups::named_backends;
use crate::config::compile::{entries, unknown_name};
use crate::config::leaf::Leaf;
use crate::config::report::Problems;
use crate::config::schema::{File, Route, User};
use crate::config::values::Authenticate;
use crate::route::{Access, Authenticator, Backends, RouteBackend};

pub(super) fn compile(
    file: &File,
    route: &Route,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> Option<Backends> {
    check_keys(route, problems);
    check_names(file, route, problems);
    warn_patterns(route, problems);
    let authenticate = route.authenticate.as_ref()?;
    let no_users = entries(&file.users).is_empty() && file.users_file.is_none();
    if authenticate.value == Some(Authenticate::Gateway) && no_users {
        let message = "there are no `users`, so nobody could log in";
        problems.error(&authenticate.at, message);
    }
    let hook = login_hooks::of_route(file, route, problems);
    let mut backends = Vec::new();
    for (_, name) in named_backends(route) {
        let mode = login_modes.get(name);
        let access = mode.and_then(|mode| access(authenticate, hook, name, mode, problems));
        backends.extend(access.map(|access| RouteBackend { name: name.to_owned(), access }));
    }
    if route.user_at_backend.is_some() {
        return Some(Backends::Named(backends));
    }
    backends.pop().map(Backends::One)
}

fn check_keys(route: &Route, problems: &mut Problems) {
    match (&route.backend, &route.user_at_backend) {
        (None, None) => {
            let message =
                "is missing; or `user_at_backend`, with the backends that clients may name";
            problems.error(&route.at.absent("backend"), message);
        }
        (Some(_), Some(list)) => {
            let message = "cannot be used with `backend`: the client names the backend, or the route \
                           does; for logins without a name, add a route with `backend` after this one";
            problems.error(&list.at, message);
        }
        _ => {}
    }
}

fn check_names(file: &File, route: &Route, problems: &mut Problems) {
    let mut earlier = Vec::new();
    for (at, name) in named_backends(route) {
        if !entries(&file.backends).iter().any(|(known, _)| known == name) {
            let names = entries(&file.backends).iter().map(|(name, _)| name.as_str());
            unknown_name("backend", name, names, at, problems);
        }
        if earlier.contains(&name) {
            problems.error(at, format!("lists \"{name}\" twice; remove one"));
        }
        earlier.push(name);
    }
}

fn access(
    authenticate: &Leaf<Authenticate>,
    hook: Option<&str>,
    backend: &str,
    login_mode: &LoginMode,
    problems: &mut Problems,
) -> Option<Access> {
    match (authenticate.value?, login_mode) {
        (Authenticate::Backend, LoginMode::PassThrough) => Some(Access::Backend),
        (Authenticate::Gateway, mode) => Some(Access::of_users(mode.account()?)),
        (Authenticate::Http, mode) => {
            let by = Authenticator::Hook(hook?.into());
            Some(Access::Gateway { by, account: mode.account()? })
        }
        (Authenticate::Anonymous, LoginMode::Minted(_)) => {
            let message = format!(
                "the gateway signs certificates for backend \"{backend}\" (its `login`) only for users who have \
                 been authenticated"
            );
            problems.error(&authenticate.at, message);
            None
        }
        (Authenticate::Anonymous, mode) => {
            Some(Access::Gateway { by: Authenticator::Anonymous, account: mode.account()? })
        }
        (Authenticate::Backend, LoginMode::Minted(_)) => {
            let message = format!(
                "the gateway signs certificates for backend \"{backend}\" (its `login`), only for users whom \
                 it has authenticated itself"
            );
            problems.error_with_suggestion(&authenticate.at, message, Some("gateway".into()));
            None
        }
        (Authenticate::Backend, LoginMode::Mapped(_)) => {
            let message = format!(
                "backend \"{backend}\" uses an account of the gateway (its `login`), which must never be \
                 reachable with an unchecked password"
            );
            problems.error_with_suggestion(&authenticate.at, message, Some("gateway".into()));
            None
        }
        (Authenticate::Backend, LoginMode::None) => {
            let message = format!(
                "backend \"{backend}\" is a local folder, which cannot check passwords and must never be \
                 reachable with an unchecked password"
            );
            problems.error_with_suggestion(&authenticate.at, message, Some("gateway".into()));
            None
        }
    }
}

/// Warns of patterns over the whole name: those of such a route match the user only.
fn warn_patterns(route: &Route, problems: &mut Problems) {
    let Some(users) = route.r#match.as_ref().and_then(|given| given.users.as_ref()) else { return };
    if route.user_at_backend.is_none() {
        return;
    }
    for (at, pattern) in users.values() {
        let whole = pattern.0.glob();
        if let Some((user, backend)) = whole.rsplit_once('@')
            && named_backends(route).any(|(_, name)| name == backend)
        {
            let message = format!(
                "matches the name before the last `@`, so this pattern is for the logins of \
                 {whole}@{backend}; to match the user, write \"{user}\""
            );
            problems.warning(at, message);
        }
    }
}

/// Warns of one of the `users` whose name has the form `user@backend`.
pub(super) fn warn_ambiguous_user(
    routes: &[Route],
    name: &str,
    user: &User,
    problems: &mut Problems,
) {
    let Some((before, backend)) = name.rsplit_once('@') else { return };
    let asks = |route: &&Route| {
        route.user_at_backend.is_some() && named_backends(route).any(|(_, name)| name == backend)
    };
    if let Some(route) = routes.iter().find(asks) {
        let message = format!(
            "the route in line {} (user_at_backend) takes this name for user \"{before}\" at backend \
             \"{backend}\"; there, this user logs in as \"{name}@{backend}\"",
            route.at.mark.line
        );
        problems.warning(&user.at, message);
    }
}
