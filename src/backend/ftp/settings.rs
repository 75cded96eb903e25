//! The settings of an `ftp` backend.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{PartialUploads, SendProxyProtocol, UnsupportedAttributes};
use crate::net::tls::ClientTls;
use crate::op::RemotePath;

/// An `ftp` backend as configured.
#[derive(Clone)]
pub struct Settings {
    /// The backend's name in the configuration, for messages.
    pub name: String,
    /// `host:port`, resolved anew at each login; a list is tried in order.
    pub addresses: Vec<String>,
    pub tls: TlsMode,
    pub data_mode: DataMode,
    /// Name of the pool whose ports the server connects to, where `data_mode` is active.
    pub data_ports: Option<String>,
    pub passive_command: PassiveCommand,
    /// Takes the address of a PASV reply even where it is not the control peer's.
    pub trust_pasv_address: bool,
    /// Where the login puts the user; `None`: what the server tells.
    pub login_folder: Option<RemotePath>,
    pub partial_uploads: PartialUploads,
    /// Of a file whose begin an SFTP client writes anew: the most bytes behind that, which are copied
    /// within the server.
    pub tail_copy_max: u64,
    pub unsupported_attributes: UnsupportedAttributes,
    /// What becomes of a rename that is not to overwrite, where the account may not look whether it would.
    pub unchecked_rename: UncheckedRename,
    /// Where the server is told in PROXY protocol headers who the client is.
    pub send_proxy_protocol: SendProxyProtocol,
    /// The most control connections of one session, at least 1. Each open file of an SFTP client
    /// needs one; FTP clients never need a second.
    pub connections: usize,
    /// The most control connections that are being made to each address at once, at least 1.
    pub connects_at_once: usize,
    /// For the TCP connection and, again, for the TLS handshake.
    pub connect_timeout: Duration,
    /// For one reply on the control connection.
    pub reply_timeout: Duration,
    /// For bytes of a file to move, of transfers that the backend itself drives.
    pub stall_timeout: Duration,
    pub timing: Timing,
}

impl Settings {
    /// `connections` where nothing is configured.
    pub const CONNECTIONS: usize = 4;
    /// `tail_copy_max` where nothing is configured.
    pub const TAIL_COPY_MAX: u64 = 64 * 1024 * 1024;
}

/// Intervals that no configuration key sets.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For the rest of an unsolicited reply, and for another reply if the first one cannot answer the
    /// command.
    pub surplus_reply_timeout: Duration,
    /// For the reply to PWD at login if commands are not pipelined. A server that takes longer is not
    /// asked.
    pub pwd_timeout: Duration,
    /// A server that opens a passive port faster than this is not asked for one ahead of a transfer:
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

/// How the control connection is protected; the data connections follow it.
#[derive(Clone)]
pub enum TlsMode {
    None,
    /// AUTH TLS (RFC 4217), required.
    Explicit(Arc<ClientTls>),
    Implicit(Arc<ClientTls>),
}

/// How a server is asked for a passive port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PassiveCommand {
    /// With EPSV or, where that fails, with PASV; with PASV first where its address is trusted.
    #[default]
    Auto,
    Epsv,
    /// IPv6 servers are asked with EPSV all the same.
    Pasv,
}

/// What becomes of a rename that is not to overwrite a file, where the server does not let the account
/// know whether it would. FTP's RNTO overwrites at most servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UncheckedRename {
    /// The server decides.
    #[default]
    Allow,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataMode {
    #[default]
    Passive,
    Active,
}
