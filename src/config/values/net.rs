//! Addresses, networks, ports and hosts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use rustls::pki_types::DnsName;
use serde_json::{Value as Json, json};

use crate::config::leaf::{Invalid, Value};
use crate::data::Host;

/// Replaced by the index of the replica's slice.
pub(in crate::config) const INDEX_PLACEHOLDER: &str = "{index}";

/// An address to listen on.
impl Value for SocketAddr {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Invalid::new(format!(
                "\"{text}\" has no port: write {} for FTP, {} for SFTP",
                SocketAddr::new(ip, 21),
                SocketAddr::new(ip, 22)
            ));
        }
        let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).ip();
        let port = text.rsplit(':').next().and_then(|port| port.parse().ok());
        match (text.split(':').next(), port) {
            (Some("localhost"), Some(port)) if text.matches(':').count() == 1 => {
                Invalid::with_suggestion(
                    format!("\"{text}\" has a name; a socket listens at an IP address"),
                    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string(),
                )
            }
            (Some("" | "*" | "any"), Some(port)) if text.matches(':').count() == 1 => {
                Invalid::with_suggestion(
                    format!("\"{text}\" has no address to listen on"),
                    SocketAddr::new(every, port).to_string(),
                )
            }
            (_, Some(port)) if text.matches(':').count() == 0 => Invalid::with_suggestion(
                format!("\"{text}\" has no address to listen on"),
                SocketAddr::new(every, port).to_string(),
            ),
            _ => Invalid::new(format!(
                "\"{text}\" is not an IP address with a port, such as 192.0.2.1:21 or [2001:db8::1]:21"
            )),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "an IP address with a port" })
    }
}

impl Value for IpAddr {
    fn parse(text: &str) -> Result<Self, Invalid> {
        text.parse().or_else(|_| {
            let message = format!("\"{text}\" is not an IP address");
            match text {
                "localhost" => Invalid::with_suggestion(message, Ipv4Addr::LOCALHOST.to_string()),
                _ => Invalid::new(message),
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "an IP address" })
    }
}

impl Value for IpNet {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return no_mapped(IpNet::from(address));
        }
        let Ok(network) = text.parse::<IpNet>() else {
            return Invalid::new(format!("\"{text}\" is not a network such as 10.0.0.0/8"));
        };
        if network.trunc() != network {
            let message = format!("\"{text}\" has host bits set");
            return Invalid::with_suggestion(message, network.trunc().to_string());
        }
        no_mapped(network)
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a network or an IP address" })
    }
}

/// Clients with an IPv4-mapped address count as IPv4 clients, so such a network matches no client.
fn no_mapped(network: IpNet) -> Result<IpNet, Invalid> {
    match network {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Invalid::new("is an IPv4 network in IPv6 form; write it as IPv4")
        }
        network => Ok(network),
    }
}

/// A DNS name, or `*.` and a name.
pub(in crate::config) struct ServerNamePattern(pub String);

impl Value for ServerNamePattern {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.parse::<IpAddr>().is_ok() {
            return Invalid::new(format!(
                "\"{text}\" is an address, which clients never send as a server name"
            ));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        if DnsName::try_from(name).is_err() || name.len() < text.len() && !name.contains('.') {
            return Invalid::new(format!(
                "\"{text}\" is neither a DNS name, such as ftp.example.com, nor \"*.\" and such a name"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a DNS name or a pattern" })
    }
}

/// "50000-50099", or one port.
#[derive(Clone)]
pub(in crate::config) struct PortRange(pub RangeInclusive<u16>);

impl Value for PortRange {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first..=last)),
            (Some(first), Some(last)) => Invalid::with_suggestion(
                format!("\"{text}\" ends before it starts"),
                format!("{last}-{first}"),
            ),
            _ => {
                let message = format!("\"{text}\" is not a range of ports from 1 to 65535");
                let numbers: Vec<_> =
                    text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).collect();
                match numbers[..] {
                    [first, last] if port(first).is_some() && port(last).is_some() => {
                        let suggestion = format!("{first}-{last}");
                        let suggestion = Some(suggestion).filter(|suggestion| suggestion != text);
                        Err(Invalid { message, suggestion })
                    }
                    _ => Invalid::new(message),
                }
            }
        }
    }

    fn schema() -> Json {
        json!({ "title": "a port or a range of ports", "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(-[0-9]+)?$" },
            { "type": "integer", "minimum": 1, "maximum": 65535 },
        ] })
    }
}

