//! What routes lead to and whom they match, for the checks of several sections.

use std::collections::HashMap;

use super::backends::LoginMode;
use super::conditions::{lists, texts};
use crate::config::leaf::OneOrMore;
use crate::config::report::Location;
use crate::config::schema::{Route, User};
use crate::config::values::UserGlob;

/// The names of the backends that a route may lead to, each with its location.
pub(super) fn named_backends(route: &Route) -> impl Iterator<Item = (&Location, &str)> {
    let one = route.backend.iter().filter_map(|leaf| Some((&leaf.at, leaf.value.as_ref()?)));
    let listed = route.user_at_backend.iter().flat_map(|list| list.values());
    one.chain(listed).map(|(at, name)| (at, name.0.as_str()))
}

/// Whether the route may be that of a client of this SFTP or FTP listener.
pub(super) fn leads(route: &Route, listener: &str) -> bool {
    route.r#match.as_ref().is_none_or(|given| lists(&given.listeners, listener))
}

/// Whether the backend of this name gets the client's password.
pub(super) fn passes_password(login_modes: &HashMap<String, LoginMode>, backend: &str) -> bool {
    matches!(login_modes.get(backend), Some(LoginMode::PassThrough))
}

/// Whether a route matches a user of the gateway at some listener.
pub(super) fn matches_user(route: &Route, name: &str, user: &User) -> bool {
    let Some(given) = &route.r#match else { return true };
    let matches = |pattern: &UserGlob| pattern.0.compile_matcher().is_match(name);
    let named = |users: &OneOrMore<UserGlob>| users.values().any(|(_, pattern)| matches(pattern));
    let own = texts(&user.groups).unwrap_or_default();
    let shared = |groups: Vec<String>| groups.iter().any(|group| own.contains(group));
    given.users.as_ref().is_none_or(named) && texts(&given.groups).is_none_or(shared)
}
