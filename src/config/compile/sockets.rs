//! Refuses overlapping addresses of listeners, pools, metrics and operators.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::{admin_address, entries, pools, value};
use crate::config::report::{Location, Problems};
use crate::config::schema::File;

/// An address and ports that the gateway will listen on.
pub(super) struct BoundPorts<'a> {
    pub owner: &'a Location,
    at: &'a Location,
    pub address: IpAddr,
    pub ports: RangeInclusive<u16>,
}

pub(super) fn refuse_overlaps(file: &File, problems: &mut Problems) {
    let mut bound_ports = bound_ports(file);
    refuse_taken_source_ports(file, &bound_ports, problems);
    bound_ports.sort_by_key(|bound| (bound.at.mark.line, bound.at.mark.column));
    let mut reported = HashSet::new();
    for (index, later) in bound_ports.iter().enumerate() {
        for earlier in &bound_ports[..index] {
            if overlap(earlier, later) && reported.insert((&earlier.owner.path, &later.owner.path))
            {
                problems.error(later.at, message(earlier, later));
            }
        }
    }
}

/// Source ports that the gateway listens on cannot be used.
fn refuse_taken_source_ports(file: &File, bound_ports: &[BoundPorts<'_>], problems: &mut Problems) {
    for (_, listener) in entries(&file.listeners) {
        let Some(leaf) = listener.active.as_ref().and_then(|it| it.source_ports.as_ref()) else {
            continue;
        };
        let Some(ports) = &leaf.value else { continue };
        let addresses = listener.address.iter().flat_map(|list| list.values());
        let sources = addresses.map(|(_, address)| BoundPorts {
            owner: &listener.at,
            at: &leaf.at,
            address: address.ip(),
            ports: ports.0.clone(),
        });
        let sources: Vec<_> = sources.collect();
        let taken = bound_ports.iter().find(|bound| sources.iter().any(|it| overlap(it, bound)));
        if let Some(bound) = taken {
            let message = format!(
                "{} of {} (line {}) is among them: no connection can be opened from a port that is \
                 listened on",
                shown(bound),
                bound.owner.path,
                bound.at.mark.line
            );
            problems.error(&leaf.at, message);
        }
    }
}

/// All sockets of a configuration.
pub(super) fn bound_ports(file: &File) -> Vec<BoundPorts<'_>> {
    let mut bound_ports = Vec::new();
    for (_, listener) in entries(&file.listeners) {
        for (at, address) in listener.address.iter().flat_map(|list| list.values()) {
            bound_ports.extend(socket(&listener.at, at, address));
        }
    }
    for (name, pool) in entries(&file.data_ports) {
        let Some(range) = &pool.range else { continue };
        let Some(ports) = &range.value else { continue };
        for address in pools::listen(file, name, pool) {
            bound_ports.push(BoundPorts {
                owner: &pool.at,
                at: &range.at,
                address,
                ports: ports.0.clone(),
            });
        }
    }
    if let Some(metrics) = &file.metrics
        && let Some(address) = value(&metrics.address)
    {
        bound_ports.extend(socket(&metrics.at, &metrics.at, address));
    }
    if let (Some(admin), Some(address)) = (&file.admin, admin_address::address(file)) {
        bound_ports.extend(socket(&admin.at, &admin.at, &address));
    }
    bound_ports
}

/// `None` for port 0, which is any free port.
fn socket<'a>(
    owner: &'a Location,
    at: &'a Location,
    address: &SocketAddr,
) -> Option<BoundPorts<'a>> {
    let port = address.port();
    (port != 0).then(|| BoundPorts { owner, at, address: address.ip(), ports: port..=port })
}

fn overlap(a: &BoundPorts<'_>, b: &BoundPorts<'_>) -> bool {
    let same_family = a.address.is_ipv4() == b.address.is_ipv4();
    let same_address =
        a.address == b.address || a.address.is_unspecified() || b.address.is_unspecified();
    let same_port = a.ports.start() <= b.ports.end() && b.ports.start() <= a.ports.end();
    same_family && same_address && same_port
}

fn shown(bound: &BoundPorts<'_>) -> String {
    let (first, last) = (bound.ports.start(), bound.ports.end());
    let ports = if first == last { format!("{first}") } else { format!("{first}-{last}") };
    match bound.address {
        IpAddr::V4(address) => format!("{address}:{ports}"),
        IpAddr::V6(address) => format!("[{address}]:{ports}"),
    }
}

fn message(earlier: &BoundPorts<'_>, later: &BoundPorts<'_>) -> String {
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
