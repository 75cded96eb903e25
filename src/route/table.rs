//! The `routes` of the configuration.

use std::net::IpAddr;
use std::sync::Arc;

use globset::GlobSet;
use ipnet::IpNet;

use super::{MintedAccount, RewriteSetting, RootSetting};
use crate::auth::{Credentials, Methods};
use crate::net::tls::ServerNames;
use crate::op::{Greeting, as_os_path};

/// One of the `routes`, as configured.
pub struct Route {
    /// Which logins the route applies to (`match`).
    pub matches: Match,
    /// Where it leads (`backend` or `user_at_backend`).
    pub backends: Backends,
    /// Prepended to every path of the client; `/` for none.
    pub root: RootSetting,
    /// Folders that clients see under other paths (`rewrite`), each with its own `from`.
    pub rewrites: Vec<RewriteSetting>,
    /// The methods that are all required, with those of the user (`require`, `methods`); none: one that the
    /// user has.
    pub required: Methods,
    /// Sent after a login, by protocols that can (`greeting`).
    pub greeting: Option<Arc<Greeting>>,
}

/// The backends of a route.
pub enum Backends {
    /// `backend`: one for all logins.
    One(RouteBackend),
    /// `user_at_backend`: the client names one of these after the last `@` of its user name.
    Named(Vec<RouteBackend>),
}

/// A backend of a route, and how users log in there.
pub struct RouteBackend {
    /// The backend's name in the configuration.
    pub name: String,
    /// Who authenticates users, and the account (`authenticate`, and the backend's `login`).
    pub access: Access,
}

/// The conditions of a route; an absent condition matches everyone.
#[derive(Default)]
pub struct Match {
    /// Names of listeners.
    pub listeners: Option<Vec<String>>,
    /// Globs over user names; with `user_at_backend`, over the part before the last `@`.
    pub users: Option<GlobSet>,
    /// Names of anonymous FTP that `users` has literally. Without that, a route for others does not take
    /// them: a pattern for everyone is not meant for them.
    pub anonymous_names: Vec<Vec<u8>>,
    /// Groups of users whom the gateway authenticated; others never match.
    pub groups: Option<Vec<String>>,
    /// Networks of clients.
    pub sources: Option<Vec<IpNet>>,
    /// Server names that clients send under TLS (SNI); clients without one never match.
    pub server_names: Option<ServerNames<()>>,
}

/// Who authenticates users, and which account the backend gets. An account of the gateway for users whom only
/// the backend checks cannot be expressed.
pub enum Access {
    /// `authenticate: backend`: the backend gets the client's user name and password.
    Backend,
    /// The gateway authenticates the user, and then logs in at the backend.
    Gateway {
        /// How it knows users.
        by: Authenticator,
        /// What it logs in with.
        account: Account,
    },
}

/// How the gateway knows users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticator {
    /// `authenticate: gateway`: they are in `users`.
    Users,
    /// `authenticate: http`: the login hook of this name decides.
    Hook(Arc<str>),
    /// `authenticate: anonymous`: not at all. Only for the names of anonymous FTP.
    Anonymous,
}

/// The account at the backend of a user whom the gateway has authenticated (`login` of the backend).
#[derive(Clone)]
pub enum Account {
    /// The client's user name and password.
    PassThrough,
    /// An account of the gateway.
    Mapped(Credentials),
    /// An account with a certificate that the gateway signs for each login.
    Minted(MintedAccount),
    /// None: the backend is a folder.
    None,
}

impl Access {
    /// Users of `users`, with this account at the backend.
    pub fn of_users(account: Account) -> Self {
        Self::Gateway { by: Authenticator::Users, account }
    }
}

/// All routes in order; the first match applies.
pub struct RouteTable(pub Vec<Route>);

impl RouteTable {
    /// Whether anonymous users may log in at a listener.
    pub fn takes_anonymous_at(&self, listener: &str) -> bool {
        let is_there = |route: &&Route| {
            let listeners = route.matches.listeners.as_ref();
            listeners.is_none_or(|names| names.iter().any(|name| name == listener))
        };
        self.0.iter().filter(is_there).any(Route::is_anonymous)
    }
}

impl Route {
    /// All backends that it may lead to.
    pub fn backends(&self) -> &[RouteBackend] {
        match &self.backends {
            Backends::One(backend) => std::slice::from_ref(backend),
            Backends::Named(backends) => backends,
        }
    }

