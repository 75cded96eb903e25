//! The settings of an SFTP listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use russh::keys::{Certificate, PrivateKey};

use crate::auth::{KeyTrust, Methods};
use crate::net::ssh::Algorithms;
use crate::op::Greeting;

/// The usual value of [`ListenerSettings::retained_channels`].
pub const DEFAULT_RETAINED_CHANNELS_MAX: u64 = 5000;

/// An SFTP listener as configured.
#[derive(Clone)]
pub struct ListenerSettings {
    /// The name in the configuration.
    pub name: String,
    /// Addresses and ports to listen on (`address`). Port 0: any free port.
    pub addresses: Vec<SocketAddr>,
    /// Sent before the login, as the banner of RFC 4252 section 5.4 (`greeting`).
    pub greeting: Option<Greeting>,
    /// Networks of the proxies that all connections come from, with a PROXY protocol header; empty:
    /// clients connect directly.
    pub proxy_protocol: Vec<IpNet>,
    /// At most one of each kind, each of a kind that `algorithms` offers; the client chooses.
    pub host_keys: Vec<Arc<PrivateKey>>,
    /// Certificates of the host keys, at most one for each.
    pub host_certificates: Vec<Certificate>,
    /// Whose user certificates are accepted, and which keys are not.
    pub key_trust: KeyTrust,
    /// Methods that can succeed with some route and user (RFC 4252 section 5): the others are not offered,
    /// and refused. The same for every user name.
    pub methods: Methods,
    /// Bytes in one direction before a key re-exchange (`rekey.bytes`).
    pub rekey_bytes: u64,
    /// Time before a key re-exchange (`rekey.time`).
    pub rekey_time: Duration,
    /// Time without a byte from the client before a keepalive; three unanswered ones end the
    /// connection.
    pub keepalive: Duration,
    /// Offered to clients, and accepted for the signatures of users.
    pub algorithms: Algorithms,
    /// Open SFTP channels of one connection.
    pub channels: usize,
    /// Channels of one connection that the gateway closed first: russh keeps some kilobytes of each
    /// until the end of the connection.
    pub retained_channels: u64,
}
