//! The servers of the configuration, and the backends that they form.

use std::collections::HashMap;
use std::sync::Arc;

use super::StartError;
use super::process::Process;
use crate::backend::Backend;
use crate::backend::ftp::FtpBackend;
use crate::backend::group::{Group, Servers};
use crate::backend::local::LocalBackend;
use crate::backend::sftp::SftpBackend;
use crate::config::{BackendSettings, Compiled};
use crate::data::Pool;
use crate::net::Connectors;
use crate::route::{Route, RouteTable};

/// The servers, and the backends by name.
pub(super) struct Backends {
    pub(super) servers: Servers,
    pub(super) groups: HashMap<String, Arc<Group>>,
    pub(super) connectors: Connectors,
}

impl Backends {
    /// Those that logins lead to, in the order of their names: not what is only a part of a group.
    pub(super) fn for_logins(&self, routes: &RouteTable) -> Vec<Arc<Group>> {
        let is_routed =
            |name: &str| routes.0.iter().flat_map(Route::backends).any(|it| it.name == name);
        let is_part = |group: &Group| self.groups.values().any(|other| group.is_part_of(other));
        let mut found: Vec<_> =
            self.groups.iter().filter(|(name, group)| is_routed(name) || !is_part(group)).collect();
        found.sort_by_key(|(name, _)| *name);
        found.into_iter().map(|(_, group)| group.clone()).collect()
    }
}

/// Takes the servers and groups of the configuration, which follow those of `previous`. Connects to none.
pub(super) fn open(
    config: &mut Compiled,
    pools: &HashMap<String, Arc<Pool>>,
    process: &Process,
    previous: Option<&Backends>,
) -> Result<Backends, StartError> {
    let connectors = previous.map_or(&process.connectors, |previous| &previous.connectors).next();
    let mut servers = Vec::new();
    let settings = std::mem::take(&mut config.backends);
    for ((name, settings), server) in settings.into_iter().zip(std::mem::take(&mut config.servers))
    {
        let backend = backend(name, settings, pools, &connectors, process)?;
        let before = previous.and_then(|previous| previous.servers.get(&server.name));
        let server = process.servers.server(server, backend, before.map(|before| &**before));
        servers.push(Arc::new(server));
    }
    let servers = Servers::new(servers);
    let groups = std::mem::take(&mut config.groups).into_iter().map(|settings| {
        let members = settings.servers.iter().filter_map(|name| servers.get(name)).cloned();
        let members = members.collect();
        let name = settings.name.clone();
        let mut group = Group::new(settings, members);
        if let Some(previous) = previous.and_then(|previous| previous.groups.get(&name)) {
            group.continues(previous);
        }
        (name, Arc::new(group))
    });
    let groups = groups.collect();
    Ok(Backends { servers, groups, connectors })
}

fn backend(
    name: String,
    settings: BackendSettings,
    pools: &HashMap<String, Arc<Pool>>,
    connectors: &Connectors,
    process: &Process,
) -> Result<Arc<dyn Backend>, StartError> {
    Ok(match settings {
        BackendSettings::Ftp(settings) => {
            let pool = settings.data_ports.as_ref().and_then(|name| pools.get(name)).cloned();
            let leases = process.leases.of(&settings.name);
            let backend = FtpBackend::new(settings, pool, connectors, &process.ignored);
            Arc::new(backend.with_leases(leases))
        }
        BackendSettings::Sftp(settings) => {
            let leases = process.leases.of(&settings.name);
            let backend = SftpBackend::new(settings, connectors, &process.ignored);
            Arc::new(backend.with_leases(leases))
        }
        BackendSettings::Local(settings) => {
            let opened = LocalBackend::open(&settings);
            Arc::new(opened.map_err(|reason| StartError::Backend { backend: name, reason })?)
        }
    })
}
