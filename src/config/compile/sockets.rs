//! Two sockets never want the same port: listeners, pools and the metrics address against each other.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::{entries, pools, value};
use crate::config::report::{At, Problems};
use crate::config::schema::File;

/// Ports that somebody will listen on.
pub(super) struct Claim<'a> {
    pub owner: &'a At,
    at: &'a At,
    pub address: IpAddr,
    pub ports: RangeInclusive<u16>,
}

pub(super) fn refuse_overlaps(file: &File, problems: &mut Problems) {
    let mut claims = claims(file);
    refuse_taken_source_ports(file, &claims, problems);
    claims.sort_by_key(|claim| (claim.at.mark.line, claim.at.mark.column));
    let mut told = HashSet::new();
    for (index, later) in claims.iter().enumerate() {
        for earlier in &claims[..index] {
            if overlap(earlier, later) && told.insert((&earlier.owner.path, &later.owner.path)) {
                problems.error(later.at, message(earlier, later));
            }
        }
    }
}

/// Nobody connects from a port on which the gateway itself listens.
fn refuse_taken_source_ports(file: &File, claims: &[Claim<'_>], problems: &mut Problems) {
    for (_, listener) in entries(&file.listeners) {
        let Some(leaf) = listener.active.as_ref().and_then(|it| it.source_ports.as_ref()) else {
            continue;
        };
        let Some(ports) = &leaf.value else { continue };
        let addresses = listener.address.iter().flat_map(|list| list.values());
        let sources = addresses.map(|(_, address)| Claim {
            owner: &listener.at,
            at: &leaf.at,
            address: address.ip(),
            ports: ports.0.clone(),
        });
        let sources: Vec<_> = sources.collect();
        let taken = claims.iter().find(|claim| sources.iter().any(|it| overlap(it, claim)));
        if let Some(claim) = taken {
            let message = format!(
                "{} of {} (line {}) is among them: nothing can be sent from a port that listens",
                shown(claim),
                claim.owner.path,
                claim.at.mark.line
            );
            problems.error(&leaf.at, message);
        }
    }
}

/// All of a configuration, whatever overlaps.
pub(super) fn claims(file: &File) -> Vec<Claim<'_>> {
    let mut claims = Vec::new();
    for (_, listener) in entries(&file.listeners) {
        for (at, address) in listener.address.iter().flat_map(|list| list.values()) {
            claims.extend(socket(&listener.at, at, address));
        }
    }
    for (name, pool) in entries(&file.data_ports) {
        let Some(range) = &pool.range else { continue };
        let Some(ports) = &range.value else { continue };
        for address in pools::listen(file, name, pool) {
            claims.push(Claim { owner: &pool.at, at: &range.at, address, ports: ports.0.clone() });
        }
    }
    if let Some(metrics) = &file.metrics
        && let Some(address) = value(&metrics.address)
    {
        claims.extend(socket(&metrics.at, &metrics.at, address));
    }
    claims
}

/// Port 0 takes a free one.
fn socket<'a>(owner: &'a At, at: &'a At, address: &SocketAddr) -> Option<Claim<'a>> {
    let port = address.port();
    (port != 0).then(|| Claim { owner, at, address: address.ip(), ports: port..=port })
}

fn overlap(a: &Claim<'_>, b: &Claim<'_>) -> bool {
    let same_family = a.address.is_ipv4() == b.address.is_ipv4();
    let same_address =
        a.address == b.address || a.address.is_unspecified() || b.address.is_unspecified();
    let same_port = a.ports.start() <= b.ports.end() && b.ports.start() <= a.ports.end();
    same_family && same_address && same_port
}

fn shown(claim: &Claim<'_>) -> String {
    let (first, last) = (claim.ports.start(), claim.ports.end());
    let ports = if first == last { format!("{first}") } else { format!("{first}-{last}") };
    match claim.address {
        IpAddr::V4(address) => format!("{address}:{ports}"),
        IpAddr::V6(address) => format!("[{address}]:{ports}"),
    }
}

fn message(earlier: &Claim<'_>, later: &Claim<'_>) -> String {
    if earlier.owner.path == later.owner.path {
        return format!("listens twice: {} and {}", shown(earlier), shown(later));
    }
    format!(
        "{} overlaps with {} of {} (line {})",
        shown(later),
        shown(earlier),
        earlier.owner.path,
        earlier.at.mark.line
    )
}
