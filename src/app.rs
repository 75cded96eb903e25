//! Start-up: creates everything, binds all addresses, then serves.

mod servers;
pub mod service_manager;
mod users_reload;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::admin::{AdminSocket, BoundMetrics, Explainer, ListenerKind};
use crate::audit::{self, Audit, Writers};
use crate::auth::hook::{HookMetrics, LoginHook};
use crate::auth::{LoginGuard, PasswordCheck};
use crate::backend::{Backend, local};
use crate::config::Compiled;
use crate::data::{BindError, Pool, PoolMetrics};
use crate::front::ftp::TlsPolicy;
use crate::front::{ftp, sftp};
use crate::net::ssh::KeyExchangeLimiter;
use crate::net::task;
use crate::net::{Drain, ListenError, Listener, undelivered};
use crate::policy::Protocol;
use crate::policy::limits::{Counters, LimitMetrics, Limits, QuotaFile};
use crate::route::RouteTable;
use crate::session::{Admission, Gateway, LoginHooks, Metrics};
use users_reload::UsersReload;

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
    /// An address of a listener, or `metrics.address`, cannot be opened.
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
    /// Every bound address by listener name, including `metrics`.
    pub addresses: Vec<(String, SocketAddr)>,
    drain: Drain,
    drain_timeout: Duration,
    /// Of listeners and data ports.
    ports: BTreeSet<u16>,
    /// Saves daily quotas.
    quotas: Option<Arc<QuotaFile>>,
    /// Stops data ports, metrics and the admin socket, which serve while sessions drain.
    end: CancellationToken,
    audit: Arc<Writers>,
}

/// Starts a gateway, within a tokio runtime. After an error no connection was accepted.
pub fn start(mut config: Compiled) -> Result<Running, StartError> {
    let (drain, end) = (Drain::new(), CancellationToken::new());
    let registry = Registry::new();
    let pool_metrics = PoolMetrics::register(&registry)?;
    let drain_timeout = config.limits.drain_timeout;

    let kinds = listener_kinds(&config);
    let mut pools = HashMap::new();
    for settings in std::mem::take(&mut config.pools) {
        let pool = Pool::bind(settings, &pool_metrics)?;
        pools.insert(pool.name().to_owned(), Arc::new(pool));
    }
    let admission = Admission::new(&config.limits);
    let (audit, writers) = Audit::start(std::mem::take(&mut config.audit), &registry)?;
    let (servers, backends) = servers::open(&mut config, &pools, &registry)?;
    let gateway = Arc::new(gateway(&mut config, backends, audit, &registry)?);
    let users_files = config.users_files.take();
    let users_reload =
        users_files.map(|files| UsersReload::new(gateway.clone(), files, &registry)).transpose()?;
    let counters = || gateway.policy_limits.counters().clone();
    let quotas = config.state_dir.map(|folder| Arc::new(QuotaFile::open(&folder, counters())));
    let exchanges = Arc::new(KeyExchangeLimiter::default());
    let mut listeners = Vec::new();
    for settings in config.listeners {
        listeners.push(ftp::bind(ftp::Shared {
            pool: settings.data_ports.as_ref().and_then(|name| pools.get(name)).cloned(),
            settings,
            gateway: gateway.clone(),
            admission: admission.clone(),
            drain: drain.clone(),
        })?);
    }
    for settings in config.sftp_listeners {
        listeners.push(sftp::bind(sftp::Shared {
            settings,
            gateway: gateway.clone(),
            admission: admission.clone(),
            exchanges: exchanges.clone(),
            drain: drain.clone(),
        })?);
    }
    let metrics = match config.metrics {
        None => None,
        Some(address) => {
            let bound = BoundMetrics::bind(address, registry, drain.clone());
            let listener = "metrics".to_owned();
            Some(bound.map_err(|reason| ListenError { listener, address, reason })?)
        }
    };

    let admin = match config.admin_socket {
        None => None,
        Some(path) => {
            let explainer = Explainer { gateway: gateway.clone(), listeners: kinds };
            let bound = AdminSocket::bind(
                &path,
                pools.values().cloned().collect(),
                servers.clone(),
                explainer,
            );
            Some(bound.map_err(|reason| StartError::Admin { path, reason })?)
        }
    };

    let mut addresses: Vec<_> = listeners.iter().flat_map(Listener::addresses).collect();
    addresses.extend(metrics.iter().filter_map(|m| Some(("metrics".to_owned(), m.address()?))));

    let data_ports = pools.values().flat_map(|pool| pool.view().ports).map(|port| port.port);
    let ports = data_ports.chain(addresses.iter().map(|(_, address)| address.port())).collect();
    pools.values().for_each(|pool| pool.serve(&end));
    if let Some(metrics) = metrics {
        metrics.serve(end.clone());
    }
    if let Some(admin) = admin {
        admin.serve(end.clone());
    }
    if let Some(quotas) = &quotas {
        task::spawn(quotas.clone().save_until(end.clone()));
    }
    servers.check_until(&end);
    if let Some(users_reload) = users_reload {
        task::spawn(end.clone().run_until_cancelled_owned(users_reload.watch()));
    }
    listeners.into_iter().for_each(Listener::serve);
    let audit = Arc::new(writers);
    Ok(Running { addresses, drain, drain_timeout, ports, quotas, end, audit })
}

