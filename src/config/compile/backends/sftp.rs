//! Compiles SFTP backends.

use std::path::Path;
use std::time::Duration;

use super::super::algorithms;
use super::{addresses, value};
use crate::backend::SendProxyProtocol;
use crate::backend::sftp::{HostKey, KnownHosts, Settings};
use crate::config::leaf::Leaf;
use crate::config::report::{Location, Problems};
use crate::config::schema::Backend;
use crate::config::values::{FileName, HostPort};
use crate::net::ssh::{Algorithms, Side};

const PORT: u16 = 22;

pub(super) fn compile(
    name: &str,
    backend: &Backend,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Vec<Settings>> {
    let addresses = addresses(backend, problems);
    let algorithms = algorithms::compile(&backend.algorithms, Side::Backend, problems);
    let hosts: Vec<_> = addresses.iter().flatten().map(|address| address.value.clone()).collect();
    let host_key = host_key(backend, &hosts, &algorithms, folder, problems);
    let send_proxy_protocol = send_proxy_protocol(backend, problems);
    let settings = Settings {
        name: name.into(),
        addresses: Vec::new(),
        host_key: host_key?,
        algorithms,
        login_folder: value(&backend.login_folder).cloned(),
        names: value(&backend.names).copied().unwrap_or_default(),
        partial_uploads: value(&backend.partial_uploads).copied().unwrap_or_default(),
        unsupported_attributes: value(&backend.unsupported_attributes).copied().unwrap_or_default(),
        send_proxy_protocol,
        connects_at_once: super::connects_at_once(backend),
        source_address: value(&backend.source_address).copied(),
        connect_timeout: value(&backend.connect_timeout).map_or(Duration::from_secs(10), |t| t.0),
        reply_timeout: value(&backend.reply_timeout).map_or(Duration::from_secs(60), |t| t.0),
        realpath_timeout: Settings::DEFAULT_REALPATH_TIMEOUT,
        keepalive: value(&backend.keepalive).map_or(Duration::from_secs(30), |t| t.0),
    };
    let addresses = addresses?;
    let servers = super::servers(name, &addresses, PORT).map(|(name, address)| {
        let addresses = vec![address.value.with_default_port(PORT)];
        Settings { name, addresses, ..settings.clone() }
    });
    Some(servers.collect())
}

fn send_proxy_protocol(backend: &Backend, problems: &mut Problems) -> bool {
    let Some(leaf) = &backend.send_proxy_protocol else { return false };
    if leaf.value == Some(SendProxyProtocol::All) {
        problems.error(&leaf.at, "SFTP has no data connections: write control");
    }
    leaf.value == Some(SendProxyProtocol::Control)
}

/// `host_key`, `known_hosts` or `danger_accept_any_host_key`: one of them is required.
fn host_key(
    backend: &Backend,
    addresses: &[HostPort],
    algorithms: &Algorithms,
    folder: &Path,
    problems: &mut Problems,
) -> Option<HostKey> {
    let accept_any = backend.danger_accept_any_host_key.as_ref();
    let accept_any = accept_any.filter(|leaf| leaf.value != Some(false));
    let given: Vec<(&str, &Location)> = [
        ("host_key", backend.host_key.as_ref().map(|list| &list.at)),
        ("known_hosts", backend.known_hosts.as_ref().map(|leaf| &leaf.at)),
        ("danger_accept_any_host_key", accept_any.map(|leaf| &leaf.at)),
    ]
    .into_iter()
    .filter_map(|(name, at)| Some((name, at?)))
    .collect();
    match given[..] {
        [] => {
            problems.error(&backend.at.absent("host_key"), missing(addresses));
            return None;
        }
        [_] => {}
        [(first, _), (_, second), ..] => {
            let message = format!(
                "`{first}` is set, too; keep one of host_key, known_hosts and danger_accept_any_host_key"
            );
            problems.error(second, message);
            return None;
        }
    }
    if let Some(list) = &backend.host_key {
        let fingerprints: Vec<_> = list.values().map(|(_, print)| print.0.clone()).collect();
        return (fingerprints.len() == list.items.len())
            .then_some(HostKey::Fingerprints(fingerprints));
    }
    match &backend.known_hosts {
        Some(leaf) => known_hosts(leaf, addresses, algorithms, folder, problems),
        None => accept_any.and_then(|leaf| leaf.value).map(|_| HostKey::AcceptAny),
    }
}

fn missing(addresses: &[HostPort]) -> String {
    format!(
        "is missing: without it anyone could impersonate the server. `{} | ssh-keygen -lf -` prints the \
         fingerprints; verify them with the server's operator and write one here (or name a file with \
         known_hosts)",
        keyscan(addresses.first())
    )
}

fn keyscan(address: Option<&HostPort>) -> String {
    match address {
        Some(HostPort { host, port: Some(port) }) if *port != PORT => {
            format!("ssh-keyscan -p {port} {host}")
        }
        Some(HostPort { host, .. }) => format!("ssh-keyscan {host}"),
        None => "ssh-keyscan HOST".into(),
    }
}

/// Checks that the file has a key of every address: the others would be refused at each login.
fn known_hosts(
    leaf: &Leaf<FileName>,
    addresses: &[HostPort],
    algorithms: &Algorithms,
    folder: &Path,
    problems: &mut Problems,
) -> Option<HostKey> {
    let path = folder.join(&leaf.value.as_ref()?.0);
    let shown = path.display();
    let text = super::super::text(&path, super::super::KEYS_MAX)
        .map_err(|reason| problems.error(&leaf.at, reason))
        .ok()?;
    let parsed = KnownHosts::parse(&text);
    let known =
        parsed.map_err(|reason| problems.error(&leaf.at, format!("{shown}: {reason}"))).ok()?;
    for address in addresses {
        let port = address.port.unwrap_or(PORT);
        if known.has_authority(&address.host, port) {
            continue;
        }
        let kinds = known.algorithms(&address.host, port);
        if !kinds.is_empty() && !kinds.iter().any(|kind| algorithms.accepts_host_key(kind)) {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
            let message = format!(
                "{shown} has only {} keys of {}, none of which `algorithms` accepts",
                address.with_default_port(PORT),
                kinds.join(", ")
            );
            problems.error(&leaf.at, message);
        }
        if kinds.is_empty() {
            let message = format!(
                "{shown} has no key of {}, and no @cert-authority for it; `{}` prints its keys; verify them \
                 with the server's operator before you add them",
                address.with_default_port(PORT),
                keyscan(Some(address))
            );
            problems.error(&leaf.at, message);
        }
    }
    Some(HostKey::KnownHosts(known))
}
