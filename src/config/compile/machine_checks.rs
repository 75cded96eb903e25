//! Warnings of `lockgate check` about this machine: addresses and ports that cannot be listened on, and
//! names that do not resolve. The configuration may be for another machine, or the gateway may run here.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::{entries, pools};
use crate::config::machine::{Availability, Machine, Names};
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::AdvertisedHost;
use crate::data::{Host, PoolSettings, Ports};

/// Warns of addresses that cannot be listened on here.
pub(super) fn warn_of_addresses(
    file: &File,
    pools: &[PoolSettings],
    machine: &Machine,
    problems: &mut Problems,
) {
    let availability = machine.availability;
    let mut in_use = Vec::new();
    for (_, listener) in entries(&file.listeners) {
        for (at, address) in listener.address.iter().flat_map(|list| list.values()) {
            check_socket(at, *address, availability(*address), &mut in_use, problems);
        }
        warn_of_source_ports(listener, availability, problems);
    }
    for (name, pool) in entries(&file.data_ports) {
        if let Some(settings) = pools.iter().find(|settings| settings.name == *name) {
            check_pool_ports(pool, settings, availability, &mut in_use, problems);
        }
    }
    let metrics = file.metrics.as_ref().and_then(|metrics| metrics.address.as_ref());
    let admin = file.admin.as_ref().and_then(|admin| admin.address.as_ref());
    for leaf in [metrics, admin].into_iter().flatten() {
        let Some(address) = leaf.value else { continue };
        check_socket(&leaf.at, address, availability(address), &mut in_use, problems);
    }
    warn_of_use(&in_use, problems);
}

/// An address or range with ports in use, by another program or a running gateway.
struct InUse {
    at: Location,
    what: String,
    /// The first, or only, port.
    port: u16,
}

fn check_socket(
    at: &Location,
    address: SocketAddr,
    availability: Availability,
    in_use: &mut Vec<InUse>,
    problems: &mut Problems,
) {
    let port = address.port();
    match availability {
        Availability::InUse => {
            in_use.push(InUse { at: at.clone(), what: address.to_string(), port });
        }
        Availability::NotLocal => problems.warning(at, not_local(address.ip())),
        Availability::Free | Availability::Unknown => {}
    }
}

/// A single warning: while the gateway runs, all of its addresses are in use.
fn warn_of_use(in_use: &[InUse], problems: &mut Problems) {
    let Some(first) = in_use.first() else { return };
    let all: Vec<_> = in_use.iter().map(|it| it.what.as_str()).collect();
    let message = format!(
        "in use on this machine: {}. Unless this is the running gateway, it will not start: `ss -tanp \
         'sport = :{}'` shows the program",
        all.join(", "),
        first.port
    );
    problems.warning(&first.at, message);
}

fn not_local(address: IpAddr) -> String {
    format!(
        "{address} is not an address of this machine: the gateway will not start here; `ip address` \
         lists those that are"
    )
}

fn check_pool_ports(
    pool: &schema::Pool,
    settings: &PoolSettings,
    availability: fn(SocketAddr) -> Availability,
    in_use: &mut Vec<InUse>,
    problems: &mut Problems,
) {
    // Without `listen` it uses the listener's addresses, which have been checked.
    for (at, address) in pool.listen.iter().flat_map(|list| list.values()) {
        if availability(SocketAddr::new(*address, 0)) == Availability::NotLocal {
            problems.warning(at, not_local(*address));
        }
    }
    let (Some(range), Ports::Range(ports)) = (&pool.range, &settings.ports) else { return };
    let is_taken = |port: &u16| {
        let addresses = settings.listen.iter();
        let mut availabilities =
            addresses.map(|address| availability(SocketAddr::new(*address, *port)));
        availabilities.any(|availability| availability == Availability::InUse)
    };
    let mut all_taken = ports.clone().filter(is_taken);
    let Some(first) = all_taken.next() else { return };
    let what = match 1 + all_taken.count() {
        1 => format!("port {first}"),
        count => format!("{count} of the ports {}-{}", ports.start(), ports.end()),
    };
    in_use.push(InUse { at: range.at.clone(), what, port: first });
}

/// Warns of source ports that another program listens on.
fn warn_of_source_ports(
    listener: &schema::Listener,
    availability: fn(SocketAddr) -> Availability,
    problems: &mut Problems,
) {
    let Some(leaf) = listener.active.as_ref().and_then(|active| active.source_ports.as_ref())
    else {
        return;
    };
    let Some(ports) = &leaf.value else { return };
    let addresses = || listener.address.iter().flat_map(|list| list.values());
    let is_taken = |port: &u16| {
        addresses()
            .any(|(_, it)| availability(SocketAddr::new(it.ip(), *port)) == Availability::InUse)
    };
    if let Some(port) = ports.0.clone().find(is_taken) {
        let message = format!(
            "port {port} is in use on this machine: no data connection can be opened from it; `ss -tanp \
             'sport = :{port}'` shows the program"
        );
        problems.warning(&leaf.at, message);
    }
}

/// A host name in the configuration.
struct Name<'a> {
    at: &'a Location,
    name: &'a str,
    /// What does not work until it resolves.
    consequence: &'static str,
}

/// Looks up all names and warns of those that do not resolve here.
pub(super) fn warn_of_names(file: &File, machine: &Machine, problems: &mut Problems) -> Names {
    let names = names(file);
    let distinct: BTreeSet<&str> = names.iter().map(|it| it.name).collect();
    let distinct: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
    if distinct.is_empty() {
        return Names::new();
    }
    let found = (machine.resolve)(&distinct);
    for Name { at, name, consequence } in names {
        let reason = match found.get(name) {
            Some(Err(reason)) => reason.as_str(),
            Some(Ok(addresses)) if addresses.is_empty() => "it has no address",
            _ => continue,
        };
        problems.warning(at, format!("\"{name}\" does not resolve here ({reason}): {consequence}"));
    }
    found
}

fn names(file: &File) -> Vec<Name<'_>> {
    let mut names = Vec::new();
    for (pool, settings) in entries(&file.data_ports) {
        let consequence = if pools::is_for_clients(file, pool) {
            "clients to which it is advertised are refused PASV until it does"
        } else {
            "servers to which it is advertised get no port until it does"
        };
        for entry in settings.advertise.iter().flat_map(|list| &list.items) {
            if let Some(leaf) = &entry.address
                && let Some(AdvertisedHost::Same(Host::Name(name))) = &leaf.value
            {
                names.push(Name { at: &leaf.at, name, consequence });
            }
        }
    }
    for (_, backend) in entries(&file.backends) {
        for (at, address) in backend.address.iter().flat_map(|list| list.values()) {
            if address.host.parse::<IpAddr>().is_err() {
                let consequence = "the gateway cannot connect to this server until it does";
                names.push(Name { at, name: &address.host, consequence });
            }
        }
    }
    for output in file.audit.iter().flat_map(|outputs| &outputs.items) {
        if let Some(leaf) = output.syslog.as_ref().and_then(|syslog| syslog.address.as_ref())
            && let Some(address) = &leaf.value
            && address.host.parse::<IpAddr>().is_err()
        {
            let consequence = "no audit record reaches this receiver until it does";
            names.push(Name { at: &leaf.at, name: &address.host, consequence });
        }
    }
    names
}
