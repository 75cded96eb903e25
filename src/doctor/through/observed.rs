//! What a session of FTP through firewalls saw.

use std::net::SocketAddr;

use crate::doctor::reach::Attempt;
use crate::op::PeerReply;

/// What a session saw.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    pub greeting: PeerReply,
    /// Of the control connection.
    pub server: SocketAddr,
    /// FEAT before the login names AUTH.
    pub announces_auth: bool,
    /// Its certificate was accepted, and TLS is in force.
    pub is_verified: bool,
    /// The reply to AUTH TLS, where it was sent.
    pub auth: Option<PeerReply>,
    /// `None`: not logged in, or not asked over IPv6.
    pub pasv: Option<Passive>,
    pub epsv: Option<Passive>,
    /// The reply to PORT with the address of this end, over IPv4.
    pub port: Option<PeerReply>,
}

/// PASV or EPSV, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Passive {
    pub reply: PeerReply,
    /// Where the client connects; `None`: the reply has no address.
    pub address: Option<SocketAddr>,
    pub outcome: Option<Outcome>,
}

/// Of a data connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A listing of so many bytes.
    Listed(u64),
    NotConnected(Attempt),
    /// Not tried: the reply names another host than that of the control connection.
    OtherHost,
    /// Connected, but the listing failed.
    Failed(String),
}

impl Observed {
    pub(super) fn new(server: SocketAddr, greeting: PeerReply) -> Self {
        Self {
            greeting,
            server,
            announces_auth: false,
            is_verified: false,
            auth: None,
            pasv: None,
            epsv: None,
            port: None,
        }
    }

    /// Whether PASV or EPSV was asked for.
    pub(super) fn is_complete(&self) -> bool {
        self.pasv.is_some() || self.epsv.is_some()
    }

    /// Whether the address is of the host that was named to doctor: no other host is connected to.
    pub(super) fn is_same_host(&self, address: SocketAddr) -> bool {
        address.ip().to_canonical() == self.server.ip().to_canonical()
    }

    /// Where data connections go: as PASV says it, or else EPSV. `None` as well if only another host is named.
    pub(super) fn data_address(&self) -> Option<SocketAddr> {
        let named = [&self.pasv, &self.epsv].into_iter().flatten();
        named.filter_map(|passive| passive.address).find(|address| self.is_same_host(*address))
    }
}
