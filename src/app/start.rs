//! The start of a gateway, in two parts: what can fail, and what cannot.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use prometheus::Registry;

use super::generation::Prepared;
use super::peers::Peers;
use super::process::Process;
use super::reload::{ReloadMetrics, Reloader};
use super::{Running, StartError, process_metrics};
use crate::admin::{
    AdminEndpoint, AdminSocket, BoundMetrics, Control, register_in_force_metrics, serve_operators,
};
use crate::audit::{Audit, Writers};
use crate::config::Compiled;
use crate::expected::ExpectedFiles;
use crate::files::StateFile;
use crate::net::{DrainSettings, ListenError, Sockets};
use crate::policy::limits::Counters;
use crate::task;

/// A gateway of which everything is open, and which accepts nothing yet.
pub(super) struct Starting {
    pub(super) peers: Arc<Peers>,
    prepared: Prepared,
    metrics: Option<BoundMetrics>,
    endpoint: Option<AdminEndpoint>,
    registry: Registry,
    reload_metrics: ReloadMetrics,
    drain_settings: DrainSettings,
    state_dir: Option<PathBuf>,
    audit: Arc<Writers>,
}

impl Starting {
    /// Opens everything but the admin socket; goes on with sockets that `adopt` adds.
    pub(super) fn prepare(
        mut config: Compiled,
        adopt: impl FnOnce(&Sockets) -> io::Result<()>,
    ) -> Result<Self, StartError> {
        let registry = Registry::new();
        process_metrics::register(&registry)?;
        let drain_settings = std::mem::take(&mut config.drain);
        let (audit, writers) = Audit::start(std::mem::take(&mut config.audit), &registry)?;
        let process = Arc::new(Process::new(&registry, audit)?);
        adopt(&process.sockets).map_err(StartError::Inherited)?;
        let (metrics, state_dir) = (config.metrics.take(), config.state_dir.take());
        let admin_address = config.admin_address.as_ref().map(|(address, _)| *address);
        let prepared = Prepared::new(config, &process, None)?;
        let sockets = &process.sockets;
        let bind_metrics = |address| BoundMetrics::bind(address, sockets, registry.clone());
        let metrics = bound("metrics", metrics, bind_metrics)?;
        let bind_endpoint = |address| AdminEndpoint::bind(address, sockets, &registry);
        let endpoint = bound("admin", admin_address, bind_endpoint)?;
        let reload_metrics = ReloadMetrics::register(&registry)?;
        let audit = Arc::new(writers);
        let peers = Peers::new(process);
        peers.register_metrics(&registry)?;
        Ok(Self {
            peers,
            prepared,
            metrics,
            endpoint,
            registry,
            reload_metrics,
            drain_settings,
            state_dir,
            audit,
        })
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        self.peers.process()
    }

    pub(super) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Accepts.
    pub(super) fn serve(self, admin: Option<AdminSocket>) -> Result<Running, StartError> {
        let Process { counters, expected, .. } = &**self.process();
        let folder = self.state_dir.as_deref();
        let quotas = folder.map(|folder| StateFile::open(folder, counters.clone()));
        let expected = folder.map(|folder| StateFile::open(folder, expected.clone()));
        self.run(admin, quotas, expected)
    }

    /// As [`Self::serve`], after another process, with what that has counted.
    pub(super) fn serve_after(self, admin: AdminSocket) -> Result<Running, StartError> {
        let Process { counters, expected, .. } = &**self.process();
        let folder = self.state_dir.as_deref();
        let quotas = folder.map(|folder| StateFile::taken_over(folder, counters.clone()));
        let expected = folder.map(|folder| StateFile::taken_over(folder, expected.clone()));
        admin.resume();
        self.run(Some(admin), quotas, expected)
    }

    /// Fails only where two metrics have one name.
    fn run(
        self,
        admin: Option<AdminSocket>,
        quotas: Option<StateFile<Counters>>,
        expected: Option<StateFile<ExpectedFiles>>,
    ) -> Result<Running, StartError> {
        let process = self.process().clone();
        let Self { peers, prepared, metrics, endpoint, registry, reload_metrics, .. } = self;
        let generation = prepared.put_in_force(&process, None);
        let mut addresses = generation.addresses.clone();
        let of_metrics = metrics.as_ref().and_then(BoundMetrics::address);
        addresses.extend(of_metrics.map(|address| ("metrics".to_owned(), address)));
        addresses.extend(endpoint.as_ref().map(|it| ("admin".to_owned(), it.address())));
        let reloader = Reloader::new(peers, generation, self.drain_settings, reload_metrics);
        let end = &process.end;
        let control: Arc<dyn Control> = reloader.clone();
        register_in_force_metrics(&registry, &control)?;
        if let Some(metrics) = metrics {
            metrics.serve(control.clone(), process.addresses_end.clone());
        }
        let admin = admin.map(Arc::new);
        if let Some(admin) = &admin {
            let _ = process.admin.set(Arc::downgrade(admin));
        }
        serve_operators(admin.as_ref(), endpoint, control, (end, &process.addresses_end));
        let (quotas, expected) = (quotas.map(Arc::new), expected.map(Arc::new));
        if let Some(quotas) = quotas.clone() {
            spawn_until_handed_over(&process, quotas.save_until(end.clone()));
        }
        if let Some(expected) = expected.clone() {
            spawn_until_handed_over(&process, expected.save_until(end.clone()));
        }
        spawn_until_handed_over(&process, process.expected.clone().watch());
        let audit = self.audit;
        Ok(Running { addresses, process, reloader, quotas, expected, audit, registry })
    }
}

fn bound<T>(
    listener: &str,
    address: Option<SocketAddr>,
    bind: impl FnOnce(SocketAddr) -> io::Result<T>,
) -> Result<Option<T>, ListenError> {
    let Some(address) = address else { return Ok(None) };
    let listener = listener.to_owned();
    bind(address).map(Some).map_err(|reason| ListenError { listener, address, reason })
}

/// For what the next process does after a take-over; until the end without one.
fn spawn_until_handed_over(
    process: &Arc<Process>,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let process = process.clone();
    task::spawn(async move {
        tokio::select! {
            () = work => {}
            () = process.end.cancelled() => {}
            () = process.hand_over.done() => {}
        }
    });
}
