//! `routes`.

use std::collections::{BTreeSet, HashMap};

use globset::{GlobSet, GlobSetBuilder};

use super::backends::LoginMode;
use super::{entries, unknown_name, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::{Authenticate, ListenerProtocol, ListenerTlsMode, Text, UserGlob};
use crate::net::tls::ServerNames;
use crate::op::RemotePath;
use crate::route::{Access, Match, Root, RootSetting, Route, RouteTable, USER_PLACEHOLDER};

pub(super) fn compile(
    file: &File,
    login_modes: HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> RouteTable {
    let Some(routes) = &file.routes else { return RouteTable(Vec::new()) };
    if routes.items.is_empty() {
        problems.error(&routes.at, "is empty; without a route no user can log in");
    }
    let mut compiled = Vec::new();
    let mut catch_all = None;
    for route in &routes.items {
        if let Some(line) = catch_all {
            let message = format!(
                "is never reached: the route in line {line} has no `match`, so it matches everyone"
            );
            problems.error(&route.at, message);
        } else if route.r#match.is_none() {
            catch_all = Some(route.at.mark.line);
        }
        compiled.extend(compile_route(file, route, &login_modes, problems));
    }
    warn_unused(file, &routes.items, problems);
    RouteTable(compiled)
}

fn compile_route(
    file: &File,
    route: &schema::Route,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> Option<Route> {
    let matches = matches(file, route, problems);
    check_backend(file, route, problems);
    let access = access(file, route, login_modes, problems);
    Some(Route {
        matches,
        access: access?,
        backend: value(&route.backend)?.0.clone(),
        root: value(&route.root)
            .cloned()
            .unwrap_or_else(|| RootSetting::Same(Root::Path(RemotePath::root()))),
    })
}

fn check_backend(file: &File, route: &schema::Route, problems: &mut Problems) {
    if let Some(leaf) = &route.backend
        && let Some(backend) = &leaf.value
        && !entries(&file.backends).iter().any(|(name, _)| *name == backend.0)
    {
        let names = entries(&file.backends).iter().map(|(name, _)| name.as_str());
        unknown_name("backend", &backend.0, names, &leaf.at, problems);
    }
}

fn access(
    file: &File,
    route: &schema::Route,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> Option<Access> {
    let leaf = route.authenticate.as_ref()?;
    let authenticate = *leaf.value.as_ref()?;
    if authenticate == Authenticate::Gateway && entries(&file.users).is_empty() {
        let message = "there are no `users`, so nobody could log in";
        problems.error(&leaf.at, message);
    }
    let backend = &value(&route.backend)?.0;
    match (authenticate, login_modes.get(backend)?) {
        (Authenticate::Backend, LoginMode::PassThrough) => Some(Access::Backend),
        (Authenticate::Gateway, LoginMode::PassThrough) => Some(Access::GatewayPassThrough),
        (Authenticate::Gateway, LoginMode::Mapped(credentials)) => {
            Some(Access::GatewayMapped(credentials.clone()?))
        }
        (Authenticate::Gateway, LoginMode::None) => Some(Access::GatewayOnly),
        (Authenticate::Backend, LoginMode::Mapped(_)) => {
            let message = format!(
                "backend \"{backend}\" uses an account of the gateway (its `login`), which must never be \
                 reachable with an unchecked password"
            );
            problems.error_with_suggestion(&leaf.at, message, Some("gateway".into()));
            None
        }
        (Authenticate::Backend, LoginMode::None) => {
            let message = format!(
                "backend \"{backend}\" is a local folder, which cannot check passwords and must never be \
                 reachable with an unchecked password"
            );
            problems.error_with_suggestion(&leaf.at, message, Some("gateway".into()));
            None
        }
    }
}

fn matches(file: &File, route: &schema::Route, problems: &mut Problems) -> Match {
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

fn has_tls(listener: &schema::Listener) -> bool {
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

fn texts(list: &OneOrMore<Text>) -> Vec<String> {
    list.values().map(|(_, text)| text.0.clone()).collect()
}

/// Warns of listeners, backends and users without a route.
fn warn_unused(file: &File, routes: &[schema::Route], problems: &mut Problems) {
    let is_from = |route: &schema::Route, name: &str, listener: &schema::Listener| {
        let Some(given) = &route.r#match else { return true };
        let listed = |list: &OneOrMore<Text>| list.values().any(|(_, listed)| listed.0 == name);
        given.listeners.as_ref().is_none_or(listed)
            && (given.server_names.is_none() || has_tls(listener))
    };
    for (name, listener) in entries(&file.listeners) {
        if !routes.iter().any(|route| is_from(route, name, listener)) {
            problems.warning(
                &listener.at,
                "no route matches clients of this listener: nobody can log in",
            );
        }
    }
    for (name, backend) in entries(&file.backends) {
        if !routes.iter().any(|route| value(&route.backend).is_some_and(|b| b.0 == *name)) {
            problems.warning(&backend.at, "no route leads to this backend");
        }
    }
    let checked = |route: &schema::Route| {
        // An invalid value may have been meant as `gateway`.
        route.authenticate.as_ref().is_some_and(|leaf| leaf.value != Some(Authenticate::Backend))
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
        let own = routes.iter().filter(|route| checked(route) && matches_user(route, name, user));
        let refusal = |route: &schema::Route| value(&route.root)?.of(name.as_bytes()).err();
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
                    "this name cannot replace `{USER_PLACEHOLDER}` in the `root` of the user's routes: it {why}; \
                     add a route for this user, with a `root` without it, before them"
                ),
            ),
        }
    }
}

/// Whether a route matches a user of the gateway at some listener.
fn matches_user(route: &schema::Route, name: &str, user: &schema::User) -> bool {
    let Some(given) = &route.r#match else { return true };
    let matches = |pattern: &UserGlob| pattern.0.compile_matcher().is_match(name);
    let named = |users: &OneOrMore<UserGlob>| users.values().any(|(_, pattern)| matches(pattern));
    let own = texts_of(&user.groups);
    let shared = |groups: &OneOrMore<Text>| texts(groups).iter().any(|group| own.contains(group));
    given.users.as_ref().is_none_or(named) && given.groups.as_ref().is_none_or(shared)
}

fn texts_of(list: &Option<OneOrMore<Text>>) -> Vec<String> {
    list.as_ref().map(texts).unwrap_or_default()
}
