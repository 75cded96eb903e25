//! The servers of the configuration, and the backends that they form.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::Registry;

use super::StartError;
use crate::backend::ftp::FtpBackend;
use crate::backend::group::{Group, GroupMetrics, Server, Servers};
use crate::backend::local::LocalBackend;
use crate::backend::sftp::SftpBackend;
use crate::backend::{Backend, IgnoredAttributes};
use crate::config::{BackendSettings, Compiled};
use crate::data::Pool;
use crate::net::Connectors;

/// Takes the servers and groups of the configuration. Connects to none.
pub(super) fn open(
    config: &mut Compiled,
    pools: &HashMap<String, Arc<Pool>>,
    registry: &Registry,
) -> Result<(Servers, HashMap<String, Arc<dyn Backend>>), StartError> {
    let connectors = Connectors::register(registry)?;
    let ignored = IgnoredAttributes::register(registry)?;
    let metrics = GroupMetrics::register(registry)?;
    let mut servers = Vec::new();
    let settings = std::mem::take(&mut config.backends);
    for ((name, settings), server) in settings.into_iter().zip(std::mem::take(&mut config.servers))
    {
        let backend = backend(name, settings, pools, &connectors, &ignored)?;
        servers.push(Arc::new(Server::new(server, backend, &metrics)));
    }
    let groups = std::mem::take(&mut config.groups).into_iter().map(|group| {
        let named = |name: &String| servers.iter().find(|server| server.name() == name).cloned();
        let members = group.servers.iter().filter_map(named).collect();
        let name = group.name.clone();
        (name, Arc::new(Group::new(group, members)) as Arc<dyn Backend>)
    });
    let groups = groups.collect();
    Ok((Servers::new(servers), groups))
}

fn backend(
    name: String,
    settings: BackendSettings,
    pools: &HashMap<String, Arc<Pool>>,
    connectors: &Connectors,
    ignored: &IgnoredAttributes,
) -> Result<Arc<dyn Backend>, StartError> {
    Ok(match settings {
        BackendSettings::Ftp(settings) => {
            let pool = settings.data_ports.as_ref().and_then(|name| pools.get(name)).cloned();
            Arc::new(FtpBackend::new(settings, pool, connectors, ignored))
        }
        BackendSettings::Sftp(settings) => {
            Arc::new(SftpBackend::new(settings, connectors, ignored))
        }
        BackendSettings::Local(settings) => {
            let opened = LocalBackend::open(&settings);
            Arc::new(opened.map_err(|reason| StartError::Backend { backend: name, reason })?)
        }
    })
}
