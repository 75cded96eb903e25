//! The keys of the configuration file and their descriptions.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::algorithms::Algorithms;
use super::leaf::{Leaf, OneOrMore};
use super::read::{Many, Named, OneOrMany, section};
use super::values::*;
use crate::backend::ftp::{DataMode, Dialect, PassiveCommand, UncheckedRename};
use crate::backend::group::Choice;
use crate::backend::{PartialUploads, SendProxyProtocol, UnsupportedAttributes};
use crate::data::ClientMatch;
use crate::net::tls::{CertificateUser, SessionReuse};
use crate::op::{Greeting, RemotePath};
use crate::policy::Names;
use crate::route::{FolderSetting, RootSetting};

mod audit;
mod expect;
mod guard;
mod login;
mod login_hook;
mod operators;
mod policy;
mod users;

pub(super) use audit::*;
pub(super) use expect::*;
pub(super) use guard::*;
pub(super) use login::*;
pub(super) use login_hook::*;
pub(super) use operators::*;
pub(super) use policy::*;
pub(super) use users::*;

section! {
    /// The configuration of a lockgate gateway.
    File {
        /// Where clients connect, by name.
        [required] listeners: Named<Listener>,
        /// Pools of passive data ports, by name.
        data_ports: Named<Pool>,
        /// The servers behind the gateway, by name.
        [required] backends: Named<Backend>,
        /// Users whom the gateway authenticates, by name.
        users: Named<User>,
        /// Programs that decide about logins of routes with `authenticate: http`, by name.
        login_hooks: Named<LoginHook>,
        /// A file with more of them under `users`, or a list of files. Read again when they have changed:
        /// the users of a file with an error stay as they were.
        users_file: OneOrMore<PathName>,
        /// The backend for each user, chosen at login. The first match applies; a login without a match
        /// is refused.
        [required] routes: Many<Route>,
        /// What users may do. Absent: whatever the backend allows.
        policy: Policy,
        /// Files that partners are expected to deliver, each by a time of day.
        expect: Many<Expect>,
        /// Limits and timeouts. Absent: the defaults.
        limits: Limits,
        /// What a reload does with open sessions. keep (default): they keep what they had. judge: those whose
        /// login would now be refused or lead elsewhere end after their transfers; the others go on under the
        /// new rules.
        on_reload: Leaf<OnReload>,
        /// How the gateway ends. Absent: the defaults.
        drain: Drain,
        /// Delays and bans after failed logins. Absent: the defaults.
        login_guard: LoginGuard,
        /// The folder for what a restart must not lose: the daily quotas of `policy.limits`, and which files of
        /// `expect` have arrived. It must exist. Absent: they start at zero.
        state_dir: Leaf<PathName>,
        /// The address of /metrics, /live and /ready, and which users have metrics. Absent: none.
        metrics: Metrics,
        /// The socket of the commands that ask the running gateway, such as `lockgate ports`, and the address of
        /// the status page. Absent: none.
        admin: Admin,
        /// What is logged, and how. Absent: the defaults.
        log: Log,
        /// Where records of logins, operations, transfers and sessions go, for an audit: one output, or a
        /// list of them. Absent: none.
        audit: OneOrMany<Audit>,
    }
}

