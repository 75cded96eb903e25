//! What a process has once, whatever its configuration: metrics, counters, sockets, and the state that goes on
//! when the configuration is replaced.

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
use crate::expected::{self, ExpectedFiles};
use crate::metrics::{self, live_gauge};
use crate::net::ssh::{EXCHANGES_MAX, KeyExchangeLimiter};
use crate::net::{Connectors, Drain, ServedPorts, Sockets};
use crate::policy::KnownRules;
use crate::policy::limits::{Counters, LimitMetrics};
use crate::session::{Admission, Limits, LiveSessions, Metrics};

/// What all configurations of a process share.
pub(super) struct Process {
    pub(super) started: SystemTime,
    pub(super) drain: Drain,
    /// Stops data ports, metrics and the admin socket, which serve while sessions drain.
    pub(super) end: CancellationToken,
    /// Stops the addresses of metrics and operators; no later than `end`.
    pub(super) addresses_end: CancellationToken,
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
    pub(super) expected: Arc<ExpectedFiles>,
    pub(super) audit: Audit,
    pub(super) ignored: IgnoredAttributes,
    pub(super) limit_metrics: LimitMetrics,
    pub(super) rules: KnownRules,
    pub(super) hook_metrics: HookMetrics,
    pub(super) session_metrics: Arc<Metrics>,
    pub(super) users_reload: UsersReloadMetrics,
    /// Of listeners and data ports, of all configurations.
    pub(super) ports: Mutex<ServedPorts>,
    /// Held while the users or the whole configuration are replaced.
    changes: Mutex<()>,
}

impl Process {
    /// Starts without users and sessions; registers all metrics.
    pub(super) fn new(registry: &Registry, audit: Audit) -> Result<Self, StartError> {
        let exchanges = Arc::<KeyExchangeLimiter>::default();
        register_exchanges(registry, &exchanges)?;
        let passwords = PasswordCheck::new(UserTable::default()).with_metrics(registry)?;
        let (live, admission) = (LiveSessions::new(), Admission::new(&Limits::default()));
        let session_metrics = Arc::new(Metrics::register(registry)?);
        session_metrics.register_live(registry, &live, &admission)?;
        let expected = Arc::<ExpectedFiles>::default();
        expected::register_metrics(&expected, registry)?;
        let end = CancellationToken::new();
        Ok(Self {
            expected,
            started: SystemTime::now(),
            drain: Drain::new(),
            addresses_end: end.child_token(),
            end,
            sockets: Sockets::default(),
            admin: OnceLock::new(),
            hand_over: HandOver::default(),
            announced: CancellationToken::new(),
            pools: Pools::new(PoolMetrics::register(registry)?),
            leases: KnownLeases::default(),
            servers: KnownServers::new(GroupMetrics::register(registry)?),
            connectors: Connectors::register(registry)?,
            admission,
            live,
            exchanges,
            passwords: Arc::new(passwords),
            guard: LoginGuard::new(GuardSettings::default(), registry)?,
            counters: Arc::default(),
            audit,
            ignored: IgnoredAttributes::register(registry)?,
            limit_metrics: LimitMetrics::register(registry)?,
            rules: KnownRules::default(),
            hook_metrics: HookMetrics::register(registry)?,
            session_metrics,
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
        self.session_metrics.forget_ended(&self.live);
        self.connectors.forget_ended();
        self.limit_metrics.forget_ended();
        self.rules.forget_ended();
    }
}

fn register_exchanges(
    registry: &Registry,
    exchanges: &Arc<KeyExchangeLimiter>,
) -> Result<(), prometheus::Error> {
    let of = exchanges.clone();
    live_gauge(
        registry,
        "lockgate_ssh_key_exchanges_busiest_address",
        "SSH key exchanges before a login of the address that has most, of late",
        move || f64::from(of.used_most()),
    )?;
    let limit = metrics::gauge(
        registry,
        "lockgate_ssh_key_exchanges_per_address_limit",
        "SSH key exchanges before a login that an address gets at once",
    )?;
    limit.set(EXCHANGES_MAX.into());
    Ok(())
}
