//! The configuration file: which keys there are and what they mean.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value as Json, json};

use super::algorithms::Algorithms;
use super::leaf::{Leaf, OneOrMore, Value, Wrong};
use super::nearest::nearest;
use super::read::{Many, Named, Read, section};
use super::report::{At, Problems};
use super::tree::{Kind, Node};
use super::values::*;
use super::{LogFormat, LogLevel};
use crate::backend::ftp::{DataMode, PassiveCommand, UncheckedRename};
use crate::backend::{PartialUploads, SendProxyProtocol, UnsupportedAttributes};
use crate::data::{ClientMatch, Host};
use crate::net::tls::SessionReuse;
use crate::op::RemotePath;
use crate::route::Root;

section! {
    /// The configuration of a lockgate gateway.
    File {
        /// The doors that clients come to, by name.
        [required] listeners: Named<Listener>,
        /// Pools of passive data ports, by name.
        data_ports: Named<Pool>,
        /// The servers behind the gateway, by name.
        [required] backends: Named<Backend>,
        /// Users whom the gateway itself knows, by name.
        users: Named<User>,
        /// Who goes to which backend: chosen once, at login. The first match counts; a login that
        /// matches none is refused.
        [required] routes: Many<Route>,
        /// Caps and deadlines.
        limits: Limits,
        /// Where /metrics, /live and /ready are served. Absent: nowhere.
        metrics: Metrics,
        /// Where operators look at what is going on (`lockgate ports`). Absent: nowhere.
        admin: Admin,
        /// What is logged, and how.
        log: Log,
    }
    later ["policy", "audit"]
}

section! {
    /// A client_info that clients come to.
    Listener {
        /// What clients speak here.
        [required] protocol: Leaf<ListenerProtocol>,
        /// IP address and port to listen on, or a list of them. Port 0: one that is free.
        [required] address: OneOrMore<SocketAddr>,
        /// ftp: TLS towards clients. Absent: none.
        tls: ListenerTls,
        /// ftp: the pool that passive data connections use. Absent: PASV and EPSV are refused.
        data_ports: Leaf<Text>,
        /// ftp: active mode (PORT and EPRT).
        active: Active,
        /// sftp: the file with the private key that shows clients who the server is (OpenSSH or PEM
        /// format, not encrypted), or a list with one of each kind.
        host_keys: OneOrMore<FileName>,
        /// sftp: when new session keys are agreed on.
        rekey: Rekey,
        /// sftp: without a byte from the client before it is asked whether it lives; three unanswered
        /// end the connection. Default: 60s.
        keepalive: Leaf<Positive>,
        /// sftp: channels open at once on one connection. Default: 10.
        channels: Leaf<UpTo<1000>>,
        /// sftp: modern (default); strict, what ssh-audit has nothing to say about; or legacy: also
        /// SHA-1, CBC, ssh-rsa and finite fields, for clients that know nothing better. Or one of them
        /// as `base`, and what is added to it.
        algorithms: Algorithms,
        /// Networks of load balancers. All connections must come from there and begin with a PROXY
        /// protocol header (version 1 or 2, before TLS), which says who the client is. Absent: clients
        /// connect themselves, and a header is no welcome.
        proxy_protocol: OneOrMore<IpNet>,
    }
    hints [
        "host_key" => "write host_keys, with one file or a list",
        "port" => "the port is a part of `address`",
        "passive_ports" => "passive ports are a pool of their own; `data_ports` names it",
    ]
}

section! {
    /// When new SSH session keys are agreed on, whichever comes first.
    Rekey {
        /// After so much in one direction, from 1MiB to 1GiB. Default: 1GiB.
        bytes: Leaf<RekeyBytes>,
        /// After so long. Default: 1h.
        time: Leaf<Positive>,
    }
}

section! {
    /// TLS towards clients.
    ListenerTls {
        /// none, optional (AUTH TLS is offered), required (AUTH TLS comes before the login), or
        /// implicit (TLS from the first byte).
        [required] mode: Leaf<ListenerTlsMode>,
        /// PEM file with the certificate and its chain.
        certificate: Leaf<FileName>,
        /// PEM file with the certificate's private key.
        key: Leaf<FileName>,
        /// resumed: a data connection must resume its control connection's TLS session, so that
        /// nobody can steal a transfer. any (default): it need not.
        data_sessions: Leaf<DataSessions>,
        /// Whether an upload that ends without TLS's close_notify counts as cut. Default: true.
        require_close_notify: Leaf<bool>,
    }
    later ["client_certificate", "client_ca"]
}