section! {
    /// Addresses that clients connect to.
    Listener {
        /// The protocol: ftp (with or without TLS) or sftp.
        [required] protocol: Leaf<ListenerProtocol>,
        /// IP address and port to listen on, or a list of them. Port 0: any free port.
        [required] address: OneOrMore<SocketAddr>,
        /// The text that clients read before the login, of one or more lines: in the 220 reply of FTP, and
        /// as the SSH banner. At most 8 KiB, and 500 bytes a line. Absent: a 220 reply of the gateway's
        /// own, and no banner.
        greeting: Leaf<Greeting>,
        /// ftp: TLS towards clients. Absent: none.
        tls: ListenerTls,
        /// ftp: the pool that passive data connections use. Absent: PASV and EPSV are refused.
        data_ports: Leaf<Text>,
        /// ftp: active mode (PORT and EPRT). Absent: refused.
        active: Active,
        /// sftp: the file with the host's private key (OpenSSH or PEM format, not encrypted), or a list
        /// with one of each kind.
        host_keys: OneOrMore<FileName>,
        /// sftp: a file with a host key's certificate (`ssh-keygen -s CA -h`), or a list with one for each,
        /// for clients that trust the authority (@cert-authority). Absent: none.
        host_certificates: OneOrMore<FileName>,
        /// sftp: a file with the public keys of certificate authorities, one a line, or a list of files. Their
        /// user certificates are accepted for `users` that they name as principals. Absent: none.
        trusted_user_ca_keys: OneOrMore<FileName>,
        /// sftp: a file with revoked keys, or a list of files: public keys or SHA-256 fingerprints, one a
        /// line, or a key revocation list (`ssh-keygen -k`). They are read again when they change; while one
        /// cannot be read, no key is accepted.
        revoked_keys: OneOrMore<FileName>,
        /// sftp: the authentication methods that are offered: publickey, password, or a list. Absent: those
        /// with which a user of the listener's routes can log in.
        methods: OneOrMore<Method>,
        /// sftp: when new session keys are negotiated. Absent: the defaults.
        rekey: Rekey,
        /// sftp: how long a client may be silent before a keepalive is sent; after three without an
        /// answer the connection ends. Default: 60s.
        keepalive: Leaf<Positive>,
        /// sftp: channels open at once on one connection. Default: 10.
        channels: Leaf<UpTo<1000>>,
        /// sftp: modern (default); strict, which passes ssh-audit without a finding; or legacy: also
        /// SHA-1, CBC, ssh-rsa and finite fields, for clients that support nothing better. Or one of
        /// them as `base`, with further algorithms to `add`.
        algorithms: Algorithms,
        /// Networks of load balancers. All connections must come from there and start with a PROXY
        /// protocol header (version 1 or 2, before TLS) with the client's address. Absent: clients
        /// connect directly, without a header.
        proxy_protocol: OneOrMore<IpNet>,
    }
    hints [
        "host_key" => "write host_keys, with one file or a list",
        "port" => "the port is part of `address`",
        "banner" => "write greeting",
        "host_certificate" => "write host_certificates, with one file or a list",
        "trusted_ca" => "write trusted_user_ca_keys",
        "passive_ports" => "passive ports are defined in a pool; name it with `data_ports`",
    ]
}

section! {
    /// When new SSH session keys are negotiated, whichever comes first.
    Rekey {
        /// After this much data in one direction, from 1MiB to 1GiB. Default: 1GiB.
        bytes: Leaf<RekeyBytes>,
        /// After this time. Default: 1h.
        time: Leaf<Positive>,
    }
}

section! {
    /// TLS towards clients.
    ListenerTls {
        /// none, optional (AUTH TLS is offered), required (AUTH TLS is required before the login), or
        /// implicit (TLS from the first byte).
        [required] mode: Leaf<ListenerTlsMode>,
        /// PEM file with the certificate and its chain.
        certificate: Leaf<FileName>,
        /// PEM file with the certificate's private key.
        key: Leaf<FileName>,
        /// Instead of certificate and key: several, chosen by the server name that the client sends (SNI)
        /// among the names in the certificates. The first is for clients without a name, or with
        /// another.
        certificates: Many<ListenerCertificate>,
        /// resumed: a data connection must resume its control connection's TLS session, so that nobody
        /// else can take the transfer. any (default): not required.
        data_sessions: Leaf<DataSessions>,
        /// Whether an upload that ends without TLS's close_notify is treated as incomplete. Default: true.
        require_close_notify: Leaf<bool>,
        /// Whether clients need a certificate: none (default), optional, or required. If they have one, each
        /// control connection begins a new TLS session, and a data connection must resume it or have the
        /// same certificate.
        client_certificate: Leaf<ClientCertificateMode>,
        /// PEM file with the authorities that issue the clients' certificates, or a list of files.
        client_ca: OneOrMore<FileName>,
        /// File with the certificates that these authorities have revoked (CRL, PEM or DER), or a list of
        /// files. Each authority must have one; after its date for the next update none of its certificates
        /// is accepted. A file that changes is read again at once.
        client_crl: OneOrMore<FileName>,
        /// The field of a client's certificate that names the user, who can log in under that name only:
        /// common-name (default: of the subject), email, dns or upn (of the subject alternative name), or
        /// any, for certificates that are not tied to users.
        certificate_user: Leaf<CertificateUser>,
    }
    hints [
        "client_crls" => "write client_crl, with one file or a list",
        "client_cas" => "write client_ca, with one file or a list",
    ]
}

