//! Compiles `routes`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::backends::LoginMode;
use super::route_lookups::named_backends;
use super::{methods, value};
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::Authenticate;
use crate::op::RemotePath;
use crate::route::{Root, RootSetting, Route, RouteTable};

mod anonymous;
mod backends;
mod greeting;
mod matches;
mod rewrite;
mod unalike;
mod unused;

pub(super) use unalike::warn_of_unalike_answers;

pub(super) fn compile(
    file: &File,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> RouteTable {
    let Some(routes) = &file.routes else { return RouteTable(Vec::new()) };
    if routes.items.is_empty() {
        problems.error(&routes.at, "is empty; without a route no user can log in");
    }
    refuse_unreachable(&routes.items, problems);
    let routes = &routes.items;
    let compiled = routes.iter().filter_map(|it| compile_route(file, it, login_modes, problems));
    let compiled = compiled.collect();
    unused::warn(file, routes, problems);
    anonymous::warn_of_users(file, routes, problems);
    RouteTable(compiled)
}

fn compile_route(
    file: &File,
    route: &schema::Route,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> Option<Route> {
    let matches = matches::compile(file, route, problems);
    let backends = backends::compile(file, route, login_modes, problems);
    let rewrites = rewrite::compile(route, problems);
    let required = methods::required(file, route, login_modes, problems);
    greeting::warn_without_ftp(file, route, problems);
    Some(Route {
        matches,
        backends: backends?,
        root: value(&route.root)
            .cloned()
            .unwrap_or_else(|| RootSetting::Same(Root::Path(RemotePath::root()))),
        rewrites,
        required,
        greeting: value(&route.greeting).cloned().map(Arc::new),
    })
}

/// Reports routes after one without `match`, which takes all logins, or, with `user_at_backend`, all that name
/// one of its backends.
fn refuse_unreachable(routes: &[schema::Route], problems: &mut Problems) {
    let mut catch_all = None;
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    // A route for anonymous users takes no others, and no other route takes them by a missing `match`.
    let is_for_others =
        |route: &&schema::Route| value(&route.authenticate) != Some(&Authenticate::Anonymous);
    for route in routes.iter().filter(is_for_others) {
        let is_taken = |(_, name): (&Location, &str)| taken.contains(name);
        if let Some(line) = catch_all {
            let message = format!(
                "is never reached: the route in line {line} has no `match`, so it matches everyone"
            );
            problems.error(&route.at, message);
        } else if let Some(list) = &route.user_at_backend
            && !list.items.is_empty()
            && named_backends(route).all(is_taken)
        {
            let message = "is never reached: earlier routes without a `match` have all backends of its \
                           `user_at_backend`";
            problems.error(&route.at, message);
        } else if route.r#match.is_none() {
            match &route.user_at_backend {
                None => catch_all = Some(route.at.mark.line),
                Some(_) => taken.extend(named_backends(route).map(|(_, name)| name)),
            }
        }
    }
}
