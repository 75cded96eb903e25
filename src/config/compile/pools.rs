use std::net::{IpAddr, Ipv4Addr};

use super::{check_name, entries, trusted, value};
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::DataSessions;
use crate::data::{Advertise, ClientMatch, PoolSettings, Ports};

pub(super) fn compile(file: &File, problems: &mut Problems) -> Vec<PoolSettings> {
    let mut pools = Vec::new();
    for (name, pool) in entries(&file.data_ports) {
        check_name(name, &pool.at, problems);
        if listeners_of(file, name).next().is_none() {
            problems.warning(&pool.at, "is used by no listener");
        }
        let advertise = advertise(pool, problems);
        let listen = listen(pool);
        check_client_match(file, name, pool, problems);
        check_proxies(file, name, pool, problems);
        if let Some(range) = value(&pool.range) {
            pools.push(PoolSettings {
                name: name.clone(),
                ports: Ports::Range(range.0.clone()),
                listen,
                advertise,
                client_match: value(&pool.client_match).copied().unwrap_or_default(),
                reservations_per_address: value(&pool.reservations_per_address)
                    .map_or(PoolSettings::RESERVATIONS_PER_ADDRESS, |count| count.0 as usize),
                proxy_protocol: trusted(&pool.proxy_protocol, problems),
                wait: value(&pool.wait).copied().unwrap_or(PoolSettings::WAIT),
            });
        }
    }
    pools
}

fn listeners_of<'a>(
    file: &'a File,
    pool: &'a str,
) -> impl Iterator<Item = &'a (String, schema::Listener)> {
    let uses = move |listener: &schema::Listener| {
        value(&listener.data_ports).is_some_and(|used| used.0 == pool)
    };
    entries(&file.listeners).iter().filter(move |(_, listener)| uses(listener))
}

/// Where only the resumed session tells whose a connection is, it must be resumed.
fn check_client_match(file: &File, name: &str, pool: &schema::Pool, problems: &mut Problems) {
    let Some(leaf) = &pool.client_match else { return };
    if leaf.value != Some(ClientMatch::Session) {
        return;
    }
    for (listener, settings) in listeners_of(file, name) {
        let sessions = settings.tls.as_ref().and_then(|tls| value(&tls.data_sessions));
        if sessions != Some(&DataSessions::Resumed) {
            let message = format!(
                "session needs `data_sessions: resumed` in `tls` of every listener that uses the                  pool; \"{listener}\" has it not"
            );
            problems.error(&leaf.at, message);
        }
    }
}

/// Clients that come by way of a balancer have their data connections come that way too, unless they
/// are told another address.
fn check_proxies(file: &File, name: &str, pool: &schema::Pool, problems: &mut Problems) {
    if pool.advertise.is_some() {
        return;
    }
    for (listener, settings) in listeners_of(file, name) {
        match (&settings.proxy_protocol, &pool.proxy_protocol) {
            (Some(_), None) => problems.warning(
                &pool.at,
                format!(
                    "has no `proxy_protocol`, and listener \"{listener}\" has: data connections that \
                     come by way of the balancer seem to be its own, and match no client"
                ),
            ),
            (None, Some(leaf)) => problems.warning(
                &leaf.at,
                format!(
                    "clients of listener \"{listener}\", which has no `proxy_protocol`, are told an \
                     address where only proxies may connect: `advertise` the balancer's to them"
                ),
            ),
            _ => {}
        }
    }
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