section! {
    /// A certificate with its key.
    ListenerCertificate {
        /// PEM file with the certificate and its chain.
        [required] certificate: Leaf<FileName>,
        /// PEM file with the certificate's private key.
        [required] key: Leaf<FileName>,
    }
}

section! {
    /// Active mode towards clients.
    Active {
        /// Whether PORT and EPRT are served: the gateway connects to the client, to its own address
        /// and ports from 1024 only.
        [required] allowed: Leaf<bool>,
        /// The source ports of data connections, for firewalls that require them: a range
        /// ("20000-20009"), or one port, such as 20, which needs CAP_NET_BIND_SERVICE. Two connections
        /// to the same port of a client need two. Absent: any port.
        source_ports: Leaf<PortRange>,
    }
}

section! {
    /// A pool of passive data ports.
    Pool {
        /// First and last port, both included ("50000-50099"), or one port.
        [required] range: Leaf<PortRange>,
        /// Addresses that every port listens on. Default: those of the listeners that use the pool; also
        /// 0.0.0.0 if a backend uses it, or nothing does.
        listen: OneOrMore<IpAddr>,
        /// The address and ports in replies to PASV and EPSV, by the client's network; the first match
        /// applies. Absent: the address that the client connected to.
        advertise: Many<Advertise>,
        /// What a data connection's source must share with its control connection's: address (default),
        /// network (the first 24 bits of an IPv4 address, 48 of an IPv6 address: for clients behind a
        /// carrier's NAT), or session (only the TLS session that it resumes).
        client_match: Leaf<ClientMatch>,
        /// Ports that are reserved for one client address at a time. Default: 1000.
        reservations_per_address: Leaf<Count>,
        /// How long PASV and EPSV wait for a free port before they are refused. Default: 10s.
        wait: Leaf<Duration>,
        /// Networks of load balancers. All data connections must come from there and start with a PROXY
        /// protocol header, as on a listener. Absent: clients connect directly, without a header.
        proxy_protocol: OneOrMore<IpNet>,
        /// This replica's part of the range, where several replicas share a configuration. Absent: the
        /// whole range.
        slice: Slice,
    }
}

section! {
    /// The address and ports for clients of a network.
    Advertise {
        /// The clients' network. Absent: every client.
        clients: Leaf<IpNet>,
        /// The address in PASV replies, or a name, which is looked up every minute (of several addresses
        /// of a family the lowest is used). `{index}` in it is replaced by the index of the replica's
        /// slice. Absent: the address that the client connected to.
        address: Leaf<AdvertisedHost>,
        /// Instead of address: the environment variable with it, such as the address of a pod's node.
        address_env: Leaf<Text>,
        /// What is added to the port number, where NAT changes ports. Default: 0.
        port_offset: Leaf<PortOffset>,
        /// Instead of port_offset: the ports that clients connect to, one for each port of the whole
        /// range, in the same order.
        ports: Leaf<PortRange>,
    }
}

section! {
    /// A replica's part of a range: slices are adjacent, in the order of their index. If the range does
    /// not divide evenly, the first slices have one port more.
    Slice {
        /// The number of slices: the maximum number of replicas, at most the number of ports.
        [required] of: Leaf<UpTo<65535>>,
        /// The environment variable with the replica's index, from 0, or with a name that ends in -N,
        /// such as a StatefulSet's pod name.
        [required] index_env: Leaf<Text>,
    }
}

