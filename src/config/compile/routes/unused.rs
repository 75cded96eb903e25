//! Warns of listeners, backends and users without a route.

use super::anonymous;
use super::backends::warn_ambiguous_user;
use super::matches::has_tls;
use crate::config::compile::conditions::lists;
use crate::config::compile::route_lookups::{matches_user, named_backends};
use crate::config::compile::{entries, login_hooks, value};
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::Authenticate;
use crate::route::USER_PLACEHOLDER;

pub(super) fn warn(file: &File, routes: &[schema::Route], problems: &mut Problems) {
    let is_from = |route: &schema::Route, name: &str, listener: &schema::Listener| {
        if value(&route.authenticate) == Some(&Authenticate::Anonymous)
            && !anonymous::is_ftp(listener)
        {
            return false;
        }
        let Some(given) = &route.r#match else { return true };
        lists(&given.listeners, name) && (given.server_names.is_none() || has_tls(listener))
    };
    for (name, listener) in entries(&file.listeners) {
        if !routes.iter().any(|route| is_from(route, name, listener)) {
            problems.warning(
                &listener.at,
                "no route matches clients of this listener: nobody can log in",
            );
        }
    }
    let is_named = |name: &str| routes.iter().flat_map(named_backends).any(|(_, it)| it == name);
    let is_in_group = |name: &str| {
        let groups = entries(&file.backends).iter().filter(|(group, _)| is_named(group));
        let mut servers = groups.flat_map(|(_, it)| &it.servers).flat_map(|list| list.values());
        servers.any(|(_, server)| server.0 == name)
    };
    // A login hook's answer may name any backend.
    let named = if entries(&file.login_hooks).is_empty() { entries(&file.backends) } else { &[] };
    for (name, backend) in named {
        if !is_named(name) && !is_in_group(name) {
            problems.warning(&backend.at, "no route leads to this backend");
        }
    }
    login_hooks::warn_unused(file, routes, problems);
    let checked = |route: &schema::Route| {
        // An invalid value may have been meant as `gateway`.
        route.authenticate.as_ref().is_some_and(|leaf| {
            use Authenticate::{Anonymous, Backend, Http};
            !matches!(leaf.value, Some(Backend | Http | Anonymous))
        })
    };
    if let Some(users) = &file.users
        && !users.items.is_empty()
        && !routes.iter().any(checked)
    {
        problems
            .warning(&users.at, "no route has `authenticate: gateway`: these users are never used");
        return;
    }
    for (name, user) in entries(&file.users) {
        warn_ambiguous_user(routes, name, user, problems);
        let own = routes.iter().filter(|route| checked(route) && matches_user(route, name, user));
        let refusal = |route: &schema::Route| {
            let targets = route.rewrite.iter().flat_map(|list| &list.items);
            let targets =
                targets.filter_map(|rewrite| value(&rewrite.to)?.of(name.as_bytes()).err());
            let root = value(&route.root).and_then(|root| root.of(name.as_bytes()).err());
            root.into_iter().chain(targets).next()
        };
        // `None` if a route accepts the name.
        let refusals: Option<Vec<_>> = own.map(refusal).collect();
        match refusals.as_deref() {
            None => {}
            Some([]) => problems.warning(
                &user.at,
                "no route with `authenticate: gateway` matches this user, who can never log in",
            ),
            Some([why, ..]) => problems.warning(
                &user.at,
                format!(
                    "this name cannot replace `{USER_PLACEHOLDER}` in the `root` or `rewrite` of the user's routes: \
                     it {why}; add a route for this user, without it, before them"
                ),
            ),
        }
    }
}
