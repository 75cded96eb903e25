//! Warns of backends that are the gateway itself: each login would cause another one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sockets::{self, BoundPorts};
use super::{entries, value};
use crate::config::machine::{Machine, Names};
use crate::config::report::Problems;
use crate::config::schema::{Backend, File};
use crate::config::values::{BackendProtocol, BackendTlsMode, HostPort};

/// `names`: the addresses of host names, as far as they were looked up.
pub(super) fn warn(file: &File, names: &Names, machine: &Machine, problems: &mut Problems) {
    let bound_ports = sockets::bound_ports(file);
    for (_, backend) in entries(&file.backends) {
        let Some(default) = default_port(backend) else { continue };
        for (at, address) in backend.address.iter().flat_map(|list| list.values()) {
            let port = address.port.unwrap_or(default);
            let addresses = addresses(address, names);
            let leads_to = |bound: &&BoundPorts<'_>| {
                let mut addresses = addresses.iter();
                bound.ports.contains(&port)
                    && addresses.any(|it| listens_at(bound.address, *it, machine))
            };
            if let Some(bound) = bound_ports.iter().find(leads_to) {
                let message = format!(
                    "{} is {} of this gateway itself (line {}): it would connect to itself in a loop; \
                     write the server's address",
                    address.with_default_port(default),
                    bound.owner.path,
                    bound.owner.mark.line
                );
                problems.warning(at, message);
            }
        }
    }
}

/// `None` for a backend without an address.
pub(super) fn default_port(backend: &Backend) -> Option<u16> {
    let tls = backend.tls.as_ref().and_then(|tls| value(&tls.mode));
    match value(&backend.protocol)? {
        BackendProtocol::Local | BackendProtocol::Group => None,
        BackendProtocol::Sftp => Some(22),
        BackendProtocol::Ftp if tls == Some(&BackendTlsMode::Implicit) => Some(990),
        BackendProtocol::Ftp => Some(21),
    }
}

fn addresses(address: &HostPort, names: &Names) -> Vec<IpAddr> {
    let host = address.host.as_str();
    if let Ok(ip) = host.parse::<IpAddr>() {
        return vec![ip.to_canonical()];
    }
    match names.get(host) {
        Some(Ok(found)) => found.clone(),
        // RFC 6761 section 6.3: needs no resolver.
        _ if host.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        _ => Vec::new(),
    }
}

/// Whether a connection to `to` reaches a socket that listens at `own`.
fn listens_at(own: IpAddr, to: IpAddr, machine: &Machine) -> bool {
    // Linux treats 0.0.0.0 as the loopback.
    let to = match to {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        to => to,
    };
    let is_wildcard = own.is_unspecified() && own.is_ipv4() == to.is_ipv4();
    own == to || (is_wildcard && (to.is_loopback() || (machine.is_own)(to)))
}
