//! The `routes` of the configuration.

use std::net::IpAddr;

use globset::GlobSet;
use ipnet::IpNet;

use super::RootSetting;
use crate::auth::Credentials;
use crate::net::tls::ServerNames;

/// One of the `routes`, as configured.
pub struct Route {
    /// Which logins the route applies to (`match`).
    pub matches: Match,
    /// Who checks the password, and the backend's account (`authenticate`, and the backend's `login`).
    pub access: Access,
    /// The backend's name in the configuration.
    pub backend: String,
    /// Prepended to every path of the client; `/` for none.
    pub root: RootSetting,
}

/// The conditions of a route; an absent condition matches everyone.
#[derive(Default)]
pub struct Match {
    /// Names of listeners.
    pub listeners: Option<Vec<String>>,
    /// Globs over user names.
    pub users: Option<GlobSet>,
    /// Groups of users whom the gateway authenticated; others never match.
    pub groups: Option<Vec<String>>,
    /// Networks of clients.
    pub sources: Option<Vec<IpNet>>,
    /// Server names that clients send under TLS (SNI); clients without one never match.
    pub server_names: Option<ServerNames<()>>,
}

/// Who checks the password, and which account the backend gets. A mapped account with an unchecked
/// password cannot be expressed.
pub enum Access {
    /// `authenticate: backend`: the backend gets the client's user name and password.
    Backend,
    /// `authenticate: gateway`, then the backend gets the client's user name and password, too.
    GatewayPassThrough,
    /// `authenticate: gateway`, then the backend gets an account of the gateway.
    GatewayMapped(Credentials),
    /// `authenticate: gateway` with a backend without accounts (`local`).
    GatewayOnly,
}

/// All routes in order; the first match applies.
pub struct RouteTable(pub Vec<Route>);

impl Match {
    /// Whether the route matches a login at `listener` from `source` as `user`. `server_name`: what the client sent
    /// under TLS. `groups`: `None` for a user who is not in `users`.
    pub fn covers(
        &self,
        listener: &str,
        source: IpAddr,
        server_name: Option<&str>,
        user: &[u8],
        groups: Option<&[String]>,
    ) -> bool {
        let listener_fits =
            self.listeners.as_ref().is_none_or(|names| names.iter().any(|n| n == listener));
        let source_fits =
            self.sources.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&source)));
        let name_fits = self
            .server_names
            .as_ref()
            .is_none_or(|names| server_name.is_some_and(|name| names.get(name).is_some()));
        let user_fits = self.users.as_ref().is_none_or(|globs| globs.is_match(as_path(user)));
        let groups_fit = self.groups.as_ref().is_none_or(|listed| {
            groups.is_some_and(|has| has.iter().any(|group| listed.contains(group)))
        });
        listener_fits && source_fits && name_fits && user_fits && groups_fit
    }
}

/// Globs match paths, which are bytes like user names.
fn as_path(user: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(user))
}
