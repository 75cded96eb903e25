//! `backends`.

use std::collections::HashMap;
use std::path::Path;

use super::{accounts, check_name, entries, protocol_keys, refuse_empty, value};
use crate::auth::Credentials;
use crate::backend::local;
use crate::config::BackendSettings;
use crate::config::report::Problems;
use crate::config::schema::{Backend, File};
use crate::config::values::{BackendProtocol, HostPort};
use crate::net::Connector;
use crate::route::MintedAccount;

mod ftp;
mod sftp;

/// How the gateway logs in at a backend.
pub(super) enum LoginMode {
    /// With the client's name and password.
    PassThrough,
    /// With an account of the gateway; `None` if its password or key could not be read.
    Mapped(Option<Credentials>),
    /// With an account whose certificate the gateway signs; `None` if the authority's key could not be read.
    Minted(Option<MintedAccount>),
    /// Without: it has no accounts.
    None,
}

/// The settings and login mode of every backend with a valid protocol.
pub(super) fn compile(
    file: &File,
    folder: &Path,
    problems: &mut Problems,
) -> (Vec<(String, BackendSettings)>, HashMap<String, LoginMode>) {
    refuse_empty(&file.backends, problems);
    let (mut backends, mut login_modes) = (Vec::new(), HashMap::new());
    for (name, backend) in entries(&file.backends) {
        check_name(name, &backend.at, problems);
        let Some(protocol) = value(&backend.protocol).copied() else { continue };
        refuse_other_protocols(backend, protocol, problems);
        let settings = match protocol {
            BackendProtocol::Ftp => {
                ftp::compile(file, name, backend, folder, problems).map(BackendSettings::Ftp)
            }
            BackendProtocol::Sftp => {
                sftp::compile(name, backend, folder, problems).map(BackendSettings::Sftp)
            }
            BackendProtocol::Local => local(backend, folder, problems).map(BackendSettings::Local),
        };
        login_modes.insert(name.clone(), login_mode(backend, protocol, folder, problems));
        backends.extend(settings.map(|settings| (name.clone(), settings)));
    }
    (backends, login_modes)
}

fn refuse_other_protocols(backend: &Backend, protocol: BackendProtocol, problems: &mut Problems) {
    use BackendProtocol::{Ftp, Local, Sftp};
    use protocol_keys::Key;
    let keys = [
        Key::new("folder", &backend.folder, &[Local])
            .instead("for a folder of the server, set a route's `root`"),
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
        Key::new("names", &backend.names, &[Ftp, Sftp]),
        Key::new("partial_uploads", &backend.partial_uploads, &[Ftp, Sftp, Local]),
        Key::new("unsupported_attributes", &backend.unsupported_attributes, &[Ftp, Sftp]),
        Key::new("connects_at_once", &backend.connects_at_once, &[Ftp, Sftp]),
        Key::new("connect_timeout", &backend.connect_timeout, &[Ftp, Sftp]),
        Key::new("reply_timeout", &backend.reply_timeout, &[Ftp, Sftp]),
    ];
    protocol_keys::refuse("a backend", protocol, &keys, BackendProtocol::word, problems);
}

fn login_mode(
    backend: &Backend,
    protocol: BackendProtocol,
    folder: &Path,
    problems: &mut Problems,
) -> LoginMode {
    if protocol == BackendProtocol::Local {
        return LoginMode::None;
    }
    let Some(account) = backend.login.as_ref().and_then(|login| login.account.as_ref()) else {
        return LoginMode::PassThrough;
    };
    match &account.certificate_authority {
        Some(authority) => {
            LoginMode::Minted(accounts::minted(account, authority, protocol, folder, problems))
        }
        None => LoginMode::Mapped(accounts::credentials(account, protocol, folder, problems)),
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
    value(&backend.connects_at_once)
        .map_or(Connector::DEFAULT_CONNECTS_AT_ONCE_MAX, |n| n.0 as usize)
}

/// The server's addresses; reports if there are none.
fn addresses(backend: &Backend, problems: &mut Problems) -> Option<Vec<HostPort>> {
    let Some(addresses) = &backend.address else {
        problems.error(&backend.at.absent("address"), "is missing: write the server's address");
        return None;
    };
    Some(addresses.values().map(|(_, address)| address.clone()).collect())
}
