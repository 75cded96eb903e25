//! What this machine says to the addresses and names of a configuration that is only looked at: it may
//! be meant for another machine, or the gateway may run here already.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::{entries, pools};
use crate::config::report::{At, Problems};
use crate::config::schema::{self, File};
use crate::config::surroundings::{Names, Place, Surroundings};
use crate::data::{Host, PoolSettings, Ports};

/// Addresses that cannot be listened on here.
pub(super) fn warn_of_addresses(
    file: &File,
    pools: &[PoolSettings],
    surroundings: &Surroundings,
    problems: &mut Problems,
) {
    let place = surroundings.place;
    let mut in_use = Vec::new();
    for (_, listener) in entries(&file.listeners) {
        for (at, address) in listener.address.iter().flat_map(|list| list.values()) {
            look_at_socket(at, *address, place(*address), &mut in_use, problems);
        }
        warn_of_source_ports(listener, place, problems);
    }
    for (name, pool) in entries(&file.data_ports) {
        if let Some(settings) = pools.iter().find(|settings| settings.name == *name) {
            look_at_pool(pool, settings, place, &mut in_use, problems);
        }
    }
    if let Some(metrics) = &file.metrics
        && let Some(leaf) = &metrics.address
        && let Some(address) = leaf.value
    {
        look_at_socket(&leaf.at, address, place(address), &mut in_use, problems);
    }
    warn_of_use(&in_use, problems);
}

/// What another program, or the gateway that runs already, listens on.
struct InUse {
    at: At,
    what: String,
    /// The first, or only, port.
    port: u16,
}

fn look_at_socket(
    at: &At,
    address: SocketAddr,
    place: Place,
    in_use: &mut Vec<InUse>,
    problems: &mut Problems,
) {
    let port = address.port();
    match place {
        Place::Taken => {
            in_use.push(InUse { at: at.clone(), what: address.to_string(), port });
        }
        Place::NotHere => problems.warning(at, not_here(address.ip())),
        Place::Free | Place::Unknown => {}
    }
}

/// One warning for all: beside the running gateway, each address is in use.
fn warn_of_use(in_use: &[InUse], problems: &mut Problems) {
    let Some(first) = in_use.first() else { return };
    let all: Vec<_> = in_use.iter().map(|it| it.what.as_str()).collect();
    let message = format!(
        "in use on this machine: {}. Unless the gateway runs here already, it will not start: `ss -tanp \
         'sport = :{}'` shows the program",
        all.join(", "),
        first.port
    );
    problems.warning(&first.at, message);
}

fn not_here(address: IpAddr) -> String {
    format!(
        "{address} is not an address of this machine: the gateway will not start here; `ip address` lists \
         those that are"
    )
}

fn look_at_pool(
    pool: &schema::Pool,
    settings: &PoolSettings,
    place: fn(SocketAddr) -> Place,
    in_use: &mut Vec<InUse>,
    problems: &mut Problems,
) {
    // Where it names no address, the listener's own has been told.
    for (at, address) in pool.listen.iter().flat_map(|list| list.values()) {
        if place(SocketAddr::new(*address, 0)) == Place::NotHere {
            problems.warning(at, not_here(*address));
        }
    }
    let (Some(range), Ports::Range(ports)) = (&pool.range, &settings.ports) else { return };
    let is_taken = |port: &u16| {
        let addresses = settings.listen.iter();
        let mut places = addresses.map(|address| place(SocketAddr::new(*address, *port)));
        places.any(|place| place == Place::Taken)
    };
    let mut all_taken = ports.clone().filter(is_taken);
    let Some(first) = all_taken.next() else { return };
    let what = match 1 + all_taken.count() {
        1 => format!("port {first}"),
        count => format!("{count} of the ports {}-{}", ports.start(), ports.end()),
    };
    in_use.push(InUse { at: range.at.clone(), what, port: first });
}

/// Nobody can connect from a port on which another program listens.
fn warn_of_source_ports(
    listener: &schema::Listener,
    place: fn(SocketAddr) -> Place,
    problems: &mut Problems,
) {
    let Some(leaf) = listener.active.as_ref().and_then(|active| active.source_ports.as_ref())
    else {
        return;
    };
    let Some(ports) = &leaf.value else { return };
    let addresses = || listener.address.iter().flat_map(|list| list.values());
    let is_taken = |port: &u16| {
        addresses().any(|(_, it)| place(SocketAddr::new(it.ip(), *port)) == Place::Taken)
    };
    if let Some(port) = ports.0.clone().find(is_taken) {
        let message = format!(
            "port {port} is in use on this machine: no data connection can come from it; `ss -tanp \
             'sport = :{port}'` shows by whom"
        );
        problems.warning(&leaf.at, message);
    }
}

/// A name of the configuration.
struct Name<'a> {
    at: &'a At,
    name: &'a str,
    /// What does not work without it.
    so: &'static str,
}

/// Looks up all names, and warns of those that are unknown here.
pub(super) fn warn_of_names(
    file: &File,
    surroundings: &Surroundings,
    problems: &mut Problems,
) -> Names {
    let names = names(file);
    let distinct: BTreeSet<&str> = names.iter().map(|it| it.name).collect();
    let distinct: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
    if distinct.is_empty() {
        return Names::new();
    }
    let found = (surroundings.resolve)(&distinct);
    for Name { at, name, so } in names {
        let reason = match found.get(name) {
            Some(Err(reason)) => reason.as_str(),
            Some(Ok(addresses)) if addresses.is_empty() => "it has no address",
            _ => continue,
        };
        problems.warning(at, format!("\"{name}\" does not resolve here ({reason}): {so}"));
    }
    found
}

fn names(file: &File) -> Vec<Name<'_>> {
    let mut names = Vec::new();
    for (pool, settings) in entries(&file.data_ports) {
        let so = match pools::is_for_clients(file, pool) {
            true => "clients that are to be told it are refused PASV until it does",
            false => "servers that are to be told it get no port until it does",
        };
        for entry in settings.advertise.iter().flat_map(|list| &list.items) {
            if let Some(leaf) = &entry.address
                && let Some(Host::Name(name)) = &leaf.value
            {
                names.push(Name { at: &leaf.at, name, so });
            }
        }
    }
    for (_, backend) in entries(&file.backends) {
        for (at, address) in backend.address.iter().flat_map(|list| list.values()) {
            if address.host.parse::<IpAddr>().is_err() {
                let so = "the gateway cannot connect to this server until it does";
                names.push(Name { at, name: &address.host, so });
            }
        }
    }
    names
}