section! {
    /// Active mode towards clients.
    Active {
        /// Whether PORT and EPRT are served: the gateway connects to the client, to its own address
        /// and ports from 1024 only. Default: false.
        [required] allowed: Leaf<bool>,
        /// The ports that data connections come from, for firewalls that want to know: a range
        /// ("20000-20009"), or one port, as 20, which needs CAP_NET_BIND_SERVICE. Two connections to
        /// the same port of a client need two. Absent: any port.
        source_ports: Leaf<PortRange>,
    }
}

section! {
    /// A pool of passive data ports.
    Pool {
        /// First and last port, both included ("50000-50099"), or one port.
        [required] range: Leaf<PortRange>,
        /// Addresses that every port listens on. Default: those of the listeners that use the pool;
        /// 0.0.0.0, too, where a backend uses it, or nobody.
        listen: OneOrMore<IpAddr>,
        /// Which address and ports a client is told, by the network that it comes from; the first
        /// match counts. Absent: the address that the client itself connected to.
        advertise: Many<Advertise>,
        /// What a data connection's source must have in common with its control connection's:
        /// address (default), network (the first 24 bits of an IPv4 address, 48 of an IPv6 address:
        /// for clients behind a carrier's translation), or session (nothing: the TLS session that it
        /// resumes tells whose it is).
        client_match: Leaf<ClientMatch>,
        /// Ports that wait for connections of one client address at a time. Default: 1000.
        reservations_per_address: Leaf<Count>,
        /// How long PASV and EPSV wait for a port to become free before they are refused. Default:
        /// 10s.
        wait: Leaf<Duration>,
        /// Networks of load balancers. All data connections must come from there and begin with a PROXY
        /// protocol header, as on a listener.
        proxy_protocol: OneOrMore<IpNet>,
        /// The part of the range that is this replica's, where several run with one configuration.
        /// Absent: all of it.
        slice: Slice,
    }
}

section! {
    /// What clients are told of where data ports are.
    Advertise {
        /// The clients' network. Absent: every client.
        clients: Leaf<IpNet>,
        /// The address that PASV names to them, or a name, which is looked up every minute (of
        /// several addresses of a family the lowest counts). Absent: the address that they connected
        /// to.
        address: Leaf<Host>,
        /// What is added to the port that listens, where a translator changes ports; from -65534 to
        /// 65534.
        port_offset: Leaf<PortOffset>,
        /// Instead of port_offset: the ports that clients connect to, as many as the pool's whole
        /// range has and in the same order.
        ports: Leaf<PortRange>,
    }
}

section! {
    /// A replica's part of a range: slices lie side by side in the order of their index. What does not
    /// divide evenly goes to the first ones, a port each.
    Slice {
        /// How many slices there are: the most replicas there will ever be, at most as many as ports.
        [required] of: Leaf<UpTo<65535>>,
        /// The environment variable that holds the replica's index, from 0; a name that ends in -N
        /// is taken too, such as a StatefulSet's pod has.
        [required] index_env: Leaf<Text>,
    }
}

