use std::net::IpAddr;

use globset::GlobSet;
use ipnet::IpNet;

use crate::auth::Credentials;
use crate::op::RemotePath;

/// One of the `routes`, as configured.
pub struct Route {
    pub matches: Match,
    pub access: Access,
    /// The backend's name in the configuration.
    pub backend: String,
    /// Put before every path that the client names; `/` for none.
    pub root: Root,
}

/// The folder of a backend that a client sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    Path(RemotePath),
    /// `home`: where the backend's login puts the user.
    Home,
}

/// Whom a route is for; an absent condition matches everybody.
#[derive(Default)]
pub struct Match {
    /// Names of listeners.
    pub listeners: Option<Vec<String>>,
    /// Globs over user names.
    pub users: Option<GlobSet>,
    /// Groups of users whom the gateway authenticated; others never match.
    pub groups: Option<Vec<String>>,
    /// Networks that the client comes from.
    pub sources: Option<Vec<IpNet>>,
}

/// Who checks the password, and as whom the backend is entered. There is no way to say "a mapped
/// account with an unchecked password".
pub enum Access {
    /// `authenticate: backend`: the client's own user name and password go to the backend.
    Backend,
    /// `authenticate: gateway`, then the client's own user name and password go to the backend too.
    GatewayPassThrough,
    /// `authenticate: gateway`, then the backend is entered with an account of the gateway's.
    GatewayMapped(Credentials),
    /// `authenticate: gateway` in front of a backend without accounts (`local`).
    GatewayOnly,
}

/// All routes, first match first.
pub struct RouteTable(pub Vec<Route>);

impl Match {
    /// Whether a login that comes to `listener` from `source` as `user` is meant. `groups` are those
    /// of a user whom the gateway knows, `None` for one whom it does not.
    pub fn covers(
        &self,
        listener: &str,
        source: IpAddr,
        user: &[u8],
        groups: Option<&[String]>,
    ) -> bool {
        let listener_fits =
            self.listeners.as_ref().is_none_or(|names| names.iter().any(|n| n == listener));
        let source_fits =
            self.sources.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&source)));
        let user_fits = self.users.as_ref().is_none_or(|globs| globs.is_match(as_path(user)));
        let groups_fit = self.groups.as_ref().is_none_or(|wanted| {
            groups.is_some_and(|has| has.iter().any(|group| wanted.contains(group)))
        });
        listener_fits && source_fits && user_fits && groups_fit
    }
}

/// User names are bytes, and so are Unix paths, which is what globs are matched on.
fn as_path(user: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(user))
}
