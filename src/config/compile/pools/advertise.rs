//! `advertise`: addresses and ports for PASV and EPSV replies, and warnings of entries that are never used.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::super::value;
use super::advertised_host;
use crate::config::machine::Machine;
use crate::config::report::{Location, Problems};
use crate::config::schema;
use crate::config::values::AdvertisedHost;
use crate::data::{Advertise, Host};

/// The valid entries. `range` is the pool's whole range, regardless of slices. An address of this replica
/// that is unknown where the configuration is only checked is left out.
pub(super) fn compile(
    pool: &schema::Pool,
    range: Option<&RangeInclusive<u16>>,
    machine: &Machine,
    problems: &mut Problems,
) -> Vec<Advertise> {
    let entries = pool.advertise.iter().flat_map(|list| &list.items);
    entries.filter_map(|entry| one(entry, pool, range, machine, problems)).collect()
}

fn one(
    entry: &schema::Advertise,
    pool: &schema::Pool,
    range: Option<&RangeInclusive<u16>>,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Advertise> {
    if !has_address(entry) && entry.port_offset.is_none() && entry.ports.is_none() {
        let message = "is missing; alternatively set `address_env`, `port_offset` or `ports`";
        problems.error(&entry.at.absent("address"), message);
        return None;
    }
    let host = advertised_host::compile(entry, pool, machine, problems);
    let port_offset = port_offset(entry, range?, problems)?;
    let address = if has_address(entry) { Some(host?) } else { None };
    Some(Advertise { clients: value(&entry.clients).copied(), address, port_offset })
}

/// The offset of `port_offset` or `ports`.
fn port_offset(
    entry: &schema::Advertise,
    range: &RangeInclusive<u16>,
    problems: &mut Problems,
) -> Option<i32> {
    let (first, last) = (i32::from(*range.start()), i32::from(*range.end()));
    match (&entry.port_offset, &entry.ports) {
        (None, None) => Some(0),
        (Some(_), Some(ports)) => {
            problems.error(&ports.at, "`port_offset` is set, too; keep one of them");
            None
        }
        (Some(leaf), None) => {
            let offset = leaf.value.as_ref()?.0;
            if first + offset < 1 || last + offset > i32::from(u16::MAX) {
                let message = format!(
                    "maps the ports {first} to {last} to {} to {}; valid ports are 1 to 65535",
                    first + offset,
                    last + offset
                );
                problems.error(&leaf.at, message);
                return None;
            }
            Some(offset)
        }
        (None, Some(leaf)) => {
            let ports = &leaf.value.as_ref()?.0;
            if ports.len() != range.len() {
                let message = format!(
                    "has {} ports, but `range` has {}; they are mapped one to one",
                    ports.len(),
                    range.len()
                );
                problems.error(&leaf.at, message);
                return None;
            }
            Some(i32::from(*ports.start()) - first)
        }
    }
}

/// Warns of entries that are valid but have no effect.
pub(super) fn warn(
    pool: &schema::Pool,
    listen: &[IpAddr],
    for_clients: bool,
    problems: &mut Problems,
) {
    let entries: Vec<_> = pool.advertise.iter().flat_map(|list| &list.items).collect();
    for (at, entry) in entries.iter().enumerate() {
        let families: Vec<bool> =
            [true, false].into_iter().filter(|v4| could_serve(entry, *v4)).collect();
        let listened = |v4: &bool| listen.iter().any(|ip| ip.is_ipv4() == *v4);
        if families.is_empty() {
            let message =
                "is never used: `clients` and `address` are of different address families";
            problems.warning(&entry.at, message);
        } else if !families.iter().any(listened) {
            let family = if families == [true] { "IPv4" } else { "IPv6" };
            let message = format!("is never used: the pool listens on no {family} address");
            problems.warning(&entry.at, message);
        } else if let Some(earlier) = shadowing(entry, &entries[..at], &families) {
            let line = earlier.at.mark.line;
            let message = if is_for_all(earlier) {
                format!("is never used: the earlier entry in line {line} is for all clients")
            } else {
                format!("is never used: the earlier entry in line {line} is for these clients, too")
            };
            problems.warning(&entry.at, message);
        }
        if for_clients {
            warn_of_private(entry, listen, problems);
        }
    }
}

/// The first advertised address that is not the loopback.
pub(super) fn advertised_address(pool: &schema::Pool) -> Option<(&Location, IpAddr)> {
    let entries = pool.advertise.iter().flat_map(|list| &list.items);
    entries.filter_map(|entry| entry.address.as_ref()).find_map(|leaf| match leaf.value {
        Some(AdvertisedHost::Same(Host::Ip(address))) if !address.is_loopback() => {
            Some((&leaf.at, address))
        }
        _ => None,
    })
}

/// Whether an address is advertised to clients of a family.
pub(super) fn has_address_for(pool: &schema::Pool, v4: bool) -> bool {
    let mut entries = pool.advertise.iter().flat_map(|list| &list.items);
    entries.any(|entry| has_address(entry) && could_serve(entry, v4))
}

/// Warns of a private address that is advertised to clients of other networks.
fn warn_of_private(entry: &schema::Advertise, listen: &[IpAddr], problems: &mut Problems) {
    let Some(leaf) = &entry.address else { return };
    let Some(AdvertisedHost::Same(Host::Ip(address))) = &leaf.value else { return };
    let Some(kind) = private(*address) else { return };
    let for_all = listen.iter().any(|ip| ip.is_unspecified() || private(*ip).is_none());
    let clients = match value(&entry.clients) {
        _ if is_for_all(entry) => "every client".to_owned(),
        Some(clients) if is_public(clients) => format!("clients of {clients}"),
        _ => return,
    };
    if for_all {
        let message = format!(
            "{address} is a {kind} address, but it is advertised to {clients}: clients from other \
             networks cannot reach it; limit it with `clients`, and advertise a public address to the \
             others"
        );
        problems.warning(&leaf.at, message);
    }
}

/// Whether some of them are not in a private network.
fn is_public(clients: &IpNet) -> bool {
    private(clients.network()).is_none() || private(clients.broadcast()).is_none()
}

/// Whether the entry can apply to control connections of a family.
fn could_serve(entry: &schema::Advertise, v4: bool) -> bool {
    let clients = value(&entry.clients).is_none_or(|clients| is_v4(clients) == v4);
    match value(&entry.address) {
        Some(AdvertisedHost::Same(Host::Ip(address))) => clients && address.is_ipv4() == v4,
        _ => clients,
    }
}

fn has_address(entry: &schema::Advertise) -> bool {
    entry.address.is_some() || entry.address_env.is_some()
}

/// An earlier entry that leaves no client for this one.
fn shadowing<'a>(
    entry: &schema::Advertise,
    before: &[&'a schema::Advertise],
    families: &[bool],
) -> Option<&'a schema::Advertise> {
    let shadows = |earlier: &schema::Advertise, v4: bool| {
        // A name may have no address of the family; nor may what only the replica knows.
        let certain = match value(&earlier.address) {
            Some(address) => matches!(address, AdvertisedHost::Same(Host::Ip(_))),
            None => earlier.address_env.is_none(),
        };
        let covers = match (value(&earlier.clients), value(&entry.clients)) {
            (None, _) => true,
            (Some(earlier), Some(clients)) => earlier.contains(clients),
            (Some(earlier), None) => earlier.prefix_len() == 0 && is_v4(earlier) == v4,
        };
        certain && covers && could_serve(earlier, v4)
    };
    let mut by_family =
        families.iter().map(|v4| before.iter().find(|earlier| shadows(earlier, *v4)));
    by_family.try_fold(None, |_, found| found.map(|earlier| Some(*earlier))).flatten()
}

fn is_for_all(entry: &schema::Advertise) -> bool {
    entry.clients.is_none() || value(&entry.clients).is_some_and(|net| net.prefix_len() == 0)
}

fn is_v4(network: &IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}

/// The kind of an address that is not reachable from everywhere.
fn private(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(ip) if ip.is_loopback() => Some("loopback"),
        IpAddr::V4(ip) if ip.is_private() => Some("private (RFC 1918)"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("link-local"),
        // RFC 6598.
        IpAddr::V4(ip) if matches!(ip.octets(), [100, 64..=127, ..]) => Some("carrier NAT"),
        IpAddr::V6(ip) if ip.is_loopback() => Some("loopback"),
        IpAddr::V6(ip) if ip.is_unique_local() => Some("private (RFC 4193)"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("link-local"),
        _ => None,
    }
}
