//! `methods` and `require`: which authentication methods are accepted, required and offered.

use std::collections::HashMap;

use super::backends::LoginMode;
use super::route_lookups::{leads, matches_user, named_backends, passes_password};
use super::{entries, value};
use crate::auth::Methods;
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::{File, Listener, Route, User};
use crate::config::values::{Authenticate, ListenerProtocol, Method};

/// What a list names.
pub(super) fn set(list: &Option<OneOrMore<Method>>) -> Methods {
    let named = list.iter().flat_map(|list| list.values());
    named.fold(Methods::NONE, |set, (_, method)| {
        set | match method {
            Method::PublicKey => Methods::PUBLIC_KEY,
            Method::Password => Methods::PASSWORD,
        }
    })
}

/// Whether any listener accepts certificates of users.
pub(in crate::config) fn certificates_are_accepted(file: &File) -> bool {
    entries(&file.listeners).iter().any(|(_, listener)| listener.trusted_user_ca_keys.is_some())
}

/// The methods that a route requires, all of them; none: any one.
pub(super) fn required(
    file: &File,
    route: &Route,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> Methods {
    let (key, list) = match (&route.methods, &route.require) {
        (None, None) => return Methods::NONE,
        (Some(_), Some(list)) => {
            let message = "cannot be used with `methods`: `require` asks for all of its methods, \
                           `methods` for any one; keep one of them";
            problems.error(&list.at, message);
            return Methods::NONE;
        }
        (Some(list), None) => ("methods", list),
        (None, Some(list)) => ("require", list),
    };
    if value(&route.authenticate).is_some_and(|it| *it != Authenticate::Gateway) {
        let message = format!(
            "`{key}` needs `authenticate: gateway`: otherwise the backend, or the login hook, decides what is \
             enough"
        );
        problems.error(&list.at, message);
        return Methods::NONE;
    }
    let named = match key {
        "methods" => set(&route.methods),
        _ => set(&route.require),
    };
    let required = if key == "methods" && named == Methods::ALL { Methods::NONE } else { named };
    if required == Methods::PUBLIC_KEY
        && named_backends(route).any(|(_, name)| passes_password(login_modes, name))
    {
        let message = "a backend of this route has `login: pass-through`, which needs the user's password; \
                       write `require: [publickey, password]`, or give the backend an account (`login: { \
                       user: … }`)";
        problems.error(&list.at, message);
    }
    let by_ftp = entries(&file.listeners).iter().any(|(name, listener)| {
        value(&listener.protocol) == Some(&ListenerProtocol::Ftp) && leads(route, name)
    });
    if required.publickey && by_ftp {
        let message = "FTP clients of this route can never log in: only SFTP has public keys; name the \
                       SFTP listeners in `match.listeners`";
        problems.warning(&list.at, message);
    }
    required
}

/// The methods that each SFTP listener offers: `methods`, or those with which some user can log in by one
/// of its routes. They do not depend on the name that a client sends.
pub(super) fn offered(
    file: &File,
    login_modes: &HashMap<String, LoginMode>,
    problems: &mut Problems,
) -> HashMap<String, Methods> {
    let mut offered = HashMap::new();
    for (name, listener) in entries(&file.listeners) {
        if value(&listener.protocol) != Some(&ListenerProtocol::Sftp) {
            continue;
        }
        let possible = possible(file, name, listener, login_modes);
        let methods = match &listener.methods {
            Some(list) => {
                let given = set(&listener.methods);
                check_given(file, name, list, (given, possible), problems);
                given
            }
            // Where nobody can log in, nothing is to be learnt.
            None if possible.is_empty() => Methods::ALL,
            None => possible,
        };
        offered.insert(name.clone(), methods);
    }
    offered
}

fn check_given(
    file: &File,
    name: &str,
    list: &OneOrMore<Method>,
    (given, possible): (Methods, Methods),
    problems: &mut Problems,
) {
    let useless = given.without(possible);
    if !possible.is_empty() && !useless.is_empty() {
        let message = format!("no user of this listener's routes can log in by {useless}");
        problems.warning(&list.at, message);
    }
    let routes = file.routes.as_ref().map_or(&[][..], |routes| &routes.items);
    for route in routes.iter().filter(|route| leads(route, name)) {
        let missing = set(&route.require).without(given);
        if !missing.is_empty() {
            let message = format!(
                "the route in line {} requires {missing}, too, so nobody could log in by it here",
                route.at.mark.line
            );
            problems.error(&list.at, message);
        }
    }
}

fn possible(
    file: &File,
    name: &str,
    listener: &Listener,
    login_modes: &HashMap<String, LoginMode>,
) -> Methods {
    let routes = file.routes.as_ref().map_or(&[][..], |routes| &routes.items);
    let reached = routes.iter().filter(|route| leads(route, name));
    reached.fold(Methods::NONE, |methods, route| {
        methods | of_route(file, route, listener.trusted_user_ca_keys.is_some(), login_modes)
    })
}

fn of_route(
    file: &File,
    route: &Route,
    certified: bool,
    login_modes: &HashMap<String, LoginMode>,
) -> Methods {
    match value(&route.authenticate) {
        Some(Authenticate::Backend) => return Methods::PASSWORD,
        Some(Authenticate::Gateway) => {}
        // FTP only.
        Some(Authenticate::Anonymous) => return Methods::NONE,
        // The hook knows.
        Some(Authenticate::Http) | None => return Methods::ALL,
    }
    let needs_password = named_backends(route).all(|(_, name)| passes_password(login_modes, name));
    let accepted = set(&route.methods) | set(&route.require);
    let accepted = if accepted.is_empty() { Methods::ALL } else { accepted };
    // What a user has, as far as it is of use.
    let usable = |has: Methods, required: Methods| {
        let accepted = if required.is_empty() { accepted } else { required };
        let passed = needs_password && required != Methods::ALL;
        has.and(accepted).and(if passed { Methods::PASSWORD } else { Methods::ALL })
    };
    let of_user = |user: &User| {
        let has = Methods {
            publickey: certified || user.authorized_keys.is_some(),
            password: user.password_hash.is_some(),
        };
        usable(has, set(&route.require) | set(&user.require))
    };
    // The users of a file may change.
    let later = match file.users_file {
        None => Methods::NONE,
        Some(_) => usable(Methods::ALL, set(&route.require)),
    };
    let users = entries(&file.users).iter().filter(|(name, user)| matches_user(route, name, user));
    users.fold(later, |methods, (_, user)| methods | of_user(user))
}
