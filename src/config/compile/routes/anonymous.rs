//! Routes with `authenticate: anonymous`, and the names of anonymous FTP on other routes.

use crate::config::compile::{entries, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::{File, Listener, Match, Route};
use crate::config::values::{Authenticate, ListenerProtocol, UserGlob};
use crate::route::is_anonymous;

/// Those that such a route is for, where it names none.
pub(super) fn listeners(file: &File) -> Vec<String> {
    let ftp = entries(&file.listeners).iter().filter(|(_, listener)| is_ftp(listener));
    ftp.map(|(name, _)| name.clone()).collect()
}

/// The names of anonymous FTP that are no patterns.
pub(super) fn names(users: &Option<OneOrMore<UserGlob>>) -> Vec<Vec<u8>> {
    let patterns = users.iter().flat_map(|users| users.values());
    let names = patterns.map(|(_, pattern)| pattern.0.glob().as_bytes());
    names.filter(|name| is_anonymous(name)).map(<[u8]>::to_vec).collect()
}

/// Conditions that never hold for anonymous users.
pub(super) fn check(file: &File, given: &Match, problems: &mut Problems) {
    if let Some(groups) = &given.groups {
        problems.error(&groups.at, "never matches: anonymous users have no groups; remove it");
    }
    for (at, name) in given.listeners.iter().flat_map(|names| names.values()) {
        let named = entries(&file.listeners).iter().find(|(known, _)| *known == name.0);
        if named.is_some_and(|(_, listener)| !is_ftp(listener)) {
            problems.error(at, "is an SFTP listener, and SFTP has no anonymous users; remove it");
        }
    }
    for (at, pattern) in given.users.iter().flat_map(|users| users.values()) {
        let matcher = pattern.0.compile_matcher();
        if !["anonymous", "ftp"].iter().any(|name| matcher.is_match(name)) {
            let message = "never matches: a route with `authenticate: anonymous` is for the names anonymous \
                           and ftp; remove it";
            problems.error(at, message);
        }
    }
}

/// Warns of `users` with a name of anonymous FTP, who need their password.
pub(super) fn warn_of_users(file: &File, routes: &[Route], problems: &mut Problems) {
    let is_for_all = |route: &&Route| value(&route.authenticate) == Some(&Authenticate::Anonymous);
    let Some(route) = routes.iter().find(is_for_all) else { return };
    for (name, user) in entries(&file.users) {
        if is_anonymous(name.as_bytes()) {
            let message = format!(
                "clients that log in with this name need its password, though the route in line {} has \
                 `authenticate: anonymous`; use another name if that is not meant",
                route.at.mark.line
            );
            problems.warning(&user.at, message);
        }
    }
}

pub(super) fn is_ftp(listener: &Listener) -> bool {
    value(&listener.protocol) == Some(&ListenerProtocol::Ftp)
}
