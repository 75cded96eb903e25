use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use russh::keys::PrivateKey;

use crate::net::ssh::Algorithms;

/// An SFTP listener as configured.
#[derive(Clone)]
pub struct ListenerSettings {
    /// The name in the configuration.
    pub name: String,
    pub addresses: Vec<SocketAddr>,
    /// Networks of the proxies that all connections come from, with a PROXY protocol header; empty:
    /// clients connect themselves.
    pub proxy_protocol: Vec<IpNet>,
    /// At most one of each kind, each of a kind that `algorithms` offers; the client chooses.
    pub host_keys: Vec<Arc<PrivateKey>>,
    /// New keys are agreed on after so many bytes in one direction (`rekey.bytes`).
    pub rekey_bytes: u64,
    /// And after so long (`rekey.time`).
    pub rekey_time: Duration,
    /// Without a byte from the client before it is asked whether it lives; three unanswered end the
    /// connection.
    pub keepalive: Duration,
    /// What is offered to clients, and which signatures are taken of users.
    pub algorithms: Algorithms,
    /// SFTP channels open at once on one connection.
    pub channels: usize,
}
