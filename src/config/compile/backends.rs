use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{accounts, check_name, entries, refuse_empty, value};
use crate::backend::{Credentials, ftp, local};
use crate::config::BackendSettings;
use crate::config::read::Read;
use crate::config::report::{At, Problems};
use crate::config::schema::{self, File};
use crate::config::values::{BackendProtocol, BackendTlsMode};
use crate::net::tls::{ClientTls, ClientTlsError, load_ca};

/// As whom a backend is entered.
pub(super) enum Entrance {
    /// As the client.
    PassThrough,
    /// As the gateway's account; `None` where its password could not be read.
    Mapped(Option<Credentials>),
    /// It has no accounts.
    Open,
}

/// The settings, and the entrance of every backend whose protocol is known.
pub(super) fn compile(
    file: &File,
    folder: &Path,
    problems: &mut Problems,
) -> (Vec<(String, BackendSettings)>, HashMap<String, Entrance>) {
    refuse_empty(&file.backends, problems);
    let (mut backends, mut entrances) = (Vec::new(), HashMap::new());
    for (name, backend) in entries(&file.backends) {
        check_name(name, &backend.at, problems);
        let (settings, entrance) = match value(&backend.protocol) {
            Some(BackendProtocol::Ftp) => {
                let entrance = match backend.login.as_ref().and_then(|login| login.account.as_ref())
                {
                    Some(account) => {
                        Entrance::Mapped(accounts::credentials(account, folder, problems))
                    }
                    None => Entrance::PassThrough,
                };
                (ftp(name, backend, folder, problems).map(BackendSettings::Ftp), entrance)
            }
            Some(BackendProtocol::Local) => {
                (local(backend, folder, problems).map(BackendSettings::Local), Entrance::Open)
            }
            None => continue,
        };
        entrances.insert(name.clone(), entrance);
        backends.extend(settings.map(|settings| (name.clone(), settings)));
    }
    (backends, entrances)
}

fn local(
    backend: &schema::Backend,
    folder: &Path,
    problems: &mut Problems,
) -> Option<local::Settings> {
    let ftp_only = [
        backend.address.as_ref().map(Read::at),
        backend.tls.as_ref().map(Read::at),
        backend.data_mode.as_ref().map(Read::at),
        backend.trust_pasv_address.as_ref().map(Read::at),
        backend.login.as_ref().map(Read::at),
        backend.connect_timeout.as_ref().map(Read::at),
        backend.reply_timeout.as_ref().map(Read::at),
    ];
    for at in ftp_only.into_iter().flatten() {
        problems
            .error(at, "belongs to `protocol: ftp`; a local backend has folder, partial_uploads");
    }
    let Some(leaf) = &backend.folder else {
        problems.error(&backend.at.absent("folder"), "is missing: a local backend needs it");
        return None;
    };
    let path = folder.join(&leaf.value.as_ref()?.0);
    if let Err(e) = std::fs::read_dir(&path) {
        problems.error(&leaf.at, format!("cannot open the folder {}: {e}", path.display()));
    }
    let partial_uploads = value(&backend.partial_uploads).copied().unwrap_or_default();
    Some(local::Settings { folder: path, partial_uploads })
}

fn ftp(
    name: &str,
    backend: &schema::Backend,
    folder: &Path,
    problems: &mut Problems,
) -> Option<ftp::Settings> {
    if let Some(leaf) = &backend.folder {
        let message =
            "belongs to `protocol: local`; for a folder of the server, use a route's `root`";
        problems.error(&leaf.at, message);
    }
    let tls = tls(backend, folder, problems);
    let Some(addresses) = &backend.address else {
        problems.error(&backend.at.absent("address"), "is missing: where is the server?");
        return None;
    };
    let tls = tls?;
    let default_port = if matches!(tls, ftp::TlsMode::Implicit(_)) { 990 } else { 21 };
    let addresses = addresses.values();
    Some(ftp::Settings {
        name: name.into(),
        addresses: addresses.map(|(_, address)| address.with_default_port(default_port)).collect(),
        tls,
        data_mode: value(&backend.data_mode).copied().unwrap_or_default(),
        trust_pasv_address: value(&backend.trust_pasv_address).copied().unwrap_or(false),
        partial_uploads: value(&backend.partial_uploads).copied().unwrap_or_default(),
        connections: ftp::Settings::CONNECTIONS,
        connect_timeout: value(&backend.connect_timeout).map_or(Duration::from_secs(10), |t| t.0),
        reply_timeout: value(&backend.reply_timeout).map_or(Duration::from_secs(60), |t| t.0),
    })
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
    let places = [
        tls.ca.as_ref().map(|leaf| &leaf.at),
        tls.server_name.as_ref().map(|leaf| &leaf.at),
        tls.session_reuse.as_ref().map(|leaf| &leaf.at),
        tls.danger_accept_any.as_ref().map(|leaf| &leaf.at),
    ];
    for at in places.into_iter().flatten() {
        problems.error(at, "does nothing with `mode: none`; which of the two is meant?");
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
        problems.error(&ca.at, "does nothing with `danger_accept_any: true`; take one of them out");
    }
    let roots = match &tls.ca {
        Some(leaf) => {
            let loaded = load_ca(&folder.join(&leaf.value.as_ref()?.0));
            Some(loaded.map_err(|e| problems.error(&leaf.at, e.to_string())).ok()?)
        }
        None => None,
    };
    let (name_at, name) = server_name(backend, tls)?;
    let reuse = value(&tls.session_reuse).copied().unwrap_or_default();
    match ClientTls::new(&name, roots, !accept_any, reuse) {
        Ok(client) => Some(Arc::new(client)),
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

/// The name to expect in the certificate, and where it is said.
fn server_name<'a>(
    backend: &'a schema::Backend,
    tls: &'a schema::BackendTls,
) -> Option<(&'a At, String)> {
    match &tls.server_name {
        Some(leaf) => Some((&leaf.at, leaf.value.as_ref()?.0.clone())),
        None => {
            let first = backend.address.as_ref()?.items.first()?;
            Some((&first.at, first.value.as_ref()?.host.clone()))
        }
    }
}
