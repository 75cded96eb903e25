//! The settings of an FTP listener.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::net::tls::ServerTls;
use crate::op::Greeting;

/// An FTP listener as configured.
#[derive(Clone)]
pub struct ListenerSettings {
    /// The name in the configuration.
    pub name: String,
    /// Addresses and ports to listen on (`address`). Port 0: any free port.
    pub addresses: Vec<SocketAddr>,
    /// The text of the 220 reply to a new connection (`greeting`); `None`: the gateway's own.
    pub greeting: Option<Greeting>,
    /// TLS towards clients (`tls`).
    pub tls: TlsPolicy,
    /// Name of the pool of passive ports; without one, PASV and EPSV are refused.
    pub data_ports: Option<String>,
    /// Networks of the proxies that all connections come from, with a PROXY protocol header; empty:
    /// clients connect directly.
    pub proxy_protocol: Vec<IpNet>,
    /// Whether PORT and EPRT are served (`active.allowed`).
    pub active_allowed: bool,
    /// Source ports of active data connections (`active.source_ports`); `None`: any port.
    pub active_source_ports: Option<RangeInclusive<u16>>,
}

/// Whether and when control connections use TLS (`tls.mode`).
#[derive(Clone)]
pub enum TlsPolicy {
    /// Everything is in clear; AUTH is refused.
    None,
    /// AUTH TLS is offered.
    Optional(TlsSettings),
    /// USER before AUTH TLS, and PROT C, are refused.
    Required(TlsSettings),
    /// TLS from the first byte; starts with PROT P.
    Implicit(TlsSettings),
}

impl TlsPolicy {
    /// As [`TlsPolicy::settings`], to change them.
    pub fn settings_mut(&mut self) -> Option<&mut TlsSettings> {
        match self {
            TlsPolicy::None => None,
            TlsPolicy::Optional(tls) | TlsPolicy::Required(tls) | TlsPolicy::Implicit(tls) => {
                Some(tls)
            }
        }
    }

    /// `None` without TLS.
    pub fn settings(&self) -> Option<&TlsSettings> {
        match self {
            TlsPolicy::None => None,
            TlsPolicy::Optional(tls) | TlsPolicy::Required(tls) | TlsPolicy::Implicit(tls) => {
                Some(tls)
            }
        }
    }
}

/// The settings of TLS where it is offered (`tls`).
#[derive(Clone)]
pub struct TlsSettings {
    /// The certificate, and the sessions that data connections resume.
    pub tls: ServerTls,
    /// `data_sessions: resumed`: a data connection must resume its control connection's session.
    pub require_resumed_data: bool,
    /// An upload that ends without close_notify is incomplete.
    pub require_close_notify: bool,
}