section! {
    /// A server behind the gateway, or a folder of this machine.
    Backend {
        /// ftp (with or without TLS), sftp, or local (a folder).
        [required] protocol: Leaf<BackendProtocol>,
        /// ftp, sftp: the server's name or address, with the port unless it is the usual one (ftp 21,
        /// implicit TLS 990, sftp 22); or a list, tried in order.
        address: OneOrMore<HostPort>,
        /// ftp: TLS towards the server. Absent: none.
        tls: BackendTls,
        /// ftp: passive (default) or active data connections.
        data_mode: Leaf<DataMode>,
        /// ftp, with `data_mode: active`: the pool whose ports the server connects to. Its `advertise`
        /// says what the server is told, by the server's address.
        data_ports: Leaf<Text>,
        /// ftp: how the server is asked for a passive port: auto (default: with EPSV, and with PASV
        /// where that fails), epsv, or pasv (IPv6 servers: EPSV all the same).
        passive_command: Leaf<PassiveCommand>,
        /// ftp: whether the address of a PASV reply is used where it is not the server's own.
        /// Default: false.
        trust_pasv_address: Leaf<bool>,
        /// ftp: what becomes of an SFTP client's plain rename, which is not to overwrite, where the server
        /// does not let the account look whether it would: allow (default: the server decides, most
        /// overwrite), or refuse.
        unchecked_rename: Leaf<UncheckedRename>,
        /// ftp: control connections of one session at most; each file that an SFTP client has open
        /// takes one. From 1 to 64. Default: 4.
        connections: Leaf<UpTo<64>>,
        /// ftp: where an SFTP client writes the begin of a file anew and leaves the rest, as much of the
        /// rest is copied to the new file at most; where there is more, the old file stays. Up to 1024GiB;
        /// 0: nothing is copied. Default: 64MiB.
        tail_copy_max: Leaf<Bytes>,
        /// sftp: the SHA-256 fingerprint of the server's host key ("SHA256:…"), or a list.
        host_key: OneOrMore<Fingerprint>,
        /// sftp: instead of host_key, a file in OpenSSH's known_hosts format with the server in it.
        known_hosts: Leaf<FileName>,
        /// sftp: instead of host_key, accepts every server: anybody between here and the server can
        /// read passwords and files. Default: false.
        danger_accept_any_host_key: Leaf<bool>,
        /// sftp: modern (default); strict, what ssh-audit has nothing to say about; or legacy: also
        /// SHA-1, CBC, ssh-rsa and small groups, for servers that know nothing better. Or one of them
        /// as `base`, and what is added to it.
        algorithms: Algorithms,
        /// sftp: without a byte from the server before it is asked whether it lives. Default: 30s.
        keepalive: Leaf<Positive>,
        /// Whether connections to the server begin with a PROXY protocol header (version 2, before TLS)
        /// that says who the client is: none (default), control, or all (ftp: passive data connections
        /// too).
        send_proxy_protocol: Leaf<SendProxyProtocol>,
        /// ftp, sftp: the folder where the login puts the user, for servers that do not tell it (PWD,
        /// REALPATH) as an absolute path. Absent: what the server tells.
        login_folder: Leaf<RemotePath>,
        /// What becomes of an upload that was cut: keep (default), delete, or temporary-name.
        partial_uploads: Leaf<PartialUploads>,
        /// ftp, sftp: what clients are told of times, permissions and owners that the server cannot set
        /// at all: refuse (default: that it cannot), or ignore (that it was done; for clients that give
        /// an upload up otherwise).
        unsupported_attributes: Leaf<UnsupportedAttributes>,
        /// ftp, sftp: pass-through (default: the client's own name and password), or an account of the
        /// gateway's.
        login: Login,
        /// ftp, sftp: control connections that are being made to one of the addresses at once, from 1
        /// to 1000; the others wait for their turn. Where several backends name an address, the least
        /// counts. Default: 8.
        connects_at_once: Leaf<UpTo<1000>>,
        /// ftp, sftp: for the connection to be made. Default: 10s.
        connect_timeout: Leaf<Positive>,
        /// ftp, sftp: for one answer of the server. Default: 60s.
        reply_timeout: Leaf<Positive>,
        /// local: the folder, which must exist.
        folder: Leaf<FileName>,
    }
    hints [
        "port" => "the port is a part of `address`",
        "host" => "the host is a part of `address`",
        "host_keys" => "write host_key, with one fingerprint or a list",
        "private_key" => "it belongs to the account: login: { user: …, private_key: … }",
    ]
}

section! {
    /// TLS towards a server.
    BackendTls {
        /// none, required (AUTH TLS), or implicit (TLS from the first byte).
        [required] mode: Leaf<BackendTlsMode>,
        /// PEM file with the authorities that may have signed the server's certificate. Absent: the
        /// system's.
        ca: Leaf<FileName>,
        /// The name in the server's certificate. Default: the host of the first address.
        server_name: Leaf<Text>,
        /// auto (default): data connections resume the control connection's session. none: they do
        /// not.
        session_reuse: Leaf<SessionReuse>,
        /// Accepts every certificate: anybody between here and the server can read passwords and
        /// files. Default: false.
        danger_accept_any: Leaf<bool>,
    }
}

section! {
    /// The account that the gateway uses at a server.
    Account {
        /// Its name.
        [required] user: Leaf<Text>,
        /// A file that holds its password and nothing else.
        password_file: Leaf<FileName>,
        /// The environment variable that holds its password.
        password_env: Leaf<Text>,
        /// sftp: instead of a password, the file with its private key (OpenSSH or PEM format).
        private_key: Leaf<FileName>,
        /// sftp: a file that holds the private key's passphrase and nothing else.
        passphrase_file: Leaf<FileName>,
    }
    hints [
        "password" => "a secret does not stand in this file; name it with password_file or password_env",
        "passphrase" => "a secret does not stand in this file; name it with passphrase_file",
    ]
}