section! {
    /// A server behind the gateway, or a folder of this machine.
    Backend {
        /// ftp (with or without TLS), sftp, local (a folder), or group (several backends that stand in for
        /// each other).
        [required] protocol: Leaf<BackendProtocol>,
        /// ftp, sftp: the server's name or address, with the port unless it is the usual one (ftp 21,
        /// implicit TLS 990, sftp 22); or a list of servers that stand in for each other, see `choose`.
        address: OneOrMore<HostPort>,
        /// group: the names of its backends (ftp or sftp), in order.
        servers: OneOrMore<Text>,
        /// ftp, sftp with several addresses, and group: which server a session gets: failover (default: the
        /// first that is available), round-robin, least-sessions, user (the same for each user) or source (the
        /// same for each client address). A user with an interrupted upload gets the server that has its part.
        choose: Leaf<Choice>,
        /// ftp, sftp: how the server is checked. Servers with others that stand in for them are checked
        /// without it, too. A server whose check or login fails gets no sessions until it passes two checks.
        health: Health,
        /// ftp, sftp: the most sessions at each server. Absent: no limit.
        sessions: Leaf<Count>,
        /// ftp, sftp: the address of this machine that connections to the server come from. Absent: the
        /// system chooses.
        source_address: Leaf<IpAddr>,
        /// ftp: how the server reads names and commands: unix (default), or opaque, for z/OS, OS/400 and OpenVMS:
        /// paths, CWD, SITE and commands that the gateway does not know are relayed as FTP clients write them. SFTP
        /// clients cannot use such a server, and rules have no `paths` there.
        dialect: Leaf<Dialect>,
        /// ftp: TLS towards the server. Absent: none.
        tls: BackendTls,
        /// ftp: passive (default) or active data connections.
        data_mode: Leaf<DataMode>,
        /// ftp, with `data_mode: active`: the pool whose ports the server connects to. Its `advertise`
        /// applies by the server's address.
        data_ports: Leaf<Text>,
        /// ftp: the command for a passive port: auto (default: EPSV, and PASV where that fails), epsv,
        /// or pasv (EPSV nevertheless with IPv6 servers).
        passive_command: Leaf<PassiveCommand>,
        /// ftp: whether the address of a PASV reply is used if it differs from the server's. Default:
        /// false.
        trust_pasv_address: Leaf<bool>,
        /// ftp: an SFTP client's plain rename must not overwrite. If the server does not let the account
        /// check that: allow (default: the server decides, most overwrite), or refuse.
        unchecked_rename: Leaf<UncheckedRename>,
        /// ftp: the most control connections of one session; each file that an SFTP client has open uses
        /// one. From 1 to 64. Default: 4.
        connections: Leaf<UpTo<64>>,
        /// ftp: when an SFTP client overwrites only the start of a file, at most this much of its tail is
        /// copied to the new file; if the tail is longer, the old file stays. Up to 1024GiB; 0: nothing
        /// is copied. Default: 64MiB.
        tail_copy_max: Leaf<Bytes>,
        /// sftp: the SHA-256 fingerprint of the server's host key ("SHA256:…"), or a list.
        host_key: OneOrMore<Fingerprint>,
        /// sftp: instead of host_key, a file in OpenSSH's known_hosts format with the server's key.
        known_hosts: Leaf<FileName>,
        /// sftp: instead of host_key, accepts every host key: anyone between the gateway and the server
        /// can read passwords and files. Default: false.
        danger_accept_any_host_key: Leaf<bool>,
        /// sftp: modern (default); strict, which passes ssh-audit without a finding; or legacy: also
        /// SHA-1, CBC, ssh-rsa and small groups, for servers that support nothing better. Or one of them
        /// as `base`, with further algorithms to `add`.
        algorithms: Algorithms,
        /// sftp: how long the server may be silent before a keepalive is sent. Default: 30s.
        keepalive: Leaf<Positive>,
        /// Which connections to the server start with a PROXY protocol header (version 2, before TLS)
        /// with the client's address: none (default), control, or all (ftp: also passive data
        /// connections).
        send_proxy_protocol: Leaf<SendProxyProtocol>,
        /// ftp, sftp: the user's folder after login, for servers that do not report it (PWD, REALPATH) as
        /// an absolute path. Absent: what the server reports.
        login_folder: Leaf<RemotePath>,
        /// ftp, sftp: how the server reads names, for the rules of `policy`: exact (default), or windows:
        /// without case, and without dots and spaces at the end. Names with "\\", ":" or "~" and a digit are
        /// refused then.
        names: Leaf<Names>,
        /// What happens to an incomplete upload: keep (default), delete, or temporary-name.
        partial_uploads: Leaf<PartialUploads>,
        /// ftp, sftp: the reply when the server cannot set times, permissions or owners: refuse (default:
        /// an error), or ignore (success; for clients that otherwise abort the upload).
        unsupported_attributes: Leaf<UnsupportedAttributes>,
        /// ftp, sftp: pass-through (default: the client's own name and password), or an account of the
        /// gateway.
        login: Login,
        /// ftp, sftp: the most connection attempts to one of the addresses at once, from 1 to 1000;
        /// further ones wait. If several backends share an address, the lowest value applies. Default: 8.
        connects_at_once: Leaf<UpTo<1000>>,
        /// ftp, sftp: timeout for connecting. Default: 10s.
        connect_timeout: Leaf<Positive>,
        /// ftp, sftp: timeout for one reply of the server. Default: 60s.
        reply_timeout: Leaf<Positive>,
        /// local: the folder, which must exist.
        folder: Leaf<PathName>,
    }
    hints [
        "port" => "the port is part of `address`",
        "host" => "the host is part of `address`",
        "host_keys" => "write host_key, with one fingerprint or a list",
        "group" => "write protocol: group, and servers with the names of the backends",
        "members" => "write servers, with the names of the backends",
        "health_check" => "write health",
        "timeout" => "write connect_timeout or reply_timeout",
        "private_key" => "it belongs to the account: login: { user: …, private_key: … }",
    ]
}

