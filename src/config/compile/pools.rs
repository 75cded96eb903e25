use std::net::{IpAddr, Ipv4Addr};

use super::{check_name, dangling, entries, trusted, value};
use crate::config::leaf::Leaf;
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::surroundings::Surroundings;
use crate::config::values::{DataSessions, Text};
use crate::data::{ClientMatch, PoolSettings, Ports};

mod advertise;
mod slice;

pub(super) fn compile(
    file: &File,
    surroundings: &Surroundings,
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
        let advertise = advertise::compile(pool, range, problems);
        advertise::warn(pool, &listen, for_clients, problems);
        warn_of_loopback(file, name, pool, &listen, problems);
        warn_of_unreachable(file, name, pool, &listen, problems);
        warn_of_outgoing(pool, surroundings, problems);
        check_client_match(file, name, pool, problems);
        check_proxies(file, name, pool, problems);
        let ports = match &pool.slice {
            Some(slice) => range.and_then(|range| slice::cut(slice, range, surroundings, problems)),
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
                    .map_or(PoolSettings::RESERVATIONS_PER_ADDRESS, |count| count.0 as usize),
                proxy_protocol: trusted(&pool.proxy_protocol, problems),
                wait: value(&pool.wait).copied().unwrap_or(PoolSettings::WAIT_TIMEOUT),
            });
        }
    }
    pools
}

/// A pool that is named must be there.
pub(super) fn refuse_dangling(file: &File, leaf: &Option<Leaf<Text>>, problems: &mut Problems) {
    let pools = entries(&file.data_ports);
    if let Some(leaf) = leaf
        && let Some(pool) = &leaf.value
        && !pools.iter().any(|(name, _)| *name == pool.0)
    {
        let names = pools.iter().map(|(name, _)| name.as_str());
        dangling("pool of data ports", &pool.0, names, &leaf.at, problems);
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

/// Clients that come from elsewhere reach no loopback address.
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
            && let Some((at, address)) = advertise::elsewhere(pool)
        {
            let message = format!(
                "clients are told {address}, and the data ports listen on the loopback only, as their \
                 listeners do: say with `listen` where data connections come"
            );
            problems.warning(at, message);
        }
        return;
    };
    for (listener, settings) in listeners_of(file, name) {
        let mut addresses = settings.address.iter().flat_map(|list| list.values());
        if addresses.any(|(_, address)| !address.ip().is_loopback()) {
            let message = format!(
                "is the loopback only, and listener \"{listener}\" is not: its clients cannot reach \
                 the data ports"
            );
            problems.warning(&leaf.at, message);
        }
    }
}

/// Clients of a listener are told its own address where `advertise` names no other.
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
        // By way of a proxy data connections come to where it is.
        if settings.proxy_protocol.is_some() || pool.proxy_protocol.is_some() {
            continue;
        }
        for (_, address) in settings.address.iter().flat_map(|list| list.values()) {
            let own = address.ip();
            let told_already = only_loopback && !own.is_loopback();
            let listens =
                |ip: &IpAddr| *ip == own || (ip.is_unspecified() && ip.is_ipv4() == own.is_ipv4());
            if told_already
                || listen.iter().any(listens)
                || advertise::names_one(pool, own.is_ipv4())
            {
                continue;
            }
            let ports: Vec<_> = listen.iter().map(ToString::to_string).collect();
            let (come, refused) = match own.is_unspecified() {
                true => (format!("may come to any address ({own})"), "those who come to another"),
                false => (format!("come to {own}"), "them"),
            };
            let message = format!(
                "clients of listener \"{listener}\" {come}, and the data ports listen on {} \
                 only: PASV and EPSV are refused to {refused}; listen on {own}, too, or say with \
                 `advertise` which address reaches the ports",
                ports.join(", ")
            );
            problems.warning(at, message);
        }
    }
}

/// A port that an outgoing connection has when the gateway starts cannot be opened.
fn warn_of_outgoing(pool: &schema::Pool, surroundings: &Surroundings, problems: &mut Problems) {
    let Some(leaf) = &pool.range else { return };
    let (Some(range), Some(ephemeral)) = (&leaf.value, &surroundings.ephemeral) else { return };
    let Some(port) = surroundings.first_taken(&range.0) else { return };
    let (first, last) = (range.0.start(), range.0.end());
    let message = format!(
        "this machine's kernel gives the ports {} to {} to outgoing connections, and one that has \
         port {port} when the gateway starts keeps it from starting; reserve them with `sysctl -w \
         net.ipv4.ip_local_reserved_ports={first}-{last}`, or choose others",
        ephemeral.start(),
        ephemeral.end(),
    );
    problems.warning(&leaf.at, message);
}

/// Where only the resumed session tells whose a connection is, it must be resumed.
fn check_client_match(file: &File, name: &str, pool: &schema::Pool, problems: &mut Problems) {
    let Some(leaf) = &pool.client_match else { return };
    if leaf.value != Some(ClientMatch::Session) {
        return;
    }
    if listeners_of(file, name).count() > 1 {
        let message = "session and several listeners: a port waits for clients of one listener at a \
                       time, so that those of another may wait for it; give each a pool of its own";
        problems.warning(&leaf.at, message);
    }
    for (listener, settings) in listeners_of(file, name) {
        let sessions = settings.tls.as_ref().and_then(|tls| value(&tls.data_sessions));
        if sessions != Some(&DataSessions::Resumed) {
            let message = format!(
                "session needs `data_sessions: resumed` in `tls` of every listener that uses the \
                 pool; \"{listener}\" has it not"
            );
            problems.error(&leaf.at, message);
        }
    }
    for (backend, _) in backends_of(file, name) {
        let message = format!(
            "session is for clients; the server of backend \"{backend}\" resumes nothing: give it a \
             pool of its own"
        );
        problems.error(&leaf.at, message);
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

/// The addresses that a pool listens on: where clients of its listeners come to, unless it says others.
pub(super) fn listen(file: &File, name: &str, pool: &schema::Pool) -> Vec<IpAddr> {
    if let Some(listen) = &pool.listen {
        return listen.values().map(|(_, address)| *address).collect();
    }
    let mut listen = Vec::new();
    for (_, listener) in listeners_of(file, name) {
        let addresses = listener.address.iter().flat_map(|list| list.values());
        listen.extend(addresses.map(|(_, address)| address.ip()));
    }
    // A server may come to another address of the gateway than clients do.
    if listen.is_empty() || backends_of(file, name).next().is_some() {
        listen.push(Ipv4Addr::UNSPECIFIED.into());
    }
    without_repetition(listen)
}

/// A wildcard and another address of its family cannot both be bound to one port.
fn without_repetition(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let wildcards: Vec<_> = addresses.iter().copied().filter(IpAddr::is_unspecified).collect();
    let covered = |address: &IpAddr| {
        wildcards.iter().any(|it| it != address && it.is_ipv4() == address.is_ipv4())
    };
    addresses.retain(|address| !covered(address));
    addresses.sort();
    addresses.dedup();
    addresses
}
