//! `data_ports`: pools of ports for data connections.

use std::net::{IpAddr, Ipv4Addr};

use super::{check_name, entries, trusted, unknown_name, value};
use crate::config::leaf::Leaf;
use crate::config::machine::Machine;
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::{DataSessions, Text};
use crate::data::{ClientMatch, PoolSettings, Ports};

mod advertise;
mod advertised_host;
mod slice;

pub(super) fn compile(
    file: &File,
    machine: &Machine,
    problems: &mut Problems,
) -> Vec<PoolSettings> {
    let mut pools = Vec::new();
    for (name, pool) in entries(&file.data_ports) {
        check_name(name, &pool.at, problems);
        let for_clients = is_for_clients(file, name);
        if !for_clients && backends_of(file, name).next().is_none() {
            problems.warning(&pool.at, "is used by no listener and no backend");
        }
        let listen = listen(file, name, pool);
        let range = value(&pool.range).map(|range| &range.0);
        let advertise = advertise::compile(pool, range, machine, problems);
        advertise::warn(pool, &listen, for_clients, problems);
        warn_of_loopback(file, name, pool, &listen, problems);
        warn_of_unreachable(file, name, pool, &listen, problems);
        warn_of_outgoing(pool, machine, problems);
        check_client_match(file, name, pool, problems);
        check_proxies(file, name, pool, problems);
        let ports = match &pool.slice {
            Some(slice) => range.and_then(|range| slice::cut(slice, range, machine, problems)),
            None => range.cloned(),
        };
        if let Some(ports) = ports {
            pools.push(PoolSettings {
                name: name.clone(),
                ports: Ports::Range(ports),
                listen,
                advertise,
                client_match: value(&pool.client_match).copied().unwrap_or_default(),
                reservations_per_address: value(&pool.reservations_per_address)
                    .map_or(PoolSettings::DEFAULT_RESERVATIONS_PER_ADDRESS_MAX, |count| {
                        count.0 as usize
                    }),
                proxy_protocol: trusted(&pool.proxy_protocol, problems),
                wait: value(&pool.wait).copied().unwrap_or(PoolSettings::DEFAULT_WAIT_TIMEOUT),
            });
        }
    }
    pools
}

/// Checks that the named pool exists.
pub(super) fn check_pool(file: &File, leaf: &Option<Leaf<Text>>, problems: &mut Problems) {
    let pools = entries(&file.data_ports);
    if let Some(leaf) = leaf
        && let Some(pool) = &leaf.value
        && !pools.iter().any(|(name, _)| *name == pool.0)
    {
        let names = pools.iter().map(|(name, _)| name.as_str());
        unknown_name("pool of data ports", &pool.0, names, &leaf.at, problems);
    }
}

/// Whether a listener uses it.
pub(super) fn is_for_clients(file: &File, pool: &str) -> bool {
    listeners_of(file, pool).next().is_some()
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

fn backends_of<'a>(
    file: &'a File,
    pool: &'a str,
) -> impl Iterator<Item = &'a (String, schema::Backend)> {
    let uses = move |backend: &schema::Backend| {
        value(&backend.data_ports).is_some_and(|used| used.0 == pool)
    };
    entries(&file.backends).iter().filter(move |(_, backend)| uses(backend))
}

/// Warns of a pool that listens on the loopback only, which clients of other machines cannot reach.
fn warn_of_loopback(
    file: &File,
    name: &str,
    pool: &schema::Pool,
    listen: &[IpAddr],
    problems: &mut Problems,
) {
    if !listen.iter().all(IpAddr::is_loopback) {
        return;
    }
    let Some(leaf) = &pool.listen else {
        if pool.proxy_protocol.is_none()
            && let Some((at, address)) = advertise::advertised_address(pool)
        {
            let message = format!(
                "{address} is advertised to clients, but the data ports listen on the loopback only, as \
                 their listeners do: set `listen` to the addresses for data connections"
            );
            problems.warning(at, message);
        }
        return;
    };
    for (listener, settings) in listeners_of(file, name) {
        let mut addresses = settings.address.iter().flat_map(|list| list.values());
        if addresses.any(|(_, address)| !address.ip().is_loopback()) {
            let message = format!(
                "is the loopback only, but listener \"{listener}\" is not: its clients cannot reach the \
                 data ports"
            );
            problems.warning(&leaf.at, message);
        }
    }
}

