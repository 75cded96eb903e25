//! Warns of public keys that can never be used.

use std::collections::HashMap;

use super::backends::LoginMode;
use super::route_lookups::{matches_user, named_backends, passes_password};
use super::{entries, methods, value};
use crate::auth::Methods;
use crate::config::report::Problems;
use crate::config::schema::{File, Match, Route, User};
use crate::config::values::{Authenticate, ListenerProtocol};

/// Warns of `authorized_keys` that have no effect: keys are used at SFTP listeners, on routes to backends
/// with an account of the gateway, since a key cannot be passed on.
pub(super) fn warn_unused(
    file: &File,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) {
    let sftp: Vec<&str> = entries(&file.listeners)
        .iter()
        .filter(|(_, listener)| value(&listener.protocol) == Some(&ListenerProtocol::Sftp))
        .map(|(name, _)| name.as_str())
        .collect();
    let routes = file.routes.as_ref().map_or(&[][..], |routes| &routes.items);
    for (name, user) in entries(&file.users) {
        let Some(keys) = &user.authorized_keys else { continue };
        let only_method = user.password_hash.is_none();
        let consequence = if only_method {
            "so this user can never log in"
        } else {
            "so these keys have no effect"
        };
        let mut matching =
            routes.iter().filter(|route| matches_user_at(route, name, user, &sftp)).peekable();
        if sftp.is_empty() {
            problems.warning(
                &keys.at,
                format!("keys are for SFTP, but no listener has `protocol: sftp`, {consequence}"),
            );
        } else if matching.peek().is_none() {
            problems.warning(
                &keys.at,
                format!(
                    "keys are for SFTP, but no route with `authenticate: gateway` matches this user at \
                     an SFTP listener, {consequence}"
                ),
            );
        } else if matching.all(|route| needs_password(route, login_modes)) {
            problems.warning(
                &keys.at,
                format!(
                    "every route for this user leads to a backend with `login: pass-through`, which \
                     needs the user's password, {consequence}; a key cannot be passed on: give the \
                     backend an account (`login: {{ user: … }}`), or write `require: [publickey, password]` \
                     on the route"
                ),
            );
        }
    }
}

/// Whether a route of the gateway's users is for this one at one of these listeners, without a server name.
pub(super) fn matches_user_at(route: &Route, name: &str, user: &User, listeners: &[&str]) -> bool {
    let is_here = |given: &Match| {
        let named = given.listeners.as_ref().is_none_or(|list| {
            list.values().any(|(_, listener)| listeners.contains(&listener.0.as_str()))
        });
        // Not all clients send a server name, and SSH has none.
        named && given.server_names.is_none()
    };
    value(&route.authenticate) == Some(&Authenticate::Gateway)
        && route.r#match.as_ref().is_none_or(is_here)
        && matches_user(route, name, user)
}

/// Whether all its backends get the client's password.
pub(super) fn needs_password(route: &Route, login_modes: &HashMap<String, LoginMode>) -> bool {
    let mut backends = named_backends(route).peekable();
    // With both, the password is passed on.
    let both = methods::set(&route.require) == Methods::ALL;
    !both
        && backends.peek().is_some()
        && backends.all(|(_, name)| passes_password(login_modes, name))
}
