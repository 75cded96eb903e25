//! Compiles FTP backends.

use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Address, addresses, value};
use crate::backend::SendProxyProtocol;
use crate::backend::ftp::{self, DataMode, PassiveCommand};
use crate::config::compile::certificate_files;
use crate::config::report::{Location, Problems};
use crate::config::schema;
use crate::config::values::BackendTlsMode;
use crate::net::tls::{CertificateAndKey, ClientTls, ClientTlsError, load_ca};

pub(super) fn compile(
    file: &schema::File,
    (name, backend): (&str, &schema::Backend),
    has_substitute: bool,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Vec<ftp::Settings>> {
    check_data_ports(file, backend, problems);
    check_passive_command(backend, problems);
    let tls = tls(backend, folder, problems);
    let send_proxy_protocol = send_proxy_protocol(backend, problems);
    let addresses = addresses(backend, problems)?;
    let tls = tls?;
    let default_port = if matches!(tls, ftp::TlsMode::Implicit(_)) { 990 } else { 21 };
    let connect_timeout = value(&backend.connect_timeout).map_or(Duration::from_secs(10), |t| t.0);
    let settings = ftp::Settings {
        name: name.into(),
        addresses: Vec::new(),
        dialect: value(&backend.dialect).copied().unwrap_or_default(),
        tls,
        data_mode: value(&backend.data_mode).copied().unwrap_or_default(),
        data_ports: value(&backend.data_ports).map(|pool| pool.0.clone()),
        passive_command: value(&backend.passive_command).copied().unwrap_or_default(),
        trust_pasv_address: value(&backend.trust_pasv_address).copied().unwrap_or(false),
        login_folder: value(&backend.login_folder).cloned(),
        names: value(&backend.names).copied().unwrap_or_default(),
        has_path_rules: has_path_rules(file),
        unchecked_rename: value(&backend.unchecked_rename).copied().unwrap_or_default(),
        partial_uploads: value(&backend.partial_uploads).copied().unwrap_or_default(),
        tail_copy_max: value(&backend.tail_copy_max)
            .map_or(ftp::Settings::DEFAULT_TAIL_COPY_MAX, |bytes| bytes.0),
        unsupported_attributes: value(&backend.unsupported_attributes).copied().unwrap_or_default(),
        send_proxy_protocol,
        connects_at_once: super::connects_at_once(backend),
        source_address: value(&backend.source_address).copied(),
        connect_timeout,
        greeting_timeout: has_substitute.then_some(connect_timeout),
        reply_timeout: value(&backend.reply_timeout).map_or(Duration::from_secs(60), |t| t.0),
        stall_timeout: super::super::limits(file).stall_timeout,
        timing: ftp::Timing::default(),
        connections: value(&backend.connections)
            .map_or(ftp::Settings::DEFAULT_CONNECTIONS_MAX, |n| n.0 as usize),
    };
    let servers = super::servers(name, &addresses, default_port);
    let servers = servers.map(|(name, address)| {
        let tls = tls_of(&settings.tls, backend, address, problems)?;
        let addresses = vec![address.value.with_default_port(default_port)];
        Some(ftp::Settings { name, addresses, tls, ..settings.clone() })
    });
    servers.collect()
}

/// TLS with the server at one of the addresses: its certificate is for that host, unless `server_name` is set.
fn tls_of(
    tls: &ftp::TlsMode,
    backend: &schema::Backend,
    address: &Address<'_>,
    problems: &mut Problems,
) -> Option<ftp::TlsMode> {
    if backend.tls.as_ref().is_some_and(|tls| tls.server_name.is_some()) {
        return Some(tls.clone());
    }
    let mut named = |tls: &ClientTls| match tls.with_server_name(&address.value.host) {
        Ok(tls) => Some(Arc::new(tls)),
        Err(error) => {
            problems.error(address.at, error.to_string());
            None
        }
    };
    Some(match tls {
        ftp::TlsMode::None => ftp::TlsMode::None,
        ftp::TlsMode::Explicit(tls) => ftp::TlsMode::Explicit(named(tls)?),
        ftp::TlsMode::Implicit(tls) => ftp::TlsMode::Implicit(named(tls)?),
    })
}

fn has_path_rules(file: &schema::File) -> bool {
    let rules = file.policy.as_ref().and_then(|policy| policy.rules.as_ref());
    let has_paths =
        |rule: &schema::Rule| rule.r#match.as_ref().is_some_and(|it| it.paths.is_some());
    rules.is_some_and(|rules| rules.items.iter().any(has_paths))
}

fn send_proxy_protocol(backend: &schema::Backend, problems: &mut Problems) -> SendProxyProtocol {
    let Some(leaf) = &backend.send_proxy_protocol else { return SendProxyProtocol::None };
    if leaf.value == Some(SendProxyProtocol::All)
        && value(&backend.data_mode) == Some(&DataMode::Active)
    {
        let message = "with `data_mode: active` the server opens the data connections, so no header can \
                       be sent on them: write control";
        problems.error(&leaf.at, message);
    }
    leaf.value.unwrap_or_default()
}

/// Settings that have no effect with `passive_command`.
fn check_passive_command(backend: &schema::Backend, problems: &mut Problems) {
    let Some(leaf) = &backend.passive_command else { return };
    if value(&backend.data_mode) == Some(&DataMode::Active) {
        problems.error(&leaf.at, "has no effect with `data_mode: active`");
    }
    if let Some(trust) = &backend.trust_pasv_address
        && (leaf.value, trust.value) == (Some(PassiveCommand::Epsv), Some(true))
    {
        problems.error(&trust.at, "has no effect with `passive_command: epsv`");
    }
    let addresses = backend.address.iter().flat_map(|addresses| addresses.values());
    for (at, address) in addresses {
        if leaf.value == Some(PassiveCommand::Pasv) && address.host.parse::<Ipv6Addr>().is_ok() {
            let message =
                "is an IPv6 address, which PASV does not support: remove `passive_command: pasv`";
            problems.error(at, message);
        }
    }
}

/// Active mode needs a pool of ports, passive mode none.
fn check_data_ports(file: &schema::File, backend: &schema::Backend, problems: &mut Problems) {
    let active = match &backend.data_mode {
        Some(leaf) => leaf.value.map(|mode| mode == ftp::DataMode::Active),
        None => Some(false),
    };
    match (&backend.data_ports, active) {
        (None, Some(true)) => problems.error(
            &backend.at.absent("data_ports"),
            "is missing: `data_mode: active` needs a pool of ports for the server to connect to",
        ),
        (Some(leaf), Some(false)) => {
            problems.error(&leaf.at, "has no effect without `data_mode: active`");
        }
        (data_ports, _) => super::super::pools::check_pool(file, data_ports, problems),
    }
}

fn tls(backend: &schema::Backend, folder: &Path, problems: &mut Problems) -> Option<ftp::TlsMode> {
    let Some(tls) = &backend.tls else { return Some(ftp::TlsMode::None) };
    match value(&tls.mode)? {
        BackendTlsMode::None => {
            refuse_without_tls(tls, problems);
            Some(ftp::TlsMode::None)
        }
        BackendTlsMode::Required => {
            Some(ftp::TlsMode::Explicit(client(backend, tls, folder, problems)?))
        }
        BackendTlsMode::Implicit => {
            Some(ftp::TlsMode::Implicit(client(backend, tls, folder, problems)?))
        }
    }
}

fn refuse_without_tls(tls: &schema::BackendTls, problems: &mut Problems) {
    let locations = [
        tls.ca.as_ref().map(|leaf| &leaf.at),
        tls.server_name.as_ref().map(|leaf| &leaf.at),
        tls.certificate.as_ref().map(|leaf| &leaf.at),
        tls.key.as_ref().map(|leaf| &leaf.at),
        tls.session_reuse.as_ref().map(|leaf| &leaf.at),
        tls.danger_accept_any.as_ref().map(|leaf| &leaf.at),
    ];
    for at in locations.into_iter().flatten() {
        problems.error(at, "has no effect with `mode: none`; change the mode or remove this");
    }
}

fn client(
    backend: &schema::Backend,
    tls: &schema::BackendTls,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Arc<ClientTls>> {
    let accept_any = value(&tls.danger_accept_any).copied().unwrap_or(false);
    if let Some(ca) = tls.ca.as_ref().filter(|_| accept_any) {
        problems.error(&ca.at, "has no effect with `danger_accept_any: true`; remove one of them");
    }
    let roots = match &tls.ca {
        Some(leaf) => {
            let loaded = load_ca(&folder.join(&leaf.value.as_ref()?.0));
            Some(loaded.map_err(|e| problems.error(&leaf.at, e.to_string())).ok()?)
        }
        None => None,
    };
    let certificate = certificate(tls, folder, problems)?;
    let (name_at, name) = server_name(backend, tls)?;
    let reuse = value(&tls.session_reuse).copied().unwrap_or_default();
    match ClientTls::new(&name, roots, !accept_any, reuse) {
        Ok(client) => Some(Arc::new(match certificate {
            Some(certificate) => client.with_certificate(&certificate),
            None => client,
        })),
        Err(e @ ClientTlsError::ServerName(_)) => {
            problems.error(name_at, e.to_string());
            None
        }
        Err(e) => {
            problems.error(&tls.at, e.to_string());
            None
        }
    }
}

/// The gateway's certificate; the inner `None`: it has none.
fn certificate(
    tls: &schema::BackendTls,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Option<CertificateAndKey>> {
    match (&tls.certificate, &tls.key) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => {
            Some(Some(certificate_files::load(certificate, key, folder, problems)?))
        }
        (certificate, _) => {
            let missing = if certificate.is_none() { "certificate" } else { "key" };
            let message = "is missing: the gateway's certificate for the server needs `certificate` and \
                           `key`";
            problems.error(&tls.at.absent(missing), message);
            None
        }
    }
}

/// The name to expect in the certificate, and its location.
fn server_name<'a>(
    backend: &'a schema::Backend,
    tls: &'a schema::BackendTls,
) -> Option<(&'a Location, String)> {
    match &tls.server_name {
        Some(leaf) => Some((&leaf.at, leaf.value.as_ref()?.0.clone())),
        None => {
            let first = backend.address.as_ref()?.items.first()?;
            Some((&first.at, first.value.as_ref()?.host.clone()))
        }
    }
}
