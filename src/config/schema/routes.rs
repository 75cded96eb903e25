//! The keys of `routes`.

use ipnet::IpNet;

use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::{Many, section};
use crate::config::values::*;
use crate::op::{Greeting, RemotePath};
use crate::route::{FolderSetting, RootSetting};

section! {
    /// The backend for the users that match.
    Route {
        /// The users of the route; every condition must hold. Absent: everyone.
        r#match: Match,
        /// Who checks the password: backend, gateway (its `users`), or http (a login hook). Or anonymous: nobody
        /// does, and the route is for the user names anonymous and ftp at ftp listeners. Other routes take
        /// these names only if their `match.users` has them literally.
        [required] authenticate: Leaf<Authenticate>,
        /// With `authenticate: http`: the name of the login hook. Not needed if there is only one.
        login_hook: Leaf<Text>,
        /// With `authenticate: gateway`: the authentication methods that are accepted, any one of them:
        /// publickey, password, or a list. Absent: those that the user has.
        methods: OneOrMore<Method>,
        /// With `authenticate: gateway`: methods that are all required, in any order: publickey, password, or
        /// both in a list. Absent: any one.
        require: OneOrMore<Method>,
        /// The backend's name. Required, unless there is user_at_backend.
        backend: Leaf<Text>,
        /// Instead of backend: the client names one of these backends after the last `@` of its user name
        /// ("alice@payroll"), never a host. The user is what stands before it, for `match`, `users`,
        /// `{user}` and the backend. Names that end in none of them do not match the route.
        user_at_backend: OneOrMore<Text>,
        /// Folder of the backend that is the client's /. `{user}` in it is replaced by the user's name: a
        /// folder for each user ("/partners/{user}"). A prefix, not a jail: symlinks at the server can lead
        /// out of it. It must exist at each login. Or home: the user's folder after the backend's login.
        /// Default: /.
        root: Leaf<RootSetting>,
        /// Folders that clients see under other paths, at most 32.
        rewrite: Many<Rewrite>,
        /// The text that FTP clients read after the login, of one or more lines, before the last line of
        /// the 230 reply. SFTP has none after the login: see the listener's greeting. Absent: none.
        greeting: Leaf<Greeting>,
    }
    hints [
        "rewrites" => "write rewrite, with a list of { from: …, to: … }",
        "banner" => "write greeting: FTP clients read it after the login; a listener's before",
        "welcome" => "write greeting: FTP clients read it after the login; a listener's before",
        "backends" => "write backend, with one name; or user_at_backend, with the names that clients choose from",
    ]
}

section! {
    /// A folder that clients see under another path, and not under its own.
    Rewrite {
        /// The client's path of the folder. Of several that are prefixes of a path, the longest applies.
        [required] from: Leaf<RemotePath>,
        /// The backend's path of the folder, below the route's root. `{user}` in it is replaced by the
        /// user's name.
        [required] to: Leaf<FolderSetting>,
    }
}

section! {
    /// Conditions of a route.
    Match {
        /// Names of listeners.
        listeners: OneOrMore<Text>,
        /// Names of users, or patterns ("pay-*"). With user_at_backend: of the name before the last `@`.
        users: OneOrMore<UserGlob>,
        /// Groups of users whom the gateway authenticates.
        groups: OneOrMore<Text>,
        /// Networks of clients.
        sources: OneOrMore<IpNet>,
        /// Server names that clients send under TLS (SNI): names, or "*.NAME" for any one label. Clients
        /// without TLS or a server name, and SFTP clients, never match.
        server_names: OneOrMore<ServerNamePattern>,
    }
}
