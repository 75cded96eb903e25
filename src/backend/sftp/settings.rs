use std::time::Duration;

use super::KnownHosts;
use crate::backend::{PartialUploads, UnsupportedAttributes};
use crate::net::ssh::Algorithms;
use crate::op::RemotePath;

/// An `sftp` backend as configured.
#[derive(Clone)]
pub struct Settings {
    /// The backend's name in the configuration, for messages.
    pub name: String,
    /// `host:port`, resolved anew at each login; a list is tried in order.
    pub addresses: Vec<String>,
    pub host_key: HostKey,
    /// What the server is offered.
    pub algorithms: Algorithms,
    /// Where the login puts the user; `None`: what the server tells.
    pub login_folder: Option<RemotePath>,
    pub partial_uploads: PartialUploads,
    pub unsupported_attributes: UnsupportedAttributes,
    /// Whether the server is told in a PROXY protocol header who the client is.
    pub send_proxy_protocol: bool,
    /// The most connections that are being made to each address at once, at least 1.
    pub connects_at_once: usize,
    /// For the TCP connection to each address and, again, for the key exchange.
    pub connect_timeout: Duration,
    /// For the login behind the key exchange, and for the answer to one request; ten times as long
    /// where the server has a file to copy or to bring to its disk.
    pub reply_timeout: Duration,
    /// Without a byte from the server before it is asked whether it lives.
    pub keepalive: Duration,
}

/// How the server is known.
#[derive(Clone)]
pub enum HostKey {
    /// `host_key`: SHA-256 fingerprints in OpenSSH's form, `SHA256:` and base64; one must fit.
    Fingerprints(Vec<String>),
    /// `known_hosts`: a file in OpenSSH's format, for the address's host and port.
    KnownHosts(KnownHosts),
    /// `danger_accept_any_host_key`: whoever answers is believed.
    AcceptAny,
}
