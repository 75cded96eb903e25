//! `routes[].match`.

use std::collections::BTreeSet;

use globset::{GlobSet, GlobSetBuilder};

use crate::config::compile::{entries, unknown_name, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::{Authenticate, ListenerProtocol, ListenerTlsMode, Text, UserGlob};
use crate::net::tls::ServerNames;
use crate::route::Match;

pub(super) fn compile(file: &File, route: &schema::Route, problems: &mut Problems) -> Match {
    let Some(given) = &route.r#match else { return Match::default() };
    if let Some(listeners) = &given.listeners {
        let names = entries(&file.listeners).iter().map(|(name, _)| name.as_str());
        for (at, name) in listeners.values() {
            if !names.clone().any(|known| known == name.0) {
                unknown_name("listener", &name.0, names.clone(), at, problems);
            }
        }
    }
    let authenticate = value(&route.authenticate).copied();
    if let Some(groups) = &given.groups {
        check_groups(file, groups, authenticate, problems);
    }
    if let Some(users) = &given.users
        && authenticate == Some(Authenticate::Gateway)
    {
        check_users(file, users, problems);
    }
    Match {
        listeners: given.listeners.as_ref().map(texts),
        users: given.users.as_ref().and_then(|users| globs(users, problems)),
        groups: given.groups.as_ref().map(texts),
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
    let is_covered = |name: &str| {
        let listed = |names: &OneOrMore<Text>| names.values().any(|(_, listed)| listed.0 == name);
        given.listeners.as_ref().is_none_or(listed)
    };
    let mut listeners = entries(&file.listeners).iter().filter(|(name, _)| is_covered(name));
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

fn check_groups(
    file: &File,
    groups: &OneOrMore<Text>,
    authenticate: Option<Authenticate>,
    problems: &mut Problems,
) {
    if authenticate == Some(Authenticate::Backend) {
        let message = "groups match only users that the gateway authenticates, but this route has \
                       `authenticate: backend`";
        problems.error(&groups.at, message);
        return;
    }
    let users = entries(&file.users).iter();
    let known: BTreeSet<&str> = users
        .flat_map(|(_, user)| &user.groups)
        .flat_map(|groups| groups.values())
        .map(|(_, group)| group.0.as_str())
        .collect();
    for (at, group) in groups.values() {
        if !known.contains(group.0.as_str()) {
            unknown_name("user with the group", &group.0, known.iter().copied(), at, problems);
        }
    }
}

/// Reports patterns that match none of the `users`.
fn check_users(file: &File, patterns: &OneOrMore<UserGlob>, problems: &mut Problems) {
    let users = entries(&file.users).iter().map(|(name, _)| name.as_str());
    if users.len() == 0 {
        return;
    }
    for (at, pattern) in patterns.values() {
        let matcher = pattern.0.compile_matcher();
        if !users.clone().any(|user| matcher.is_match(user)) {
            unknown_name("user", pattern.0.glob(), users.clone(), at, problems);
        }
    }
}

fn globs(users: &OneOrMore<UserGlob>, problems: &mut Problems) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for (_, pattern) in users.values() {
        set.add(pattern.0.clone());
    }
    set.build().map_err(|e| problems.error(&users.at, e.to_string())).ok()
}

pub(super) fn texts(list: &OneOrMore<Text>) -> Vec<String> {
    list.values().map(|(_, text)| text.0.clone()).collect()
}