section! {
    /// A user whom the gateway itself knows.
    User {
        /// What `lockgate hash-password` printed ("$argon2id$…"). Absent: no password lets the user in.
        password_hash: Leaf<Argon2id>,
        /// A file with public keys in OpenSSH's authorized_keys format, or a list of files: SFTP
        /// clients that hold one of them need no password.
        authorized_keys: OneOrMore<FileName>,
        /// Groups that routes can match.
        groups: OneOrMore<Text>,
    }
    hints ["password" => "write the hash that `lockgate hash-password` prints, as password_hash"]
}

section! {
    /// Who goes where.
    Route {
        /// Whom the route is for; every condition must hold. Absent: everybody.
        r#match: Match,
        /// Who checks the password: backend or gateway.
        [required] authenticate: Leaf<Authenticate>,
        /// The backend's name.
        [required] backend: Leaf<Text>,
        /// Folder of the backend that is put before every path of the client; a prefix, no jail: links
        /// at the server lead out of it. It must be there at each login. Or the word home: where the
        /// backend's login puts the user. Default: /.
        root: Leaf<Root>,
    }
}

section! {
    /// Conditions of a route.
    Match {
        /// Names of listeners.
        listeners: OneOrMore<Text>,
        /// Names of users, or patterns ("pay-*").
        users: OneOrMore<UserGlob>,
        /// Groups of users whom the gateway knows.
        groups: OneOrMore<Text>,
        /// Networks that clients come from.
        sources: OneOrMore<IpNet>,
    }
}

section! {
    /// Caps and deadlines.
    Limits {
        /// Sessions in all. Default: 10000.
        sessions: Leaf<Count>,
        /// Sessions of one client address. Default: 50.
        sessions_per_address: Leaf<Count>,
        /// Failed logins before a session is closed. Default: 3.
        login_attempts: Leaf<Count>,
        /// From the connection to a login. Default: 60s.
        login_timeout: Leaf<Positive>,
        /// Without a command, transfers not counted. Default: 5m.
        idle_timeout: Leaf<Positive>,
        /// For a data connection to be made, TLS included. Default: 30s.
        data_connect_timeout: Leaf<Positive>,
        /// Without a byte in a transfer. Default: 2m.
        stall_timeout: Leaf<Positive>,
        /// What running transfers get after SIGTERM; 0s cuts them at once. Default: 30s.
        drain_timeout: Leaf<Duration>,
    }
}

section! {
    /// Where measurements are served, read only.
    Metrics {
        /// IP address and port.
        [required] address: Leaf<SocketAddr>,
    }
}

section! {
    /// Where operators look, read only.
    Admin {
        /// Path of a Unix socket, which the gateway makes for its own user.
        [required] socket: Leaf<FileName>,
    }
    later ["address", "token_file"]
}

section! {
    /// What is logged, and how.
    Log {
        /// text (default) or json.
        format: Leaf<LogFormat>,
        /// error, warn, info (default), debug or trace.
        level: Leaf<LogLevel>,
    }
}

/// As whom a backend is entered.
pub(super) struct Login {
    pub at: At,
    /// `None` for `pass-through`.
    pub account: Option<Account>,
}

struct PassThrough;

impl Value for PassThrough {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "pass-through" {
            return Ok(Self);
        }
        let message = format!("\"{text}\" is neither pass-through nor an account (user: …)");
        Err(Wrong { message, meant: nearest(text, ["pass-through"]) })
    }

    fn schema() -> Json {
        json!({ "const": "pass-through" })
    }
}

impl Read for Login {
    fn read(node: &Node, at: At, problems: &mut Problems) -> Self {
        let account = match &node.kind {
            Kind::Map(_) => Some(Account::read(node, at.clone(), problems)),
            _ => {
                Leaf::<PassThrough>::read(node, at.clone(), problems);
                None
            }
        };
        Self { at, account }
    }

    fn at(&self) -> &At {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [PassThrough::schema(), Account::schema()] })
    }

    fn keys() -> Vec<&'static str> {
        Account::keys()
    }
}
