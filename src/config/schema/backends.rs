//! The keys of `backends`.

use std::net::IpAddr;

use super::{Account, Login};
use crate::backend::ftp::{DataMode, Dialect, PassiveCommand, UncheckedRename};
use crate::backend::group::Choice;
use crate::backend::{PartialUploads, SendProxyProtocol, UnsupportedAttributes};
use crate::config::algorithms::Algorithms;
use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::read::section;
use crate::config::values::*;
use crate::net::tls::SessionReuse;
use crate::op::RemotePath;
use crate::policy::Names;

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
