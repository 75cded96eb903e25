//! Compiles the schema's structs into settings. An invalid value is reported once, and settings that need
//! it are left out; the caller discards the others then.

use std::path::Path;

use ipnet::IpNet;

use super::machine::{Machine, Names};
use super::read::Named;
use super::report::{Location, Problems};
use super::schema::File;
use super::{Compiled, Fixed, LogSettings, Report, Stamps};
use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::values::OnReload;
use crate::files::small_file;

mod accounts;
mod admin;
mod admin_address;
mod algorithms;
mod audit;
mod backends;
mod certificate_files;
mod certificates;
mod client_auth;
mod conditions;
mod descriptors;
mod drain;
mod expect;
mod folders;
mod guard;
mod key_files;
mod key_logins;
mod listener_tls;
mod listeners;
mod login_hooks;
mod machine_checks;
mod methods;
mod opaque;
mod own_address;
mod placeholders;
mod policy;
mod pools;
mod protocol_keys;
mod route_lookups;
mod routes;
mod sftp_listeners;
mod short_ecdsa_key;
mod sockets;
mod state_dir;
mod user_keys;
mod users;

pub(super) use methods::certificates_are_accepted;
pub(super) use users::compile_user;

pub(super) fn compile(
    file: &File,
    folder: &Path,
    machine: &Machine,
    problems: &mut Problems,
) -> Compiled {
    let pools = pools::compile(file, machine, problems);
    let listeners = listeners::compile(file, folder, problems);
    let mut sftp_listeners = sftp_listeners::compile(file, folder, problems);
    let backends = backends::compile(file, folder, problems);
    let login_modes = &backends.login_modes;
    let users = users::compile(file, folder, problems);
    let login_hooks = login_hooks::compile(file, folder, problems);
    client_auth::warn_unused(file, login_modes, problems);
    key_logins::warn_unused(file, login_modes, problems);
    let routes = routes::compile(file, login_modes, problems);
    let offered = methods::offered(file, login_modes, problems);
    for listener in &mut sftp_listeners {
        listener.methods = offered.get(&listener.name).copied().unwrap_or(listener.methods);
    }
    let accounts = login_hooks::accounts(file, login_modes);
    let policy_limits = policy::limits(file, problems);
    let state_dir = state_dir::compile(file, folder, &policy_limits, machine, problems);
    let policy = policy::compile(file, problems);
    let expectations = expect::compile(file, problems);
    opaque::check(file, problems);
    sockets::refuse_overlaps(file, problems);
    let metrics = file.metrics.as_ref().and_then(|metrics| value(&metrics.address).copied());
    let ready_needs_backend = file.metrics.as_ref().and_then(|it| value(&it.ready_needs_backend));
    let admin_socket = admin::compile(file, folder, machine, problems);
    let admin_address = admin_address::compile(file, folder, problems);
    let audit = audit::compile(file, folder, machine, problems);
    let log = log(file);
    let limits = limits(file);
    let drain = drain::compile(file, problems);
    let login_guard = guard::compile(file, &limits, problems);
    placeholders::warn(file, problems);
    // Warnings are not shown with errors, and some of these are slow.
    if !problems.has_errors() {
        certificates::warn(file, folder, machine, problems);
        descriptors::warn(file, limits.sessions, &pools, machine, problems);
        let mut names = Names::new();
        if !machine.runs_here {
            // No mistake, so a start does not repeat it.
            routes::warn_of_unalike_answers(file, problems);
            machine_checks::warn_of_addresses(file, &pools, machine, problems);
            names = machine_checks::warn_of_names(file, machine, problems);
        }
        own_address::warn(file, &names, machine, problems);
    }
    let certificate_ends = certificates::ends(file, folder);
    let warnings = Report::new("", Vec::new(), Problems::default());
    Compiled {
        listeners,
        sftp_listeners,
        pools,
        backends: backends.settings,
        servers: backends.servers,
        groups: backends.groups,
        users,
        login_hooks,
        accounts,
        users_files: None,
        judges_sessions: value(&file.on_reload) == Some(&OnReload::Judge),
        files: Stamps::default(),
        fixed: Fixed::default(),
        routes,
        policy,
        policy_limits,
        expectations,
        state_dir,
        limits,
        drain,
        login_guard,
        metrics,
        shown_users: shown_users(file),
        certificate_ends,
        ready_needs_backend: ready_needs_backend.copied().unwrap_or_default(),
        admin_socket,
        admin_address,
        masked: serde_json::Value::Null,
        log,
        audit,
        warnings,
    }
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
    limits
}

