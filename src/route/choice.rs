//! The choice of a login's route: the first that matches, and why the others do not.

use std::net::IpAddr;

use super::anonymous::{ANONYMOUS, is_anonymous};
use super::table::{Backends, Mismatch, Route, RouteBackend, RouteTable};

/// What routes are chosen by.
#[derive(Debug, Clone, Copy)]
pub struct LoginRequest<'a> {
    /// The listener's name in the configuration.
    pub listener: &'a str,
    /// The client's address.
    pub source: IpAddr,
    /// That the client sent under TLS (SNI).
    pub server_name: Option<&'a str>,
    /// The user name in bytes, as the client sent it.
    pub name: &'a [u8],
}

/// The route of a login, with what it makes of the user name.
pub struct Choice<'r> {
    /// The route.
    pub route: &'r Route,
    /// Its index in the configuration.
    pub number: usize,
    /// One of its backends.
    pub backend: &'r RouteBackend,
    /// The user: the name of the login, without the backend's name on a route with `user_at_backend`.
    pub user: Vec<u8>,
}

/// The outcome of a choice.
pub struct Chosen<'r> {
    /// `None`: no route matches.
    pub choice: Option<Choice<'r>>,
    /// Why each route before it, or each of all, does not apply.
    pub passed_over: Vec<Mismatch>,
}

impl RouteTable {
    /// The first route that matches. `groups_of` returns the groups of one of the gateway's `users`, `None` for
    /// others: such a user never falls through to a backend's password check.
    ///
    /// A name that ends in `@` and a backend of a route's `user_at_backend` keeps that meaning for the routes
    /// after it: none of them takes the whole for a user name, or a password could reach another backend than
    /// the one that was named.
    pub fn choose<'r, 'g>(
        &'r self,
        login: LoginRequest<'_>,
        groups_of: impl Fn(&[u8]) -> Option<&'g [String]>,
    ) -> Chosen<'r> {
        let mut passed_over = Vec::new();
        let mut asks_for_backend = false;
        for (number, route) in self.0.iter().enumerate() {
            match judge(route, login, &groups_of, &mut asks_for_backend) {
                Ok((backend, user)) => {
                    let choice = Choice { route, number, backend, user: user.to_vec() };
                    return Chosen { choice: Some(choice), passed_over };
                }
                Err(mismatch) => passed_over.push(mismatch),
            }
        }
        Chosen { choice: None, passed_over }
    }
}

fn judge<'r, 'n, 'g>(
    route: &'r Route,
    login: LoginRequest<'n>,
    groups_of: impl Fn(&[u8]) -> Option<&'g [String]>,
    asks_for_backend: &mut bool,
) -> Result<(&'r RouteBackend, &'n [u8]), Mismatch> {
    let LoginRequest { listener, source, server_name, name } = login;
    route.matches.connection(listener, source, server_name)?;
    let (backend, user) = match &route.backends {
        Backends::One(_) if *asks_for_backend => return Err(Mismatch::AsksForBackend),
        Backends::One(backend) => (backend, name),
        Backends::Named(backends) => {
            let (user, backend) = named(backends, name).ok_or(Mismatch::NoBackend)?;
            *asks_for_backend = true;
            if user.is_empty() {
                return Err(Mismatch::NoUser);
            }
            (backend, user)
        }
    };
    let groups = groups_of(user);
    route.matches.user(user, groups)?;
    if groups.is_some() && route.is_for_others() {
        return Err(Mismatch::Reserved);
    }
    match (route.is_anonymous(), is_anonymous(user)) {
        (true, true) => Ok((backend, ANONYMOUS)),
        (true, false) => Err(Mismatch::NotAnonymous),
        (false, true) if groups.is_none() && !route.matches.names_anonymous(user) => {
            Err(Mismatch::Anonymous)
        }
        _ => Ok((backend, user)),
    }
}