section! {
    /// How a server is checked: up to its greeting, with TLS or the SSH key exchange as configured, and
    /// optionally with a login.
    Health {
        /// From one check to the next, from 1s. Default: 10s.
        every: Leaf<Positive>,
        /// For a whole check. Default: 5s.
        timeout: Leaf<Positive>,
        /// Each check logs in with this account and lists its folder. Absent: no login.
        login: Account,
    }
}

section! {
    /// TLS towards a server.
    BackendTls {
        /// none, required (AUTH TLS), or implicit (TLS from the first byte).
        [required] mode: Leaf<BackendTlsMode>,
        /// PEM file with the certificate authorities to trust. Absent: the system's.
        ca: Leaf<FileName>,
        /// The name in the server's certificate. Default: the host of the first address.
        server_name: Leaf<Text>,
        /// PEM file with the gateway's own certificate and its chain, for servers that ask for a client
        /// certificate.
        certificate: Leaf<FileName>,
        /// PEM file with that certificate's private key.
        key: Leaf<FileName>,
        /// auto (default): data connections resume the control connection's session. none: they do not.
        session_reuse: Leaf<SessionReuse>,
        /// Accepts every certificate: anyone between the gateway and the server can read passwords and
        /// files. Default: false.
        danger_accept_any: Leaf<bool>,
    }
}

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

section! {
    /// Limits and timeouts.
    Limits {
        /// The most sessions. Default: 10000.
        sessions: Leaf<Count>,
        /// The most sessions of one client address. Default: 50.
        sessions_per_address: Leaf<Count>,
        /// Failed logins before a session is closed. Default: 3.
        login_attempts: Leaf<Count>,
        /// From the connection to a successful login. Default: 60s.
        login_timeout: Leaf<Positive>,
        /// Without a command and without a transfer. Default: 5m.
        idle_timeout: Leaf<Positive>,
        /// For opening a data connection, including TLS. Default: 30s.
        data_connect_timeout: Leaf<Positive>,
        /// Without a byte in a transfer. Default: 2m.
        stall_timeout: Leaf<Positive>,
        /// The older name of `drain.timeout`.
        drain_timeout: Leaf<Duration>,
    }
}

section! {
    /// The end of the gateway: SIGTERM, SIGINT or `lockgate drain`.
    Drain {
        /// New sessions are still accepted for so long, while `/ready` answers 503: load balancers learn late
        /// that the gateway ends. 0s where nothing sends clients elsewhere. Default: 5s.
        accept_for: Leaf<Duration>,
        /// After that, for running transfers; 0s aborts them at once. Default: 30s.
        timeout: Leaf<Duration>,
    }
}
