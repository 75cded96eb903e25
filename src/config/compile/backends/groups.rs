//! Servers that stand in for each other: `protocol: group`, several addresses, and `health`.

use std::path::Path;
use std::time::Duration;

use crate::backend::group::{self, Checks, ServerSettings};
use crate::config::compile::{accounts, entries, unknown_name, value};
use crate::config::report::{Location, Problems};
use crate::config::schema::{Backend, File, Health};
use crate::config::values::BackendProtocol;

const EVERY_MIN: Duration = Duration::from_secs(1);

/// The servers of a `protocol: group`.
pub(super) fn compile(
    file: &File,
    (name, backend): (&str, &Backend),
    problems: &mut Problems,
) -> Option<group::Settings> {
    let Some(list) = &backend.servers else {
        let message = "is missing: write the names of the backends that stand in for each other";
        problems.error(&backend.at.absent("servers"), message);
        return None;
    };
    let mut members: Vec<(&str, &Backend)> = Vec::new();
    for (at, member) in list.values() {
        let member = member.0.as_str();
        let Some((_, found)) = entries(&file.backends).iter().find(|(it, _)| it == member) else {
            let names = entries(&file.backends).iter().map(|(name, _)| name.as_str());
            unknown_name("backend", member, names, at, problems);
            continue;
        };
        if members.iter().any(|(earlier, _)| *earlier == member) {
            problems.error(at, format!("lists \"{member}\" twice; remove one"));
            continue;
        }
        check_member(backend, (member, found), members.first(), at, problems);
        members.push((member, found));
    }
    let servers = members.iter().flat_map(|(name, member)| names(name, member)).collect();
    let choice = value(&backend.choose).copied().unwrap_or_default();
    Some(group::Settings { name: name.to_owned(), servers, choice })
}

fn check_member(
    group: &Backend,
    (name, member): (&str, &Backend),
    first: Option<&(&str, &Backend)>,
    at: &Location,
    problems: &mut Problems,
) {
    use BackendProtocol::{Group, Local};
    if let Some(protocol @ (Local | Group)) = value(&member.protocol) {
        let word = protocol.word();
        let message = format!(
            "backend \"{name}\" has `protocol: {word}`; a group consists of servers (ftp or sftp)"
        );
        problems.error(at, message);
    }
    let has_account =
        |backend: &Backend| backend.login.as_ref().is_some_and(|login| login.account.is_some());
    if has_account(member) && !has_account(group) {
        let message = format!(
            "backend \"{name}\" has an account of the gateway (`login`), but this group passes the \
             client's name and password on: write `login` here, for all its servers"
        );
        problems.error(at, message);
    }
    let dialect = |backend: &Backend| value(&backend.dialect).copied().unwrap_or_default();
    if let Some((first, other)) = first
        && dialect(member) != dialect(other)
    {
        let message = format!(
            "backends \"{first}\" and \"{name}\" have different dialects (`dialect`), so what a client may do \
             would depend on the server; a group has servers of one dialect"
        );
        problems.error(at, message);
    }
    let names = |backend: &Backend| value(&backend.names).copied().unwrap_or_default();
    if let Some((first, other)) = first
        && names(member) != names(other)
    {
        let message = format!(
            "backends \"{first}\" and \"{name}\" read names in different ways (`names`), so the rules of \
             `policy` would depend on the server; write the same for both"
        );
        problems.error(at, message);
    }
}

/// As [`super::servers`] names them.
fn names(name: &str, backend: &Backend) -> Vec<String> {
    let Some(addresses) = &backend.address else { return Vec::new() };
    let default_port = super::super::own_address::default_port(backend).unwrap_or_default();
    let addresses: Vec<_> =
        addresses.values().map(|(at, value)| super::Address { at, value }).collect();
    super::servers(name, &addresses, default_port).map(|(name, _)| name).collect()
}

/// Whether another server can be tried instead of this backend's: it has several, or is in a group with others.
pub(super) fn has_substitute(file: &File, name: &str, backend: &Backend) -> bool {
    let is_several = |backend: &Backend| {
        backend.address.as_ref().is_some_and(|addresses| addresses.items.len() > 1)
    };
    let in_group = |(_, group): &(String, Backend)| {
        let Some(servers) = &group.servers else { return false };
        servers.items.len() > 1 && servers.values().any(|(_, member)| member.0 == name)
    };
    is_several(backend) || entries(&file.backends).iter().any(in_group)
}

/// Which accounts the servers of a group can have: those of FTP unless all are SFTP servers.
pub(super) fn account_protocol(file: &File, group: &Backend) -> BackendProtocol {
    let is_sftp = |name: &str| {
        let found = entries(&file.backends).iter().find(|(it, _)| it == name);
        found.is_some_and(|(_, it)| value(&it.protocol) == Some(&BackendProtocol::Sftp))
    };
    let mut members = group.servers.iter().flat_map(|list| list.values());
    if members.all(|(_, name)| is_sftp(&name.0)) {
        BackendProtocol::Sftp
    } else {
        BackendProtocol::Ftp
    }
}

/// How each server of a backend is checked and limited; the caller fills in its name.
pub(super) fn server(
    backend: &Backend,
    protocol: BackendProtocol,
    has_substitute: bool,
    folder: &Path,
    problems: &mut Problems,
) -> ServerSettings {
    let is_one = backend.address.as_ref().is_none_or(|addresses| addresses.items.len() < 2);
    if let Some(leaf) = &backend.choose
        && protocol != BackendProtocol::Group
        && is_one
    {
        let message = "has no effect: the backend has one server; write a list in `address`, or a backend \
                       with `protocol: group`";
        problems.error(&leaf.at, message);
    }
    let checks = match &backend.health {
        Some(health) => Some(checks(health, protocol, folder, problems)),
        None => has_substitute.then(Checks::default),
    };
    let sessions_max = value(&backend.sessions).map(|count| count.0 as usize);
    ServerSettings { name: String::new(), sessions_max, checks }
}

fn checks(
    health: &Health,
    protocol: BackendProtocol,
    folder: &Path,
    problems: &mut Problems,
) -> Checks {
    if let Some(leaf) = &health.every
        && leaf.value.as_ref().is_some_and(|every| every.0 < EVERY_MIN)
    {
        problems.error(&leaf.at, "is less than 1s: checks would be a load of their own");
    }
    let account = health.login.as_ref();
    let default = Checks::default();
    Checks {
        every: value(&health.every).map_or(default.every, |every| every.0),
        timeout: value(&health.timeout).map_or(default.timeout, |timeout| timeout.0),
        login: account.and_then(|it| accounts::credentials(it, protocol, folder, problems)),
    }
}
