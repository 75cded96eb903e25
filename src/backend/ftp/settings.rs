//! The settings of an `ftp` backend.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{PartialUploads, SendProxyProtocol, UnsupportedAttributes};
use crate::net::tls::ClientTls;
use crate::op::RemotePath;
use crate::policy::Names;

/// An `ftp` backend as configured.
#[derive(Clone)]
pub struct Settings {
    /// The backend's name in the configuration, for messages.
    pub name: String,
    /// `host:port`, resolved at each login; a list is tried in order.
    pub addresses: Vec<String>,
    /// How the server reads names and commands (`dialect`).
    pub dialect: Dialect,
    /// TLS on the control and data connections (`tls.mode`).
    pub tls: TlsMode,
    /// Who opens data connections (`data_mode`).
    pub data_mode: DataMode,
    /// Name of the pool whose ports the server connects to, where `data_mode` is active.
    pub data_ports: Option<String>,
    /// EPSV or PASV (`passive_command`).
    pub passive_command: PassiveCommand,
    /// Connects to the address in a PASV reply even if it is not the control connection's.
    pub trust_pasv_address: bool,
    /// The login directory; `None`: as reported by the server.
    pub login_folder: Option<RemotePath>,
    /// How the server reads names (`names`).
    pub names: Names,
    /// Whether policy rules depend on paths: a server with names of Windows is noted then.
    pub has_path_rules: bool,
    /// What becomes of the file of an aborted upload (`partial_uploads`).
    pub partial_uploads: PartialUploads,
    /// For a file whose beginning an SFTP client rewrites: the most bytes after that, which are
    /// copied.
    pub tail_copy_max: u64,
    /// The policy for attributes that the server cannot set (`unsupported_attributes`).
    pub unsupported_attributes: UnsupportedAttributes,
    /// A rename that must not overwrite, if the account cannot check the target.
    pub unchecked_rename: UncheckedRename,
    /// On which connections PROXY protocol headers are sent.
    pub send_proxy_protocol: SendProxyProtocol,
    /// The most control connections of one session, at least 1. Each open file of an SFTP client
    /// needs one; FTP clients never need a second.
    pub connections: usize,
    /// The most control connections being established to each address at once, at least 1.
    pub connects_at_once: usize,
    /// The address of this machine that connections come from; `None`: the system chooses it.
    pub source_address: Option<IpAddr>,
    /// For the TCP connection and, again, for the TLS handshake.
    pub connect_timeout: Duration,
    /// For the greeting, where another server can be tried. `None`: as for any reply.
    pub greeting_timeout: Option<Duration>,
    /// For one reply on the control connection.
    pub reply_timeout: Duration,
    /// For progress of transfers that the backend itself drives.
    pub stall_timeout: Duration,
    /// Timeouts that tests shorten.
    pub timing: Timing,
}

impl Settings {
    /// Whether a server with names of Windows is a danger: rules have paths, and are matched exactly.
    pub fn minds_names_of_windows(&self) -> bool {
        self.has_path_rules && self.names == Names::Exact
    }

    /// The default of `connections`.
    pub const DEFAULT_CONNECTIONS_MAX: usize = 4;
    /// The default of `tail_copy_max`.
    pub const DEFAULT_TAIL_COPY_MAX: u64 = 64 * 1024 * 1024;
}

/// Intervals that no configuration key sets.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For the rest of an unsolicited reply, and for another reply if the first one cannot answer the
    /// command.
    pub surplus_reply_timeout: Duration,
    /// For the reply to PWD at login if commands are not pipelined. A server that takes longer is not
    /// sent PWD again.
    pub pwd_timeout: Duration,
    /// No port is requested ahead of a transfer from a server that opens a passive port faster than this:
    /// that would cost more than it saves.
    pub near_server_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            surplus_reply_timeout: Duration::from_secs(1),
            pwd_timeout: Duration::from_secs(10),
            near_server_max: Duration::from_millis(1),
        }
    }
}

/// TLS of the control connection; data connections follow it.
#[derive(Clone)]
pub enum TlsMode {
    /// Plain FTP.
    None,
    /// AUTH TLS (RFC 4217), required.
    Explicit(Arc<ClientTls>),
    /// TLS from the first byte on, as on port 990.
    Implicit(Arc<ClientTls>),
}

/// How a server reads names and commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Paths as on Unix, and the commands that the gateway knows.
    #[default]
    Unix,
    /// Only the client and the server understand them: they are relayed.
    Opaque,
}

/// The command for passive data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PassiveCommand {
    /// EPSV, then PASV if that fails; PASV first if its address is trusted.
    #[default]
    Auto,
    /// EPSV only (RFC 2428).
    Epsv,
    /// IPv6 servers still get EPSV.
    Pasv,
}

/// A rename that must not overwrite, if the server does not let the account check whether the
/// target exists. RNTO overwrites at most servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UncheckedRename {
    /// The server decides.
    #[default]
    Allow,
    /// The rename is refused.
    Refuse,
}

/// Who opens data connections (RFC 959 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataMode {
    /// The gateway, with EPSV or PASV.
    #[default]
    Passive,
    /// The server, with PORT or EPRT.
    Active,
}
