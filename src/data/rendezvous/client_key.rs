//! Whose connections a reservation takes: `client_match`.

use std::net::IpAddr;

use ipnet::IpNet;

/// What a data connection's source must have in common with its control connection's
/// (`client_match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientMatch {
    /// The address.
    #[default]
    Address,
    /// The network: the first 24 bits of an IPv4 address, 48 of an IPv6 address. For clients behind a
    /// carrier's translation, whose connections come from several addresses.
    Network,
    /// Nothing: the resumed TLS session alone tells whose it is.
    Session,
}

/// Whom connections come from, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ClientKey {
    Address(IpAddr),
    Network(IpNet),
    Anybody,
}

/// A port, and whom connections to it come from.
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
            Self::Session => ClientKey::Anybody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_count_as_one_by_network_only() {
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
