//! From which clients a reservation accepts connections (`client_match`).

use std::net::IpAddr;

use ipnet::IpNet;

/// What the sources of a data connection and of its control connection must have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientMatch {
    /// The address.
    #[default]
    Address,
    /// The network: the first 24 bits of an IPv4 address, 48 of an IPv6 address. For clients with
    /// carrier-grade NAT, whose connections come from several addresses.
    Network,
    /// Nothing: the resumed TLS session alone identifies the owner.
    Session,
}

/// The part of a connection's source that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ClientKey {
    Address(IpAddr),
    Network(IpNet),
    Any,
}

/// A port, and the client whose connections it awaits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub port: u16,
    pub client: ClientKey,
}

impl ClientMatch {
    pub(super) fn key(self, client: IpAddr) -> ClientKey {
        let client = client.to_canonical();
        match self {
            Self::Address => ClientKey::Address(client),
            Self::Network => {
                let length = if client.is_ipv4() { 24 } else { 48 };
                let network = IpNet::new(client, length).map(|network| network.trunc());
                network.map_or(ClientKey::Address(client), ClientKey::Network)
            }
            Self::Session => ClientKey::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_equal_only_by_network_or_session() {
        let [a, b, c] = ["192.0.2.1", "192.0.2.200", "192.0.3.1"].map(|ip| ip.parse().unwrap());
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        for (client_match, equal) in [
            (ClientMatch::Address, [true, false, false]),
            (ClientMatch::Network, [true, true, false]),
            (ClientMatch::Session, [true, true, true]),
        ] {
            let key = |ip| client_match.key(ip);
            assert_eq!([mapped, b, c].map(|ip| key(ip) == key(a)), equal, "{client_match:?}");
        }
    }
}