/// The user, and the backend after the last `@`: a user name may contain others, as mail addresses do.
fn named<'r, 'n>(
    backends: &'r [RouteBackend],
    name: &'n [u8],
) -> Option<(&'n [u8], &'r RouteBackend)> {
    let at = name.iter().rposition(|b| *b == b'@')?;
    let backend = backends.iter().find(|backend| backend.name.as_bytes() == &name[at + 1..])?;
    Some((&name[..at], backend))
}

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSet};

    use super::*;
    use crate::auth::Methods;
    use crate::op::RemotePath;
    use crate::route::{Access, Account, Authenticator, Match, Root, RootSetting};

    fn backend(name: &str, access: Access) -> RouteBackend {
        RouteBackend { name: name.into(), access }
    }

    fn route(backends: Backends, matches: Match) -> Route {
        let root = RootSetting::Same(Root::Path(RemotePath::root()));
        Route {
            matches,
            backends,
            root,
            rewrites: Vec::new(),
            required: Methods::NONE,
            greeting: None,
        }
    }

    fn one(name: &str) -> Backends {
        Backends::One(backend(name, Access::Backend))
    }

    fn named(names: &[&str]) -> Backends {
        Backends::Named(names.iter().map(|name| backend(name, Access::Backend)).collect())
    }

    fn users(pattern: &str) -> Match {
        let globs = GlobSet::builder().add(Glob::new(pattern).unwrap()).build().unwrap();
        Match { users: Some(globs), ..Match::default() }
    }

    fn at(name: &str) -> LoginRequest<'_> {
        let source = "192.0.2.1".parse().unwrap();
        LoginRequest { listener: "front", source, server_name: None, name: name.as_bytes() }
    }

    /// The route's number, the backend and the user, or why no route matches.
    fn chosen(routes: Vec<Route>, name: &str) -> Result<(usize, String, String), Vec<Mismatch>> {
        let groups: &[String] = &["staff".into()];
        let table = RouteTable(routes);
        let known = |user: &[u8]| (user == b"alice").then_some(groups);
        let chosen = table.choose(at(name), known);
        let choice = chosen.choice.ok_or(chosen.passed_over)?;
        let user = String::from_utf8(choice.user).unwrap();
        Ok((choice.number, choice.backend.name.clone(), user))
    }

    fn found(
        number: usize,
        backend: &str,
        user: &str,
    ) -> Result<(usize, String, String), Vec<Mismatch>> {
        Ok((number, backend.into(), user.into()))
    }

    #[test]
    fn the_backend_is_named_after_the_last_at_sign() {
        let routes = || vec![route(named(&["payroll", "example.com"]), Match::default())];
        for (name, expected) in [
            ("bob@payroll", found(0, "payroll", "bob")),
            ("bob@example.com", found(0, "example.com", "bob")),
            ("bob@example.com@payroll", found(0, "payroll", "bob@example.com")),
            ("bob@@payroll", found(0, "payroll", "bob@")),
            ("payroll@example.com", found(0, "example.com", "payroll")),
            ("bob", Err(vec![Mismatch::NoBackend])),
            ("payroll", Err(vec![Mismatch::NoBackend])),
            ("bob@", Err(vec![Mismatch::NoBackend])),
            ("bob@payroll@", Err(vec![Mismatch::NoBackend])),
            ("bob@Payroll", Err(vec![Mismatch::NoBackend])),
            ("bob@payroll ", Err(vec![Mismatch::NoBackend])),
            ("bob@payroll:21", Err(vec![Mismatch::NoBackend])),
            ("bob@192.0.2.7", Err(vec![Mismatch::NoBackend])),
            ("bob%payroll", Err(vec![Mismatch::NoBackend])),
            ("@payroll", Err(vec![Mismatch::NoUser])),
            ("", Err(vec![Mismatch::NoBackend])),
        ] {
            assert_eq!(chosen(routes(), name), expected, "{name}");
        }
        // Off by default: the name is the user's.
        let plain = || vec![route(one("payroll"), Match::default())];
        assert_eq!(chosen(plain(), "bob@payroll"), found(0, "payroll", "bob@payroll"));
    }

    #[test]
    fn the_user_is_matched_without_the_backend() {
        let routes = |matches| vec![route(named(&["payroll"]), matches)];
        assert_eq!(chosen(routes(users("b*b")), "bob@payroll"), found(0, "payroll", "bob"));
        let missed = Err(vec![Mismatch::User]);
        assert_eq!(chosen(routes(users("*@payroll")), "bob@payroll"), missed);
        let staff = || Match { groups: Some(vec!["staff".into()]), ..Match::default() };
        let gateway = |matches| {
            vec![route(
                Backends::Named(vec![backend("payroll", Access::of_users(Account::None))]),
                matches,
            )]
        };
        assert_eq!(chosen(gateway(staff()), "alice@payroll"), found(0, "payroll", "alice"));
        assert_eq!(chosen(gateway(staff()), "bob@payroll"), Err(vec![Mismatch::NotInUsers]));
        // One of the gateway's users, also in this form.
        assert_eq!(chosen(routes(users("*")), "alice@payroll"), Err(vec![Mismatch::Reserved]));
    }

    /// A password for one backend never reaches another.
    #[test]
    fn a_name_that_asks_for_a_backend_is_no_user_name_for_later_routes() {
        let routes = |first: Match| {
            vec![
                route(one("mail"), users("*@example.com")),
                route(named(&["payroll", "example.com"]), first),
                route(named(&["stock", "payroll"]), Match::default()),
                route(one("rest"), Match::default()),
            ]
        };
        use Mismatch::{AsksForBackend, Listener, NoBackend, Reserved, User};
        let all = || routes(Match::default());
        // The first match applies, as always.
        assert_eq!(chosen(all(), "bob@example.com"), found(0, "mail", "bob@example.com"));
        assert_eq!(chosen(all(), "bob@payroll"), found(1, "payroll", "bob"));
        assert_eq!(chosen(all(), "bob@stock"), found(2, "stock", "bob"));
        // No backend: a user name.
        assert_eq!(chosen(all(), "bob"), found(3, "rest", "bob"));
        assert_eq!(chosen(all(), "bob@example.org"), found(3, "rest", "bob@example.org"));
        let refused = Err(vec![User, Reserved, Reserved, AsksForBackend]);
        assert_eq!(chosen(all(), "alice@payroll"), refused);
        let not_bob = || routes(users("carol"));
        assert_eq!(chosen(not_bob(), "bob@payroll"), found(2, "payroll", "bob"));
        let mut two = not_bob();
        two.remove(2);
        assert_eq!(chosen(two, "bob@payroll"), Err(vec![User, User, AsksForBackend]));
        // Only where the route is for the connection.
        let elsewhere = Match { listeners: Some(vec!["other".into()]), ..Match::default() };
        let mut two = routes(elsewhere);
        two.remove(2);
        assert_eq!(chosen(two, "bob@payroll"), found(2, "rest", "bob@payroll"));
        let elsewhere = Match { listeners: Some(vec!["other".into()]), ..Match::default() };
        let one = vec![route(one("rest"), elsewhere), route(named(&["payroll"]), users("*"))];
        assert_eq!(chosen(one, "bob@x"), Err(vec![Listener, NoBackend]));
    }

    #[test]
    fn names_of_anonymous_ftp_need_a_route_that_says_so() {
        use Mismatch::{Anonymous, NotAnonymous, User};
        let access = || Access::Gateway { by: Authenticator::Anonymous, account: Account::None };
        let guests = || route(Backends::One(backend("mirror", access())), Match::default());
        let everybody = || route(one("server"), Match::default());
        let pattern = || route(one("server"), users("*"));
        let literal = || {
            let matches = Match { anonymous_names: vec![b"ftp".to_vec()], ..users("ftp") };
            route(one("server"), matches)
        };
        for name in ["anonymous", "ftp", "Anonymous", "FTP"] {
            let guest = found(2, "mirror", "anonymous");
            assert_eq!(chosen(vec![everybody(), pattern(), guests()], name), guest);
            assert_eq!(chosen(vec![everybody(), pattern()], name), Err(vec![Anonymous; 2]));
        }
        assert_eq!(chosen(vec![literal(), guests()], "ftp"), found(0, "server", "ftp"));
        assert_eq!(chosen(vec![literal(), guests()], "anonymous"), found(1, "mirror", "anonymous"));
        assert_eq!(chosen(vec![literal()], "FTP"), Err(vec![User]));
        for name in ["bob", "anonymous2", "anonymous@example.com", "ftp ", ""] {
            assert_eq!(chosen(vec![guests()], name), Err(vec![NotAnonymous]), "{name}");
        }
        // Before the `@`, too.
        let at_backend = |access| Backends::Named(vec![backend("mirror", access)]);
        let routes = |access| vec![route(at_backend(access), Match::default())];
        assert_eq!(chosen(routes(Access::Backend), "ftp@mirror"), Err(vec![Anonymous]));
        assert_eq!(chosen(routes(access()), "ftp@mirror"), found(0, "mirror", "anonymous"));
    }
}
