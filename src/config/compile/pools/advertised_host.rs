//! `address` and `address_env` of an entry of `advertise`: one for all replicas, or this replica's own.

use std::net::IpAddr;

use super::super::value;
use super::slice;
use crate::config::machine::Machine;
use crate::config::report::{Location, Problems};
use crate::config::schema;
use crate::config::values::{AdvertisedHost, INDEX_PLACEHOLDER, parse_host};
use crate::data::Host;

/// The address or name of `address` or `address_env`; `None` also if neither is set.
pub(super) fn compile(
    entry: &schema::Advertise,
    pool: &schema::Pool,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Host> {
    let (at, host) = match (&entry.address, &entry.address_env) {
        (None, None) => return None,
        (Some(_), Some(variable)) => {
            problems.error(&variable.at, "`address` is set, too; keep one of them");
            return None;
        }
        (Some(leaf), None) => match leaf.value.as_ref()? {
            AdvertisedHost::Same(host) => (&leaf.at, host.clone()),
            AdvertisedHost::EachReplica(text) => {
                (&leaf.at, of_replica(text, &leaf.at, pool, machine, problems)?)
            }
        },
        (None, Some(leaf)) => {
            (&leaf.at, of_variable(&leaf.value.as_ref()?.0, &leaf.at, machine, problems)?)
        }
    };
    if let Host::Ip(address) = host
        && (address.is_unspecified() || address.is_multicast() || is_broadcast(&address))
    {
        problems.error(at, format!("no client can connect to {address}"));
    }
    Some(host)
}

/// `address` with `{index}`.
fn of_replica(
    text: &str,
    at: &Location,
    pool: &schema::Pool,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Host> {
    let Some(slice) = &pool.slice else {
        let message = format!(
            "`{INDEX_PLACEHOLDER}` is the index of the replica's slice, but the pool has no `slice`"
        );
        problems.error(at, message);
        return None;
    };
    // Each replica's, so that no replica is the first to find a mistake.
    let of = value(&slice.of).map_or(1, |of| of.0);
    if let Err(invalid) = AdvertisedHost::of_replica(text, of - 1) {
        let message = format!("for the replica with index {}: {}", of - 1, invalid.message);
        problems.error(at, message);
        return None;
    }
    AdvertisedHost::of_replica(text, slice::replica(slice, machine)?).ok()
}

/// `address_env`.
fn of_variable(
    name: &str,
    at: &Location,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<Host> {
    let Some(text) = (machine.variable)(name) else {
        let message = format!("the environment variable {name} is not set");
        if machine.runs_here {
            problems.error(at, format!("{message}: it has the address for PASV replies"));
        } else {
            problems.warning(at, format!("{message} here; `run` needs it for PASV replies"));
        }
        return None;
    };
    match parse_host(&text) {
        Ok(host) => Some(host),
        Err(_) => {
            let message =
                format!("{name} is {text:?}, which is neither an IP address nor a host name");
            problems.error(at, message);
            None
        }
    }
}

fn is_broadcast(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(ip) if ip.is_broadcast())
}
