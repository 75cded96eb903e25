//! Start-up: creates everything, binds all addresses, then serves. A reload does the same for another
//! configuration, beside the one in force.

mod every_second;
mod generation;
mod process;
mod process_metrics;
mod reload;
mod servers;
pub mod service_manager;
mod users_metrics;
mod users_reload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use prometheus::Registry;

use crate::admin::{
    AdminEndpoint, AdminSocket, BoundMetrics, Control, Explainer, register_in_force_metrics,
    serve_operators,
};
use crate::audit::{self, Audit, Writers};
use crate::backend::local;
use crate::config::Compiled;
use crate::data::BindError;
use crate::expected::ExpectedStateFile;
use crate::net::task;
use crate::net::{Drain, DrainSettings, ListenError, undelivered};
use crate::policy::limits::QuotaFile;
use generation::Prepared;
use process::Process;

pub use reload::{ReloadError, Reloaded, Reloader, Watch};

/// Until clients have acknowledged what they were told last, also where the drain has taken all of its time.
const LAST_REPLIES_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the gateway did not start; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of a `local` backend cannot be opened.
    #[error("backend \"{backend}\": {reason}")]
    Backend {
        /// The backend's name in the configuration.
        backend: String,
        /// What failed; it names the folder.
        reason: local::OpenError,
    },
    /// A port of a `data_ports` pool cannot be opened.
    #[error(transparent)]
    DataPort(#[from] BindError),
    /// An audit file cannot be opened, or a metric of the audit cannot be registered.
    #[error(transparent)]
    Audit(#[from] audit::StartError),
    /// An address of a listener, `metrics.address` or `admin.address` cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A metric cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The operators' socket cannot be created.
    #[error("the admin socket {path} cannot be opened: {reason}")]
    Admin {
        /// The value of `admin.socket`.
        path: PathBuf,
        /// The error of the operating system.
        reason: std::io::Error,
    },
}

/// A running gateway.
pub struct Running {
    /// Every address that was bound at the start, by listener name, including `metrics` and
    /// `admin`.
    pub addresses: Vec<(String, SocketAddr)>,
    process: Arc<Process>,
    reloader: Arc<Reloader>,
    /// Saves daily quotas.
    quotas: Option<Arc<QuotaFile>>,
    /// Saves which expected files have arrived.
    expected: Option<Arc<ExpectedStateFile>>,
    audit: Arc<Writers>,
    registry: Registry,
}

/// Starts a gateway, within a tokio runtime. After an error no connection was accepted.
pub fn start(mut config: Compiled) -> Result<Running, StartError> {
    let registry = Registry::new();
    process_metrics::register(&registry)?;
    let drain_settings = std::mem::take(&mut config.drain);
    let (audit, writers) = Audit::start(std::mem::take(&mut config.audit), &registry)?;
    let audit_writers = Arc::new(writers);
    let process = Arc::new(Process::new(&registry, audit)?);
    let (metrics, admin_socket) = (config.metrics.take(), config.admin_socket.take());
    let admin_address = config.admin_address.as_ref().map(|(address, _)| *address);
    let state_dir = config.state_dir.take();
    let prepared = Prepared::new(config, &process, None)?;
    let quotas =
        state_dir.as_ref().map(|it| Arc::new(QuotaFile::open(it, process.counters.clone())));
    let expected =
        state_dir.map(|it| Arc::new(ExpectedStateFile::open(&it, process.expected.clone())));
    let metrics = match metrics {
        None => None,
        Some(address) => {
            let bound = BoundMetrics::bind(address, registry.clone());
            let listener = "metrics".to_owned();
            Some(bound.map_err(|reason| ListenError { listener, address, reason })?)
        }
    };
    let endpoint = match admin_address {
        None => None,
        Some(address) => {
            let bound = AdminEndpoint::bind(address, &registry);
            let listener = "admin".to_owned();
            Some(bound.map_err(|reason| ListenError { listener, address, reason })?)
        }
    };
    let admin = match admin_socket {
        None => None,
        Some(path) => {
            let bound = AdminSocket::bind(&path);
            Some(bound.map_err(|reason| StartError::Admin { path, reason })?)
        }
    };
    let metrics_address = metrics.as_ref().and_then(BoundMetrics::address);

    let generation = prepared.put_in_force(&process, None);
    let mut addresses = generation.addresses.clone();
    addresses.extend(metrics_address.map(|address| ("metrics".to_owned(), address)));
    addresses.extend(endpoint.as_ref().map(|it| ("admin".to_owned(), it.address())));
    let reloader = Reloader::new(process.clone(), generation, drain_settings, &registry)?;
    let end = &process.end;
    let control: Arc<dyn Control> = reloader.clone();
    register_in_force_metrics(&registry, &control)?;
    if let Some(metrics) = metrics {
        metrics.serve(control.clone(), end.clone());
    }
    serve_operators(admin, endpoint, control, end);
    if let Some(quotas) = &quotas {
        task::spawn(quotas.clone().save_until(end.clone()));
    }
    if let Some(expected) = &expected {
        task::spawn(expected.clone().save_until(end.clone()));
    }
    let watch = process.expected.clone().watch();
    task::spawn(end.clone().run_until_cancelled_owned(watch));
    Ok(Running { addresses, process, reloader, quotas, expected, audit: audit_writers, registry })
}

impl Running {
    /// Drains as `drain` says: accepts sessions for a while, waits for running transfers, and until clients
    /// have received what the kernel still has for them, then aborts them. Then writes the queued audit
    /// records, for at most five seconds. Returns whether a transfer was cut, or its end was not received.
    pub async fn stop(self) -> bool {
        let started = Instant::now();
        let settings = self.reloader.drain_settings();
        service_manager::stopping(settings.accept_for + settings.timeout);
        let cut = self.process.drain.drain(&settings).await;
        let DrainSettings { accept_for, timeout } = settings;
        let rest =
            (accept_for + timeout).saturating_sub(started.elapsed()).max(LAST_REPLIES_TIMEOUT);
        let ports = self.process.ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost = undelivered(ports, rest).await;
        if lost > 0 {
            tracing::warn!(
                bytes = lost,
                "clients have not received the end of what was sent to them (drain.timeout)"
            );
        }
        self.process.end.cancel();
        if let Some(quotas) = self.quotas {
            quotas.save().await;
        }
        if let Some(expected) = self.expected {
            expected.save().await;
        }
        self.audit.close().await;
        cut || lost > 0
    }

    /// Begins to end at [`Self::stop`]; says whether somebody else asked for that, and how far it is.
    pub fn drain(&self) -> Drain {
        self.process.drain.clone()
    }

    /// The tasks that write the audit.
    pub fn audit(&self) -> Arc<Writers> {
        self.audit.clone()
    }

    /// Where all metrics are registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Puts other configurations in force.
    pub fn reloader(&self) -> Arc<Reloader> {
        self.reloader.clone()
    }
}

/// Answers questions about a configuration as a gateway with it would. Nothing is started.
pub fn explainer(config: Compiled) -> Result<Explainer, StartError> {
    let process = Process::new(&Registry::new(), Audit::default())?;
    Prepared::explainer(config, &process)
}
