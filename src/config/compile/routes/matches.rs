//! Compiles `routes[].match`.

use super::anonymous;
use crate::config::compile::conditions::{check_groups, check_listeners, globs, lists, texts};
use crate::config::compile::{entries, unknown_name, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::{Authenticate, ListenerProtocol, ListenerTlsMode, UserGlob};
use crate::net::tls::ServerNames;
use crate::route::Match;

pub(super) fn compile(file: &File, route: &schema::Route, problems: &mut Problems) -> Match {
    let authenticate = value(&route.authenticate).copied();
    let is_anonymous = authenticate == Some(Authenticate::Anonymous);
    let Some(given) = &route.r#match else {
        let listeners = is_anonymous.then(|| anonymous::listeners(file));
        return Match { listeners, ..Match::default() };
    };
    check_listeners(file, &given.listeners, problems);
    if is_anonymous {
        anonymous::check(file, given, problems);
    }
    match &given.groups {
        Some(groups) if authenticate == Some(Authenticate::Backend) => {
            let message = "groups match only users that the gateway authenticates, but this route has \
                           `authenticate: backend`";
            problems.error(&groups.at, message);
        }
        Some(groups) if authenticate == Some(Authenticate::Http) => {
            let message = "never match: a login hook is asked after the route was chosen, and only then tells \
                           groups; match `users` or `listeners` here, and groups in `policy`";
            problems.error(&groups.at, message);
        }
        groups => check_groups(file, groups, problems),
    }
    if let Some(users) = &given.users
        && authenticate == Some(Authenticate::Gateway)
    {
        check_users(file, users, problems);
    }
    Match {
        listeners: match texts(&given.listeners) {
            None if is_anonymous => Some(anonymous::listeners(file)),
            listeners => listeners,
        },
        users: globs(&given.users, |pattern| &pattern.0, problems),
        anonymous_names: anonymous::names(&given.users),
        groups: texts(&given.groups),
        sources: given.sources.as_ref().map(|nets| nets.values().map(|(_, net)| *net).collect()),
        server_names: given.server_names.as_ref().map(|names| {
            warn_without_tls(file, given, &names.at, problems);
            let mut set = ServerNames::default();
            for (_, name) in names.values() {
                set.insert(&name.0, ());
            }
            set
        }),
    }
}

/// Warns of a route for server names that no client can send at its listeners.
fn warn_without_tls(file: &File, given: &schema::Match, at: &Location, problems: &mut Problems) {
    let mut listeners =
        entries(&file.listeners).iter().filter(|(name, _)| lists(&given.listeners, name));
    if !listeners.any(|(_, listener)| has_tls(listener)) {
        let message = "never matches: no listener of this route has TLS, and only TLS clients send a \
                       server name (tls.mode; SFTP has none)";
        problems.warning(at, message);
    }
}

pub(super) fn has_tls(listener: &schema::Listener) -> bool {
    value(&listener.protocol) != Some(&ListenerProtocol::Sftp)
        && listener.tls.as_ref().is_some_and(|tls| value(&tls.mode) != Some(&ListenerTlsMode::None))
}

/// Reports patterns that match none of the `users`.
fn check_users(file: &File, patterns: &OneOrMore<UserGlob>, problems: &mut Problems) {
    let users = entries(&file.users).iter().map(|(name, _)| name.as_str());
    if users.len() == 0 {
        return;
    }
    for (at, pattern) in patterns.values() {
        let matcher = pattern.0.compile_matcher();
        if users.clone().any(|user| matcher.is_match(user)) {
            continue;
        }
        if file.users_file.is_some() {
            // The files may change.
            let message = format!("there is no user \"{}\" yet", pattern.0.glob());
            problems.warning(at, message);
        } else {
            unknown_name("user", pattern.0.glob(), users.clone(), at, problems);
        }
    }
}
