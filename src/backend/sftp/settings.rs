//! An `sftp` backend's settings.

use std::net::IpAddr;
use std::time::Duration;

use super::KnownHosts;
use crate::backend::{PartialUploads, UnsupportedAttributes};
use crate::net::ssh::Algorithms;
use crate::op::RemotePath;
use crate::policy::Names;

/// An `sftp` backend as configured.
#[derive(Clone)]
pub struct Settings {
    /// The backend's name in the configuration, for messages.
    pub name: String,
    /// `host:port`, resolved at each login; a list is tried in order.
    pub addresses: Vec<String>,
    /// How the server proves its identity (`host_key` or `known_hosts`).
    pub host_key: HostKey,
    /// Offered to the server.
    pub algorithms: Algorithms,
    /// The login folder; `None`: as the server reports it.
    pub login_folder: Option<RemotePath>,
    /// How the server reads names (`names`).
    pub names: Names,
    /// What becomes of the file of an aborted upload (`partial_uploads`).
    pub partial_uploads: PartialUploads,
    /// The policy for attributes that the server cannot set (`unsupported_attributes`).
    pub unsupported_attributes: UnsupportedAttributes,
    /// Whether each connection starts with a PROXY protocol header that names the client.
    pub send_proxy_protocol: bool,
    /// Connections being established to each address at once, at least 1.
    pub connects_at_once: usize,
    /// The address of this machine that connections come from; `None`: the system chooses it.
    pub source_address: Option<IpAddr>,
    /// For the TCP connection to each address and, separately, for the key exchange.
    pub connect_timeout: Duration,
    /// For the login after the key exchange, and for the response to one request; ten times as long where
    /// the server copies a file or syncs it to its disk.
    pub reply_timeout: Duration,
    /// For the response to REALPATH, which reports the login folder; at most half of `reply_timeout`.
    pub realpath_timeout: Duration,
    /// Without a byte from the server, before it is sent a keepalive request.
    pub keepalive: Duration,
}

impl Settings {
    /// The default of `realpath_timeout`.
    pub const DEFAULT_REALPATH_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How the server is authenticated (RFC 4251 section 4.1).
#[derive(Clone)]
pub enum HostKey {
    /// `host_key`: SHA-256 fingerprints in OpenSSH's form, `SHA256:` and base64; one must match.
    Fingerprints(Vec<String>),
    /// `known_hosts`: a file in OpenSSH's format, for the address's host and port.
    KnownHosts(KnownHosts),
    /// `danger_accept_any_host_key`: any key is accepted.
    AcceptAny,
}
