//! Logins with a public key that can never happen.

use std::collections::HashMap;

use super::backends::Entrance;
use super::{entries, value};
use crate::config::report::Problems;
use crate::config::schema::{File, Match, Route, User};
use crate::config::values::{Authenticate, ListenerProtocol};

/// Warns of `authorized_keys` that open nothing: keys count at SFTP listeners, on routes where the
/// gateway enters the backend by itself, since a key cannot be passed on.
pub(super) fn warn_of_idle(
    file: &File,
    entrances: &HashMap<String, Entrance>,
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
        let only_way = user.password_hash.is_none();
        let so =
            if only_way { "so this user can never log in" } else { "so these keys open nothing" };
        let mut theirs = routes.iter().filter(|route| takes(route, name, user, &sftp)).peekable();
        if sftp.is_empty() {
            problems.warning(
                &keys.at,
                format!("keys are for SFTP, and no listener has `protocol: sftp`, {so}"),
            );
        } else if theirs.peek().is_none() {
            problems.warning(
                &keys.at,
                format!(
                    "keys are for SFTP, and no route with `authenticate: gateway` takes this user from \
                     an SFTP listener, {so}"
                ),
            );
        } else if theirs.all(|route| needs_password(route, entrances)) {
            problems.warning(
                &keys.at,
                format!(
                    "every route for this user leads to a backend with `login: pass-through`, which \
                     needs the user's password, and a key cannot be passed on, {so}; give the backend \
                     an account of the gateway's"
                ),
            );
        }
    }
}

fn takes(route: &Route, name: &str, user: &User, sftp: &[&str]) -> bool {
    value(&route.authenticate) == Some(&Authenticate::Gateway)
        && route.r#match.as_ref().is_none_or(|given| covers(given, name, user, sftp))
}

fn covers(given: &Match, name: &str, user: &User, sftp: &[&str]) -> bool {
    let listener = given.listeners.as_ref().is_none_or(|listeners| {
        listeners.values().any(|(_, listener)| sftp.contains(&listener.0.as_str()))
    });
    let named = given.users.as_ref().is_none_or(|users| {
        users.values().any(|(_, pattern)| pattern.0.compile_matcher().is_match(name))
    });
    let groups = || user.groups.iter().flat_map(|groups| groups.values());
    let grouped = given.groups.as_ref().is_none_or(|wanted| {
        wanted.values().any(|(_, wanted)| groups().any(|(_, group)| group.0 == wanted.0))
    });
    listener && named && grouped
}

fn needs_password(route: &Route, entrances: &HashMap<String, Entrance>) -> bool {
    let entrance = value(&route.backend).and_then(|backend| entrances.get(&backend.0));
    matches!(entrance, Some(Entrance::PassThrough))
}