impl Running {
    /// Accepts no new sessions and waits `limits.drain_timeout` for running transfers, and until clients
    /// have received what the kernel still has for them, then aborts them. Returns whether that was needed.
    /// Then writes the queued audit records, for at most five seconds.
    pub async fn stop(self) -> bool {
        let started = Instant::now();
        let forced = self.drain.drain(self.drain_timeout).await;
        let rest = self.drain_timeout.saturating_sub(started.elapsed());
        let lost = undelivered(self.ports, rest).await;
        if lost > 0 {
            tracing::warn!(
                bytes = lost,
                "clients have not received the end of what was sent to them (limits.drain_timeout)"
            );
        }
        self.end.cancel();
        if let Some(quotas) = self.quotas {
            quotas.save().await;
        }
        self.audit.close().await;
        forced
    }

    /// The tasks that write the audit.
    pub fn audit(&self) -> Arc<Writers> {
        self.audit.clone()
    }
}

/// Answers questions about a configuration as a gateway with it would. Nothing is started.
pub fn explainer(mut config: Compiled) -> Result<Explainer, StartError> {
    let listeners = listener_kinds(&config);
    let registry = Registry::new();
    let (_, backends) = servers::open(&mut config, &HashMap::new(), &registry)?;
    let gateway = gateway(&mut config, backends, Audit::default(), &registry)?;
    Ok(Explainer { gateway: Arc::new(gateway), listeners })
}

/// Takes what it needs from the configuration.
fn gateway(
    config: &mut Compiled,
    backends: HashMap<String, Arc<dyn Backend>>,
    audit: Audit,
    registry: &Registry,
) -> Result<Gateway, StartError> {
    let limit_metrics = LimitMetrics::register(registry)?;
    let limits = std::mem::take(&mut config.policy_limits);
    let sftp = config.sftp_listeners.iter();
    Ok(Gateway {
        key_trust: sftp.map(|it| (it.name.clone(), it.key_trust.clone())).collect(),
        passwords: PasswordCheck::new(std::mem::take(&mut config.users)).with_metrics(registry)?,
        guard: LoginGuard::new(config.login_guard.clone(), registry)?,
        login_hooks: login_hooks(config, registry)?,
        routes: RouteTable(std::mem::take(&mut config.routes.0)),
        backends,
        policy: config.policy.take().map(Arc::new),
        policy_limits: Limits::new(limits, Arc::new(Counters::default()), &limit_metrics),
        limits: config.limits.clone(),
        metrics: Metrics::register(registry)?,
        audit,
    })
}

fn login_hooks(config: &mut Compiled, registry: &Registry) -> Result<LoginHooks, StartError> {
    let metrics = HookMetrics::register(registry)?;
    let hooks = std::mem::take(&mut config.login_hooks).into_iter().map(|settings| {
        let hook = LoginHook::new(settings, &metrics);
        (hook.name().to_owned(), hook)
    });
    let accounts = std::mem::take(&mut config.accounts);
    Ok(LoginHooks { hooks: hooks.collect(), accounts })
}

fn listener_kinds(config: &Compiled) -> Vec<ListenerKind> {
    let ftp = config.listeners.iter().map(|listener| ListenerKind {
        name: listener.name.clone(),
        protocol: Protocol::Ftp,
        can_encrypt: !matches!(listener.tls, TlsPolicy::None),
        must_encrypt: matches!(listener.tls, TlsPolicy::Required(_) | TlsPolicy::Implicit(_)),
    });
    let sftp = config.sftp_listeners.iter().map(|listener| ListenerKind {
        name: listener.name.clone(),
        protocol: Protocol::Sftp,
        can_encrypt: true,
        must_encrypt: true,
    });
    ftp.chain(sftp).collect()
}