/// Warns of a pool that does not listen on the addresses of its listeners, which clients get without
/// `advertise`.
fn warn_of_unreachable(
    file: &File,
    name: &str,
    pool: &schema::Pool,
    listen: &[IpAddr],
    problems: &mut Problems,
) {
    let at = pool.listen.as_ref().map_or(&pool.at, |list| &list.at);
    let only_loopback = listen.iter().all(IpAddr::is_loopback);
    for (listener, settings) in listeners_of(file, name) {
        // Data connections go through the proxy.
        if settings.proxy_protocol.is_some() || pool.proxy_protocol.is_some() {
            continue;
        }
        for (_, address) in settings.address.iter().flat_map(|list| list.values()) {
            let own = address.ip();
            let is_reported = only_loopback && !own.is_loopback();
            let listens =
                |ip: &IpAddr| *ip == own || (ip.is_unspecified() && ip.is_ipv4() == own.is_ipv4());
            if is_reported
                || listen.iter().any(listens)
                || advertise::has_address_for(pool, own.is_ipv4())
            {
                continue;
            }
            let ports: Vec<_> = listen.iter().map(ToString::to_string).collect();
            let (connect, refused) = if own.is_unspecified() {
                (format!("may connect to any address ({own})"), "those that connect to another")
            } else {
                (format!("connect to {own}"), "them")
            };
            let message = format!(
                "clients of listener \"{listener}\" {connect}, but the data ports listen on {} only: \
                 PASV and EPSV are refused to {refused}; listen on {own}, too, or set `advertise` to an \
                 address that reaches the ports",
                ports.join(", ")
            );
            problems.warning(at, message);
        }
    }
}

/// Warns of ports that an outgoing connection may occupy when the gateway starts.
fn warn_of_outgoing(pool: &schema::Pool, machine: &Machine, problems: &mut Problems) {
    let Some(leaf) = &pool.range else { return };
    let (Some(range), Some(ephemeral)) = (&leaf.value, &machine.ephemeral) else { return };
    let Some(port) = machine.first_ephemeral(&range.0) else { return };
    let (first, last) = (range.0.start(), range.0.end());
    let message = format!(
        "this machine's kernel uses the ports {} to {} for outgoing connections; while one uses port \
         {port}, the gateway cannot start; reserve them with `sysctl -w \
         net.ipv4.ip_local_reserved_ports={first}-{last}`, or choose others",
        ephemeral.start(),
        ephemeral.end(),
    );
    problems.warning(&leaf.at, message);
}

/// `client_match: session` requires data connections to resume their session.
fn check_client_match(file: &File, name: &str, pool: &schema::Pool, problems: &mut Problems) {
    let Some(leaf) = &pool.client_match else { return };
    if leaf.value != Some(ClientMatch::Session) {
        return;
    }
    if listeners_of(file, name).count() > 1 {
        let message = "`session` with several listeners: a port serves clients of one listener at a \
                       time, so clients of another may have to wait; give each listener its own pool";
        problems.warning(&leaf.at, message);
    }
    for (listener, settings) in listeners_of(file, name) {
        let sessions = settings.tls.as_ref().and_then(|tls| value(&tls.data_sessions));
        if sessions != Some(&DataSessions::Resumed) {
            let message = format!(
                "`session` requires `tls.data_sessions: resumed` at every listener of the pool; it is \
                 missing at \"{listener}\""
            );
            problems.error(&leaf.at, message);
        }
    }
    for (backend, _) in backends_of(file, name) {
        let message = format!(
            "`session` is for clients only, but backend \"{backend}\" uses the pool, too; give it its \
             own pool"
        );
        problems.error(&leaf.at, message);
    }
}

/// Data connections of clients behind a load balancer go through it, too, unless another address is
/// advertised.
fn check_proxies(file: &File, name: &str, pool: &schema::Pool, problems: &mut Problems) {
    if pool.advertise.is_some() {
        return;
    }
    for (listener, settings) in listeners_of(file, name) {
        match (&settings.proxy_protocol, &pool.proxy_protocol) {
            (Some(_), None) => problems.warning(
                &pool.at,
                format!(
                    "has no `proxy_protocol`, but listener \"{listener}\" has: data connections through \
                     the load balancer have its address and match no client"
                ),
            ),
            (None, Some(leaf)) => problems.warning(
                &leaf.at,
                format!(
                    "clients of listener \"{listener}\", which has no `proxy_protocol`, get an address \
                     where only proxies may connect: `advertise` the load balancer's address"
                ),
            ),
            _ => {}
        }
    }
}

/// The addresses that a pool listens on: by default those of its listeners.
pub(super) fn listen(file: &File, name: &str, pool: &schema::Pool) -> Vec<IpAddr> {
    if let Some(listen) = &pool.listen {
        return listen.values().map(|(_, address)| *address).collect();
    }
    let mut listen = Vec::new();
    for (_, listener) in listeners_of(file, name) {
        let addresses = listener.address.iter().flat_map(|list| list.values());
        listen.extend(addresses.map(|(_, address)| address.ip()));
    }
    // A server may connect to another address of the gateway than clients.
    if listen.is_empty() || backends_of(file, name).next().is_some() {
        listen.push(Ipv4Addr::UNSPECIFIED.into());
    }
    deduplicated(listen)
}

/// Removes duplicates and addresses that a wildcard covers: both cannot be bound to one port.
fn deduplicated(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let wildcards: Vec<_> = addresses.iter().copied().filter(IpAddr::is_unspecified).collect();
    let covered = |address: &IpAddr| {
        wildcards.iter().any(|it| it != address && it.is_ipv4() == address.is_ipv4())
    };
    addresses.retain(|address| !covered(address));
    addresses.sort();
    addresses.dedup();
    addresses
}
