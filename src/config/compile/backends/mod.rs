//! Compiles `backends`.

use std::collections::HashMap;
use std::path::Path;

use super::{accounts, check_name, entries, protocol_keys, refuse_empty, value};
use crate::auth::Credentials;
use crate::backend::group::{self, ServerSettings};
use crate::backend::local;
use crate::config::BackendSettings;
use crate::config::report::{Location, Problems};
use crate::config::schema::{Backend, File};
use crate::config::values::{BackendProtocol, HostPort};
use crate::net::Connector;
use crate::route::{Account, MintedAccount};

mod ftp;
mod groups;
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

impl LoginMode {
    /// Of a user whom the gateway has authenticated; `None` if a secret could not be read.
    pub(super) fn account(&self) -> Option<Account> {
        match self {
            Self::PassThrough => Some(Account::PassThrough),
            Self::Mapped(credentials) => Some(Account::Mapped(credentials.clone()?)),
            Self::Minted(account) => Some(Account::Minted(account.clone()?)),
            Self::None => Some(Account::None),
        }
    }
}

/// What is compiled of all backends.
pub(super) struct Backends {
    /// The settings of every server, by its name.
    pub(super) settings: Vec<(String, BackendSettings)>,
    /// How each server is checked and limited, in the same order.
    pub(super) servers: Vec<ServerSettings>,
    /// The servers of each backend.
    pub(super) groups: Vec<group::Settings>,
    /// By the backend's name.
    pub(super) login_modes: HashMap<String, LoginMode>,
}

/// Compiles every backend with a valid protocol.
pub(super) fn compile(file: &File, folder: &Path, problems: &mut Problems) -> Backends {
    refuse_empty(&file.backends, problems);
    let (mut settings, mut servers) = (Vec::new(), Vec::new());
    let (mut groups, mut login_modes) = (Vec::new(), HashMap::new());
    for (name, backend) in entries(&file.backends) {
        check_name(name, &backend.at, problems);
        let Some(protocol) = value(&backend.protocol).copied() else { continue };
        refuse_other_protocols(backend, protocol, problems);
        let has_substitute = groups::has_substitute(file, name, backend);
        let compiled = match protocol {
            BackendProtocol::Ftp => {
                ftp::compile(file, (name, backend), has_substitute, folder, problems)
                    .map(|all| all.into_iter().map(BackendSettings::Ftp).collect())
            }
            BackendProtocol::Sftp => sftp::compile(name, backend, folder, problems)
                .map(|all| all.into_iter().map(BackendSettings::Sftp).collect()),
            BackendProtocol::Local => {
                local(backend, folder, problems).map(|it| vec![BackendSettings::Local(it)])
            }
            BackendProtocol::Group => {
                groups.extend(groups::compile(file, (name, backend), problems));
                None
            }
        };
        login_modes.insert(name.clone(), login_mode(file, backend, protocol, folder, problems));
        let place = groups::server(backend, protocol, has_substitute, folder, problems);
        let Some(compiled): Option<Vec<BackendSettings>> = compiled else { continue };
        let names: Vec<String> = compiled.iter().map(|it| it.name(name).to_owned()).collect();
        let choice = value(&backend.choose).copied().unwrap_or_default();
        groups.push(group::Settings { name: name.clone(), servers: names.clone(), choice });
        servers.extend(names.iter().map(|it| ServerSettings { name: it.clone(), ..place.clone() }));
        settings.extend(names.into_iter().zip(compiled));
    }
    Backends { settings, servers, groups, login_modes }
}

fn refuse_other_protocols(backend: &Backend, protocol: BackendProtocol, problems: &mut Problems) {
    use BackendProtocol::{Ftp, Group, Local, Sftp};
    use protocol_keys::Key;
    let keys = [
        Key::new("folder", &backend.folder, &[Local])
            .instead("for a folder of the server, set a route's `root`"),
        Key::new("address", &backend.address, &[Ftp, Sftp]),
        Key::new("servers", &backend.servers, &[Group]),
        Key::new("choose", &backend.choose, &[Ftp, Sftp, Group]),
        Key::new("health", &backend.health, &[Ftp, Sftp]),
        Key::new("sessions", &backend.sessions, &[Ftp, Sftp]),
        Key::new("source_address", &backend.source_address, &[Ftp, Sftp]),
        Key::new("dialect", &backend.dialect, &[Ftp]),
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
        Key::new("login", &backend.login, &[Ftp, Sftp, Group]),
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
    file: &File,
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
    // Every server of a group gets the group's account.
    let protocol = if protocol == BackendProtocol::Group {
        groups::account_protocol(file, backend)
    } else {
        protocol
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

/// One of the addresses of a backend.
struct Address<'a> {
    at: &'a Location,
    value: &'a HostPort,
}

/// The server's addresses; reports if there are none.
fn addresses<'a>(backend: &'a Backend, problems: &mut Problems) -> Option<Vec<Address<'a>>> {
    let Some(addresses) = &backend.address else {
        problems.error(&backend.at.absent("address"), "is missing: write the server's address");
        return None;
    };
    let addresses: Vec<_> = addresses.values().map(|(at, value)| Address { at, value }).collect();
    for (index, address) in addresses.iter().enumerate() {
        let is_same = |earlier: &Address| {
            (&earlier.value.host, earlier.value.port) == (&address.value.host, address.value.port)
        };
        if addresses[..index].iter().any(is_same) {
            problems.error(address.at, "is in the list twice; remove one");
        }
    }
    Some(addresses)
}

/// The servers of a backend by name: its own, or, of several addresses, that with the address.
fn servers<'a>(
    name: &str,
    addresses: &'a [Address<'a>],
    default_port: u16,
) -> impl Iterator<Item = (String, &'a Address<'a>)> {
    addresses.iter().map(move |address| {
        let name = match addresses {
            [_] => name.to_owned(),
            _ => format!("{name}/{}", address.value.with_default_port(default_port)),
        };
        (name, address)
    })
}
