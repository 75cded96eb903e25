use std::net::{IpAddr, Ipv4Addr};

use super::{check_name, entries, value};
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::data::{Advertise, PoolSettings, Ports};

pub(super) fn compile(file: &File, problems: &mut Problems) -> Vec<PoolSettings> {
    let mut pools = Vec::new();
    for (name, pool) in entries(&file.data_ports) {
        check_name(name, &pool.at, problems);
        if !listeners_of(file, name) {
            problems.warning(&pool.at, "is used by no listener");
        }
        let advertise = advertise(pool, problems);
        let listen = listen(pool);
        if let Some(range) = value(&pool.range) {
            let ports = Ports::Range(range.0.clone());
            pools.push(PoolSettings { name: name.clone(), ports, listen, advertise });
        }
    }
    pools
}

fn listeners_of(file: &File, pool: &str) -> bool {
    let uses =
        |listener: &schema::Listener| value(&listener.data_ports).is_some_and(|p| p.0 == pool);
    entries(&file.listeners).iter().any(|(_, listener)| uses(listener))
}

/// The addresses that a pool listens on.
pub(super) fn listen(pool: &schema::Pool) -> Vec<IpAddr> {
    match &pool.listen {
        Some(listen) => listen.values().map(|(_, address)| *address).collect(),
        None => vec![Ipv4Addr::UNSPECIFIED.into()],
    }
}

fn advertise(pool: &schema::Pool, problems: &mut Problems) -> Vec<Advertise> {
    let mut advertise: Vec<Advertise> = Vec::new();
    let mut everybody = None;
    for entry in pool.advertise.iter().flat_map(|list| &list.items) {
        if let Some(line) = everybody {
            let message = format!(
                "is never used: the entry in line {line} without `clients` matches everybody"
            );
            problems.error(&entry.at, message);
        } else if entry.clients.is_none() {
            everybody = Some(entry.at.mark.line);
        }
        let Some(address) = value(&entry.address).copied() else { continue };
        if (address.is_unspecified() || address.is_multicast())
            && let Some(leaf) = &entry.address
        {
            problems.error(&leaf.at, format!("no client can connect to {address}"));
        }
        advertise.push(Advertise { clients: value(&entry.clients).copied(), address });
    }
    advertise
}
