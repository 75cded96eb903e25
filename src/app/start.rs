//! The start of a gateway, in two parts: what can fail, and what cannot.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use prometheus::Registry;

use super::generation::Prepared;
use super::peers::Peers;
use super::process::Process;
use super::reload::{ReloadMetrics, Reloader};
use super::{Running, StartError};
use crate::admin::{AdminSocket, BoundMetrics};
use crate::audit::{Audit, Writers};
use crate::config::Compiled;
use crate::net::{DrainSettings, ListenError, Sockets, task};
use crate::policy::limits::QuotaFile;

/// A gateway of which everything is open, and which accepts nothing yet.
pub(super) struct Starting {
    pub(super) peers: Arc<Peers>,
    prepared: Prepared,
    metrics: Option<BoundMetrics>,
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
        let drain_settings = std::mem::take(&mut config.drain);
        let (audit, writers) = Audit::start(std::mem::take(&mut config.audit), &registry)?;
        let process = Arc::new(Process::new(&registry, audit)?);
        adopt(&process.sockets).map_err(StartError::Inherited)?;
        let (metrics, state_dir) = (config.metrics.take(), config.state_dir.take());
        let prepared = Prepared::new(config, &process, None)?;
        let metrics = match metrics {
            None => None,
            Some(address) => {
                let shown = (registry.clone(), process.drain.clone());
                let bound = BoundMetrics::bind(address, &process.sockets, shown);
                let listener = "metrics".to_owned();
                Some(bound.map_err(|reason| ListenError { listener, address, reason })?)
            }
        };
        let reload_metrics = ReloadMetrics::register(&registry)?;
        let audit = Arc::new(writers);
        Ok(Self {
            peers: Peers::new(process),
            prepared,
            metrics,
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
    pub(super) fn serve(self, admin: Option<AdminSocket>) -> Running {
        let counters = self.process().counters.clone();
        let quotas = self.state_dir.clone().map(|folder| QuotaFile::open(&folder, counters));
        self.run(admin, quotas)
    }

    /// As [`Self::serve`], after another process, with what that has counted.
    pub(super) fn serve_after(self, admin: AdminSocket) -> Running {
        let counters = self.process().counters.clone();
        let quotas = self.state_dir.clone().map(|folder| QuotaFile::taken_over(&folder, counters));
        admin.resume();
        self.run(Some(admin), quotas)
    }

    fn run(self, admin: Option<AdminSocket>, quotas: Option<QuotaFile>) -> Running {
        let process = self.process().clone();
        let Self { peers, prepared, metrics, reload_metrics, drain_settings, audit, .. } = self;
        let metrics_address = metrics.as_ref().and_then(BoundMetrics::address);
        let generation = prepared.put_in_force(&process, None);
        let mut addresses = generation.addresses.clone();
        addresses.extend(metrics_address.map(|address| ("metrics".to_owned(), address)));
        let reloader = Reloader::new(peers, generation, drain_settings, reload_metrics);
        let end = &process.end;
        if let Some(metrics) = metrics {
            metrics.serve(end.clone());
        }
        if let Some(admin) = admin {
            let admin = Arc::new(admin);
            let _ = process.admin.set(Arc::downgrade(&admin));
            admin.serve(reloader.clone(), end.clone());
        }
        let quotas = quotas.map(Arc::new);
        if let Some(quotas) = quotas.clone() {
            let saver = process.clone();
            task::spawn(async move {
                tokio::select! {
                    () = quotas.save_until(saver.end.clone()) => {}
                    // The other process saves.
                    () = saver.hand_over.done() => {}
                }
            });
        }
        Running { addresses, process, reloader, quotas, audit }
    }
}
