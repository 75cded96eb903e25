use std::collections::HashMap;
use std::path::Path;

use super::{accounts, check_name, entries, foreign, refuse_empty, value};
use crate::auth::Credentials;
use crate::backend::local;
use crate::config::BackendSettings;
use crate::config::report::Problems;
use crate::config::schema::{Backend, File};
use crate::config::values::{BackendProtocol, HostPort};
use crate::net::Connector;

mod ftp;
mod sftp;

/// As whom a backend is entered.
pub(super) enum Entrance {
    /// As the client.
    PassThrough,
    /// As the gateway's account; `None` where its password or key could not be read.
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
        let Some(protocol) = value(&backend.protocol).copied() else { continue };
        refuse_foreign(backend, protocol, problems);
        let settings = match protocol {
            BackendProtocol::Ftp => {
                ftp::compile(file, name, backend, folder, problems).map(BackendSettings::Ftp)
            }
            BackendProtocol::Sftp => {
                sftp::compile(name, backend, folder, problems).map(BackendSettings::Sftp)
            }
            BackendProtocol::Local => local(backend, folder, problems).map(BackendSettings::Local),
        };
        entrances.insert(name.clone(), entrance(backend, protocol, folder, problems));
        backends.extend(settings.map(|settings| (name.clone(), settings)));
    }
    (backends, entrances)
}

fn refuse_foreign(backend: &Backend, protocol: BackendProtocol, problems: &mut Problems) {
    use BackendProtocol::{Ftp, Local, Sftp};
    use foreign::Key;
    let keys = [
        Key::new("folder", &backend.folder, &[Local])
            .instead("for a folder of the server, use a route's `root`"),
        Key::new("address", &backend.address, &[Ftp, Sftp]),
        Key::new("tls", &backend.tls, &[Ftp]),
        Key::new("data_mode", &backend.data_mode, &[Ftp]),
        Key::new("data_ports", &backend.data_ports, &[Ftp]),
        Key::new("passive_command", &backend.passive_command, &[Ftp]),
        Key::new("trust_pasv_address", &backend.trust_pasv_address, &[Ftp]),
        Key::new("unchecked_rename", &backend.unchecked_rename, &[Ftp]),
        Key::new("connections", &backend.connections, &[Ftp]),
        Key::new("tail_copy_max", &backend.tail_copy_max, &[Ftp]),
        Key::new("host_key", &backend.host_key, &[Sftp]),
        Key::new("known_hosts", &backend.known_hosts, &[Sftp]),
        Key::new("danger_accept_any_host_key", &backend.danger_accept_any_host_key, &[Sftp]),
        Key::new("algorithms", &backend.algorithms, &[Sftp]),
        Key::new("keepalive", &backend.keepalive, &[Sftp]),
        Key::new("send_proxy_protocol", &backend.send_proxy_protocol, &[Ftp, Sftp]),
        Key::new("login", &backend.login, &[Ftp, Sftp]),
        Key::new("login_folder", &backend.login_folder, &[Ftp, Sftp]),
        Key::new("partial_uploads", &backend.partial_uploads, &[Ftp, Sftp, Local]),
        Key::new("unsupported_attributes", &backend.unsupported_attributes, &[Ftp, Sftp]),
        Key::new("connects_at_once", &backend.connects_at_once, &[Ftp, Sftp]),
        Key::new("connect_timeout", &backend.connect_timeout, &[Ftp, Sftp]),
        Key::new("reply_timeout", &backend.reply_timeout, &[Ftp, Sftp]),
    ];
    foreign::refuse("a backend", protocol, &keys, BackendProtocol::word, problems);
}

fn entrance(
    backend: &Backend,
    protocol: BackendProtocol,
    folder: &Path,
    problems: &mut Problems,
) -> Entrance {
    if protocol == BackendProtocol::Local {
        return Entrance::Open;
    }
    match backend.login.as_ref().and_then(|login| login.account.as_ref()) {
        Some(account) => {
            Entrance::Mapped(accounts::credentials(account, protocol, folder, problems))
        }
        None => Entrance::PassThrough,
    }
}

fn local(backend: &Backend, folder: &Path, problems: &mut Problems) -> Option<local::Settings> {
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

fn connects_at_once(backend: &Backend) -> usize {
    value(&backend.connects_at_once).map_or(Connector::DEFAULT_AT_ONCE, |n| n.0 as usize)
}

/// Where a server is. Without any it cannot be reached, and that is noted.
fn addresses(backend: &Backend, problems: &mut Problems) -> Option<Vec<HostPort>> {
    let Some(addresses) = &backend.address else {
        problems.error(&backend.at.absent("address"), "is missing: where is the server?");
        return None;
    };
    Some(addresses.values().map(|(_, address)| address.clone()).collect())
}
