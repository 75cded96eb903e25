//! From the schema to settings. A mistake is noted once, and settings that cannot be made without it
//! are left out; the caller throws the rest away then.

use std::path::Path;

use ipnet::IpNet;

use super::read::Named;
use super::report::{At, Problems};
use super::schema::File;
use super::surroundings::{Names, Surroundings};
use super::{Compiled, LogSettings, Report};
use crate::config::leaf::{Leaf, OneOrMore};

mod accounts;
mod admin;
mod algorithms;
mod backends;
mod certificates;
mod descriptors;
mod foreign;
mod here;
mod key_files;
mod key_logins;
mod listeners;
mod own_address;
mod placeholders;
mod pools;
mod routes;
mod sftp_listeners;
mod sockets;
mod users;

pub(super) fn compile(
    file: &File,
    folder: &Path,
    surroundings: &Surroundings,
    problems: &mut Problems,
) -> Option<Compiled> {
    let pools = pools::compile(file, surroundings, problems);
    let listeners = listeners::compile(file, folder, problems);
    let sftp_listeners = sftp_listeners::compile(file, folder, problems);
    let (backends, entrances) = backends::compile(file, folder, problems);
    let users = users::compile(file, folder, problems);
    key_logins::warn_of_idle(file, &entrances, problems);
    let routes = routes::compile(file, entrances, problems);
    sockets::refuse_overlaps(file, problems);
    let metrics = file.metrics.as_ref().and_then(|metrics| value(&metrics.address).copied());
    let admin_socket = admin::compile(file, folder, surroundings, problems);
    let log = log(file);
    let limits = limits(file);
    placeholders::warn(file, problems);
    // Beside errors no warning is shown, and some of these take a while.
    if !problems.has_errors() {
        certificates::warn(file, folder, surroundings, problems);
        descriptors::warn(file, limits.sessions, &pools, surroundings, problems);
        let mut names = Names::new();
        if !surroundings.runs_here {
            here::warn_of_addresses(file, &pools, surroundings, problems);
            names = here::warn_of_names(file, surroundings, problems);
        }
        own_address::warn(file, &names, surroundings, problems);
    }
    let warnings = Report::new("", "", Problems::default());
    Some(Compiled {
        listeners,
        sftp_listeners,
        pools,
        backends,
        users,
        routes,
        limits,
        metrics,
        admin_socket,
        log,
        warnings,
    })
}

fn limits(file: &File) -> crate::session::Limits {
    let mut limits = crate::session::Limits::default();
    let Some(given) = &file.limits else { return limits };
    let counts = [
        (&given.sessions, &mut limits.sessions),
        (&given.sessions_per_address, &mut limits.sessions_per_address),
    ];
    for (given, limit) in counts {
        *limit = value(given).map_or(*limit, |count| count.0 as usize);
    }
    limits.login_attempts = value(&given.login_attempts).map_or(limits.login_attempts, |n| n.0);
    let times = [
        (&given.login_timeout, &mut limits.login_timeout),
        (&given.idle_timeout, &mut limits.idle_timeout),
        (&given.data_connect_timeout, &mut limits.data_connect_timeout),
        (&given.stall_timeout, &mut limits.stall_timeout),
    ];
    for (given, limit) in times {
        *limit = value(given).map_or(*limit, |time| time.0);
    }
    limits.drain_timeout = value(&given.drain_timeout).copied().unwrap_or(limits.drain_timeout);
    limits
}

fn log(file: &File) -> LogSettings {
    let given = file.log.as_ref();
    LogSettings {
        format: given.and_then(|log| value(&log.format).copied()).unwrap_or_default(),
        level: given.and_then(|log| value(&log.level).copied()).unwrap_or_default(),
    }
}

/// What stands there, unless it is absent or wrong.
fn value<T>(leaf: &Option<Leaf<T>>) -> Option<&T> {
    leaf.as_ref()?.value.as_ref()
}

/// Whose PROXY protocol headers are believed; none where the key is absent.
fn trusted(list: &Option<OneOrMore<IpNet>>, problems: &mut Problems) -> Vec<IpNet> {
    let mut trusted = Vec::new();
    for (at, network) in list.iter().flat_map(|list| list.values()) {
        if network.prefix_len() == 0 {
            problems.warning(
                at,
                "trusts everybody: whoever can connect can name any address as its own",
            );
        }
        trusted.push(*network);
    }
    trusted
}

/// A whole text file.
fn text(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

/// The entries of a section of names; none where it is absent.
fn entries<T>(named: &Option<Named<T>>) -> &[(String, T)] {
    named.as_ref().map_or(&[], |named| &named.items)
}

/// At least one entry must be there.
fn refuse_empty<T>(named: &Option<Named<T>>, problems: &mut Problems) {
    if let Some(named) = named.as_ref().filter(|named| named.items.is_empty()) {
        problems.error(&named.at, "is empty; at least one is needed");
    }
}

/// Names of listeners, pools and backends appear in messages, logs and metric labels.
fn check_name(name: &str, at: &At, problems: &mut Problems) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(fits) {
        problems.error(at, "a name is made of letters, digits, \"-\", \"_\" and \".\"");
    }
}

/// `what` ("listener") called `name` is nowhere among `names`.
fn dangling<'a>(
    what: &str,
    name: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
    at: &At,
    problems: &mut Problems,
) {
    let meant = super::nearest::nearest(name, names.clone());
    let names: Vec<_> = names.into_iter().collect();
    let known = match (&meant, names.is_empty()) {
        (_, true) => format!("; there is no {what} at all"),
        (None, _) => format!("; there are: {}", names.join(", ")),
        (Some(_), _) => String::new(),
    };
    problems.error_meant(at, format!("there is no {what} \"{name}\"{known}"), meant);
}