/// The address in PASV replies: one for all replicas, or one that has the replica's index.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::config) enum AdvertisedHost {
    Same(Host),
    /// With `{index}`; valid for index 0.
    EachReplica(String),
}

impl AdvertisedHost {
    /// That of a replica. An index with more digits may make it invalid.
    pub(in crate::config) fn of_replica(text: &str, index: u32) -> Result<Host, Invalid> {
        parse_host(&text.replace(INDEX_PLACEHOLDER, &index.to_string()))
    }
}

impl Value for AdvertisedHost {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if !text.contains(INDEX_PLACEHOLDER) {
            return parse_host(text).map(Self::Same);
        }
        match Self::of_replica(text, 0) {
            Ok(_) => Ok(Self::EachReplica(text.into())),
            Err(_) => Invalid::new(format!(
                "\"{text}\" is neither an IP address nor a host name with `{INDEX_PLACEHOLDER}`, the \
                 replica's index"
            )),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "an IP address or a name" })
    }
}

pub(in crate::config) fn parse_host(text: &str) -> Result<Host, Invalid> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let canonical = address.to_canonical();
        if canonical == address {
            return Ok(Host::Ip(address));
        }
        let message = format!("\"{text}\" is an IPv4 address in IPv6 form");
        return Invalid::with_suggestion(message, canonical.to_string());
    }
    let message = format!("\"{text}\" is neither an IP address nor a host name");
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let host = bracketed.or(text.split_once(':')).map_or(text, |(host, _)| host);
    let is_likely = host != text && (is_host(host) || host.parse::<IpAddr>().is_ok());
    if is_host(text) {
        return Ok(Host::Name(text.into()));
    }
    Err(Invalid { message, suggestion: is_likely.then(|| host.into()) })
}

/// What is added to a port.
#[derive(Clone, Copy)]
pub(in crate::config) struct PortOffset(pub i32);

impl Value for PortOffset {
    fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(offset @ -65534..=65534) => Ok(Self(offset)),
            _ => Invalid::new(format!("\"{text}\" is not a whole number from -65534 to 65534")),
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": -65534, "maximum": 65534 })
    }
}

/// A server: name or address, and an optional port.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::config) struct HostPort {
    /// Without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl HostPort {
    /// `host:port`, with brackets around an IPv6 address.
    pub(in crate::config) fn with_default_port(&self, default: u16) -> String {
        let port = self.port.unwrap_or(default);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl Value for HostPort {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let message = format!("remove \"{scheme}://\"; an address is a host and a port");
            return Invalid::with_suggestion(
                message,
                rest.split(['/', '@']).next().unwrap_or(rest),
            );
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Invalid::with_suggestion("an IPv6 address needs brackets", format!("[{text}]"));
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(rest))),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let bracketed = text.starts_with('[');
        let good =
            if bracketed { host.parse::<std::net::Ipv6Addr>().is_ok() } else { is_host(host) };
        if !good {
            return Invalid::new(format!("\"{text}\" is not a host name or address with a port"));
        }
        let port = match port {
            None => None,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Invalid::new(format!("\"{port}\" is not a port from 1 to 65535")),
            },
        };
        Ok(Self { host: host.into(), port })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a host, with or without a port" })
    }
}

pub(super) fn is_host(host: &str) -> bool {
    let character = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    // Otherwise "10.1.2.300" would be looked up as a name.
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let fits = if numeric { host.parse::<Ipv4Addr>().is_ok() } else { host.bytes().all(character) };
    !host.is_empty() && host.len() <= 253 && fits
}