    /// `authenticate: backend`, `http` or `anonymous`: for others than the gateway's `users`.
    pub(super) fn is_for_others(&self) -> bool {
        let is_for_users = |backend: &RouteBackend| {
            matches!(backend.access, Access::Gateway { by: Authenticator::Users, .. })
        };
        !self.backends().iter().all(is_for_users)
    }

    /// `authenticate: anonymous`.
    pub(super) fn is_anonymous(&self) -> bool {
        let anonymous = |it: &RouteBackend| {
            matches!(it.access, Access::Gateway { by: Authenticator::Anonymous, .. })
        };
        self.backends().iter().any(anonymous)
    }
}

impl Match {
    /// Whether the route matches a login at `listener` from `source` as `user`.
    #[cfg(test)]
    pub(crate) fn covers(
        &self,
        listener: &str,
        source: IpAddr,
        server_name: Option<&str>,
        user: &[u8],
        groups: Option<&[String]>,
    ) -> bool {
        let connection = self.connection(listener, source, server_name);
        connection.and_then(|()| self.user(user, groups)).is_ok()
    }

    /// Whether connections to `listener` from `source` match, before a user is named. `server_name`: what the
    /// client sent under TLS.
    pub(super) fn connection(
        &self,
        listener: &str,
        source: IpAddr,
        server_name: Option<&str>,
    ) -> Result<(), Mismatch> {
        if self.listeners.as_ref().is_some_and(|names| names.iter().all(|n| n != listener)) {
            return Err(Mismatch::Listener);
        }
        if self.sources.as_ref().is_some_and(|nets| nets.iter().all(|net| !net.contains(&source))) {
            return Err(Mismatch::Source);
        }
        let is_named =
            |names: &ServerNames<()>| server_name.is_some_and(|name| names.get(name).is_some());
        if self.server_names.as_ref().is_some_and(|names| !is_named(names)) {
            return Err(Mismatch::ServerName);
        }
        Ok(())
    }

    /// Whether `users` has this name of anonymous FTP literally.
    pub(super) fn names_anonymous(&self, name: &[u8]) -> bool {
        self.anonymous_names.iter().any(|named| named == name)
    }

    /// Whether `user` matches. `groups`: `None` for a user who is not in `users`.
    pub(super) fn user(&self, user: &[u8], groups: Option<&[String]>) -> Result<(), Mismatch> {
        if self.users.as_ref().is_some_and(|globs| !globs.is_match(as_os_path(user))) {
            return Err(Mismatch::User);
        }
        match (&self.groups, groups) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Mismatch::NotInUsers),
            (Some(listed), Some(has)) if has.iter().any(|group| listed.contains(group)) => Ok(()),
            (Some(_), Some(_)) => Err(Mismatch::Group),
        }
    }
}

/// Why a route does not apply to a login: the first condition that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// `match.listeners`.
    #[error("`listeners` does not name the listener")]
    Listener,
    /// `match.sources`.
    #[error("the client's address is in none of `sources`")]
    Source,
    /// `match.server_names`.
    #[error("the client's server name, if it sent one, is none of `server_names`")]
    ServerName,
    /// `match.users`.
    #[error("the user name matches none of `users`")]
    User,
    /// `match.groups`, of a user whom the gateway does not know.
    #[error("`groups` match only users of the gateway, and the user is not in `users`")]
    NotInUsers,
    /// `match.groups`.
    #[error("the user is in none of `groups`")]
    Group,
    /// `authenticate: backend`, `http` or `anonymous`, for one of the gateway's `users`.
    #[error(
        "the name is one of the gateway's `users`, and the route has `authenticate: backend`, `http` or \
         `anonymous`, which are for other users"
    )]
    Reserved,
    /// `authenticate: anonymous`, and another name.
    #[error("`authenticate: anonymous` is for the names anonymous and ftp")]
    NotAnonymous,
    /// One of these names, which is not one of `users`, and another `authenticate`.
    #[error(
        "the name is one of anonymous FTP, which needs a route with `authenticate: anonymous`, or one whose \
         `match.users` has this name"
    )]
    Anonymous,
    /// `user_at_backend`: no `@` and the name of one of its backends at the end of the user name.
    #[error("the user name does not end in `@` and a backend of `user_at_backend`")]
    NoBackend,
    /// `user_at_backend`: nothing before the `@`.
    #[error("the user name has nothing before the `@`")]
    NoUser,
    /// An earlier route has the backend in its `user_at_backend`, and the route does not.
    #[error("the user name asks for a backend that an earlier route has in `user_at_backend`")]
    AsksForBackend,
}
