//! Warns where clients can find out which names the gateway knows: a backend's answers to other names, and
//! their time, are its own.

use crate::config::compile::conditions::lists;
use crate::config::compile::route_lookups::named_backends;
use crate::config::compile::{entries, value};
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::Authenticate;

pub(in crate::config::compile) fn warn_of_unalike_answers(file: &File, problems: &mut Problems) {
    let routes = file.routes.as_ref().map_or(&[][..], |routes| &routes.items);
    let at_listener = |route: &schema::Route, listener: &str| {
        route.r#match.as_ref().is_none_or(|given| lists(&given.listeners, listener))
    };
    let of = |wanted| move |route: &&schema::Route| value(&route.authenticate) == Some(&wanted);
    let others =
        |route: &&schema::Route| of(Authenticate::Backend)(route) || of(Authenticate::Http)(route);
    for route in routes.iter().filter(others) {
        let shares_listener = |other: &schema::Route| {
            let mut listeners = entries(&file.listeners).iter();
            listeners.any(|(name, _)| at_listener(route, name) && at_listener(other, name))
        };
        if !routes.iter().filter(of(Authenticate::Gateway)).any(shares_listener) {
            continue;
        }
        let with_password =
            entries(&file.users).iter().filter(|(_, user)| user.password_hash.is_some());
        let Some((name, _)) = with_password.into_iter().find(|(name, _)| takes(route, name)) else {
            continue;
        };
        let Some(authenticate) = &route.authenticate else { continue };
        let backend = named_backends(route).next().map_or("", |(_, name)| name);
        let who = match value(&route.authenticate) {
            Some(Authenticate::Http) => "the login hook".to_owned(),
            _ => format!("backend \"{backend}\""),
        };
        let message = format!(
            "{who} answers names like \"{name}\" that the gateway does not know, in its own \
             time: clients can find out that \"{name}\" is one of `users`; to hide that, give the route \
             `match.users` that none of `users` matches, or a listener of its own"
        );
        problems.warning(&authenticate.at, message);
    }
}

/// Whether the name would match, but for being one of `users`.
fn takes(route: &schema::Route, name: &str) -> bool {
    let patterns = route.r#match.as_ref().and_then(|given| given.users.as_ref());
    patterns.is_none_or(|patterns| {
        patterns.values().any(|(_, pattern)| pattern.0.compile_matcher().is_match(name))
    })
}