fn shown_users(file: &File) -> crate::session::ShownUsers {
    let given = file.metrics.as_ref();
    let named = given.and_then(|metrics| metrics.users.as_ref());
    let busiest = given.and_then(|metrics| value(&metrics.top_users));
    crate::session::ShownUsers {
        named: named.iter().flat_map(|names| names.values()).map(|(_, it)| it.0.clone()).collect(),
        busiest: busiest.map_or(0, |count| count.0 as usize),
    }
}

fn log(file: &File) -> LogSettings {
    let given = file.log.as_ref();
    LogSettings {
        format: given.and_then(|log| value(&log.format).copied()).unwrap_or_default(),
        level: given.and_then(|log| value(&log.level).copied()).unwrap_or_default(),
    }
}

/// The value, unless it is absent or invalid.
fn value<T>(leaf: &Option<Leaf<T>>) -> Option<&T> {
    leaf.as_ref()?.value.as_ref()
}

/// `proxy_protocol`: the networks of trusted proxies; empty if the key is absent.
fn trusted(list: &Option<OneOrMore<IpNet>>, problems: &mut Problems) -> Vec<IpNet> {
    let mut trusted = Vec::new();
    for (at, network) in list.iter().flat_map(|list| list.values()) {
        if network.prefix_len() == 0 {
            problems.warning(at, "trusts every address: any client can claim any source address");
        }
        trusted.push(*network);
    }
    trusted
}

/// The most bytes of a file with one secret, such as a token.
const SECRET_MAX: u64 = 64 * 1024;
/// The most bytes of a file with keys.
const KEYS_MAX: u64 = 16 * 1024 * 1024;

/// The content of a text file of at most `max` bytes.
pub(super) fn text(path: &Path, max: u64) -> Result<String, String> {
    let shown = path.display();
    let bytes = small_file::read(path, max).map_err(|e| format!("cannot read {shown}: {e}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

/// The entries of a section of names; empty if it is absent.
fn entries<T>(named: &Option<Named<T>>) -> &[(String, T)] {
    named.as_ref().map_or(&[], |named| &named.items)
}

/// Requires at least one entry.
fn refuse_empty<T>(named: &Option<Named<T>>, problems: &mut Problems) {
    if let Some(named) = named.as_ref().filter(|named| named.items.is_empty()) {
        problems.error(&named.at, "is empty; it needs at least one entry");
    }
}

/// Names of listeners, pools and backends appear in messages, logs and metric labels.
fn check_name(name: &str, at: &Location, problems: &mut Problems) {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_allowed) {
        problems.error(at, "a name may contain only letters, digits, \"-\", \"_\" and \".\"");
    }
}

/// Reports that `name` is not one of `names`, the names of each `what` ("listener").
fn unknown_name<'a>(
    what: &str,
    name: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
    at: &Location,
    problems: &mut Problems,
) {
    let suggestion = super::nearest::nearest(name, names.clone());
    let names: Vec<_> = names.into_iter().collect();
    let known = match (&suggestion, names.is_empty()) {
        (_, true) => "; there are none".to_owned(),
        (None, _) => format!("; known are: {}", names.join(", ")),
        (Some(_), _) => String::new(),
    };
    problems.error_with_suggestion(at, format!("there is no {what} \"{name}\"{known}"), suggestion);
}
