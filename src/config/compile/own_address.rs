//! Backends that are the gateway itself: each login would come back to it as a new one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sockets::{self, Claim};
use super::{entries, value};
use crate::config::report::Problems;
use crate::config::schema::{Backend, File};
use crate::config::surroundings::{Names, Surroundings};
use crate::config::values::{BackendProtocol, BackendTlsMode, HostPort};

/// `names`: what host names lead to, as far as they were looked up.
pub(super) fn warn(
    file: &File,
    names: &Names,
    surroundings: &Surroundings,
    problems: &mut Problems,
) {
    let claims = sockets::claims(file);
    for (_, backend) in entries(&file.backends) {
        let Some(default) = default_port(backend) else { continue };
        for (at, address) in backend.address.iter().flat_map(|list| list.values()) {
            let port = address.port.unwrap_or(default);
            let addresses = addresses(address, names);
            let leads_to = |claim: &&Claim<'_>| {
                let mut addresses = addresses.iter();
                claim.ports.contains(&port)
                    && addresses.any(|it| listens_at(claim.address, *it, surroundings))
            };
            if let Some(claim) = claims.iter().find(leads_to) {
                let message = format!(
                    "{} is {} of this gateway itself (line {}): it would connect to itself, again and \
                     again; name the server's address",
                    address.with_default_port(default),
                    claim.owner.path,
                    claim.owner.mark.line
                );
                problems.warning(at, message);
            }
        }
    }
}

/// `None` for a folder.
fn default_port(backend: &Backend) -> Option<u16> {
    let tls = backend.tls.as_ref().and_then(|tls| value(&tls.mode));
    match value(&backend.protocol)? {
        BackendProtocol::Local => None,
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
        // RFC 6761 section 6.3: a resolver need not be asked.
        _ if host.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        _ => Vec::new(),
    }
}

/// Whether a connection to `to` comes to a socket that listens at `own`.
fn listens_at(own: IpAddr, to: IpAddr, surroundings: &Surroundings) -> bool {
    // Linux takes 0.0.0.0 for the loopback.
    let to = match to {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        to => to,
    };
    let everywhere = own.is_unspecified() && own.is_ipv4() == to.is_ipv4();
    own == to || (everywhere && (to.is_loopback() || (surroundings.is_own)(to)))
}
