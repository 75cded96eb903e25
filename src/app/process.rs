//! What a process has once, whatever its configuration: metrics, counters, sockets, and the state that goes on
//! when the configuration is replaced.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::SystemTime;

use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::phase::HandOver;
use super::users_metrics::UsersReloadMetrics;
use crate::admin::AdminSocket;
use crate::audit::Audit;
use crate::auth::hook::HookMetrics;
use crate::auth::{GuardSettings, LoginGuard, PasswordCheck, UserTable};
use crate::backend::group::{GroupMetrics, KnownServers};
use crate::backend::{IgnoredAttributes, KnownLeases};
use crate::data::{PoolMetrics, Pools};
use crate::net::ssh::KeyExchangeLimiter;
use crate::net::{Connectors, Drain, Sockets};
use crate::policy::limits::{Counters, LimitMetrics};
use crate::session::{Admission, Limits, LiveSessions, Metrics};

/// What all configurations of a process share.
pub(super) struct Process {
    pub(super) started: SystemTime,
    pub(super) drain: Drain,
    /// Stops data ports, metrics and the admin socket, which serve while sessions drain.
    pub(super) end: CancellationToken,
    pub(super) sockets: Sockets,
    pub(super) admin: OnceLock<Weak<AdminSocket>>,
    pub(super) hand_over: HandOver,
    /// Cancelled when the process before has told the service manager of this one.
    pub(super) announced: CancellationToken,
    pub(super) pools: Pools,
    pub(super) servers: KnownServers,
    pub(super) leases: KnownLeases,
    /// Without queues, for the first configuration.
    pub(super) connectors: Connectors,
    /// Without sessions; its limits are not those of the configuration.
    pub(super) admission: Arc<Admission>,
    pub(super) live: Arc<LiveSessions>,
    pub(super) exchanges: Arc<KeyExchangeLimiter>,
    pub(super) passwords: Arc<PasswordCheck>,
    pub(super) guard: Arc<LoginGuard>,
    pub(super) counters: Arc<Counters>,
    pub(super) audit: Audit,
    pub(super) ignored: IgnoredAttributes,
    pub(super) limit_metrics: LimitMetrics,
    pub(super) hook_metrics: HookMetrics,
    pub(super) session_metrics: Metrics,
    pub(super) users_reload: UsersReloadMetrics,
    /// Of listeners and data ports, of all configurations.
    pub(super) ports: Mutex<BTreeSet<u16>>,
    /// Held while the users or the whole configuration are replaced.
    changes: Mutex<()>,
}

impl Process {
    /// Starts without users and sessions; registers all metrics.
    pub(super) fn new(registry: &Registry, audit: Audit) -> Result<Self, StartError> {
        let passwords = PasswordCheck::new(UserTable::default()).with_metrics(registry)?;
        Ok(Self {
            started: SystemTime::now(),
            drain: Drain::new(),
            end: CancellationToken::new(),
            sockets: Sockets::default(),
            admin: OnceLock::new(),
            hand_over: HandOver::default(),
            announced: CancellationToken::new(),
            pools: Pools::new(PoolMetrics::register(registry)?),
            leases: KnownLeases::default(),
            servers: KnownServers::new(GroupMetrics::register(registry)?),
            connectors: Connectors::register(registry)?,
            admission: Admission::new(&Limits::default()),
            live: LiveSessions::new(),
            exchanges: Arc::default(),
            passwords: Arc::new(passwords),
            guard: LoginGuard::new(GuardSettings::default(), registry)?,
            counters: Arc::default(),
            audit,
            ignored: IgnoredAttributes::register(registry)?,
            limit_metrics: LimitMetrics::register(registry)?,
            hook_metrics: HookMetrics::register(registry)?,
            session_metrics: Metrics::register(registry)?,
            users_reload: UsersReloadMetrics::register(registry)?,
            ports: Mutex::default(),
            changes: Mutex::default(),
        })
    }

    /// Excludes other changes of the users and of the configuration.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what neither a configuration nor a session has any more.
    pub(super) fn forget_ended(&self) {
        self.sockets.forget_closed();
        self.pools.forget_ended();
        self.servers.forget_ended();
    }
}
