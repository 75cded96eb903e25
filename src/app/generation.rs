//! One configuration of a process: prepared, put in force, and followed by the next.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::process::Process;
use super::servers::{self, Backends};
use super::users_reload::UsersReload;
use crate::admin::{Access, Explainer, InForce, ListenerKind};
use crate::auth::hook::LoginHook;
use crate::auth::{GuardSettings, UserTable};
use crate::backend::Backend;
use crate::config::{Compiled, Fixed, Stamps, UsersFiles};
use crate::data::Pool;
use crate::expected::Expectation;
use crate::front::ftp::TlsPolicy;
use crate::front::{ftp, sftp};
use crate::net::Listener;
use crate::net::tls::ServerTls;
use crate::policy::Protocol;
use crate::policy::limits::Limits;
use crate::route::RouteTable;
use crate::session::{
    Gateway, ListenerDemands, ListenerScope, LoginHooks, MetricsScope, ShownUsers,
};
use crate::task;

/// A configuration that is ready to be put in force: all that can fail has been done.
pub(super) struct Prepared {
    generation: Generation,
    listeners: Vec<Listener>,
    users: UserTable,
    guard: GuardSettings,
    users_files: Option<UsersFiles>,
    shown_users: ShownUsers,
    metrics_scope: MetricsScope,
    expectations: Vec<Expectation>,
    /// By what open sessions are judged, if they are.
    judges: Option<HashMap<String, ListenerDemands>>,
}

/// A configuration in force, and what the next one takes over from it.
pub(super) struct Generation {
    pub(super) in_force: Arc<InForce>,
    pub(super) fixed: Fixed,
    pub(super) files: Stamps,
    /// Every bound address by listener name.
    pub(super) addresses: Vec<(String, SocketAddr)>,
    backends: Backends,
    pools: HashMap<String, Arc<Pool>>,
    tls: HashMap<String, ServerTls>,
    /// Cancelled when its listeners shall accept no more: with `replaced`, or before.
    listening: CancellationToken,
    /// Cancelled when the next one is in force.
    replaced: CancellationToken,
}

impl Prepared {
    /// Opens what is not open yet. Until it is put in force, nothing changes for clients. Must be called within
    /// a tokio runtime.
    pub(super) fn new(
        mut config: Compiled,
        process: &Process,
        previous: Option<&Generation>,
    ) -> Result<Self, StartError> {
        let kinds = listener_kinds(&config);
        let listener_scopes = listener_scopes(&config);
        let mut pools = HashMap::new();
        for settings in std::mem::take(&mut config.pools) {
            let pool = process.pools.open(settings, &process.sockets)?;
            pools.insert(pool.name().to_owned(), Arc::new(pool));
        }
        let before = previous.map(|previous| &previous.backends);
        let backends = servers::open(&mut config, &pools, process, before)?;
        let gateway = Arc::new(gateway(&mut config, &backends, process));
        let admission = process.admission.with_limits(&gateway.limits);
        let replaced = process.end.child_token();
        let demands = config.judges_sessions.then(|| demands(&config));
        let (mut listeners, mut tls) = (Vec::new(), HashMap::new());
        for mut settings in config.listeners {
            let previous = previous.and_then(|previous| previous.tls.get(&settings.name));
            if let Some(own) = settings.tls.settings_mut() {
                previous.into_iter().for_each(|previous| own.tls.continues(previous));
                tls.insert(settings.name.clone(), own.tls.clone());
            }
            let shared = ftp::Shared {
                pool: settings.data_ports.as_ref().and_then(|name| pools.get(name)).cloned(),
                settings,
                replaced: replaced.clone(),
                gateway: gateway.clone(),
                admission: admission.clone(),
                live: process.live.clone(),
                drain: process.drain.clone(),
            };
            listeners.push(ftp::bind(shared, &process.sockets)?);
        }
        for settings in config.sftp_listeners {
            let shared = sftp::Shared {
                settings,
                gateway: gateway.clone(),
                admission: admission.clone(),
                live: process.live.clone(),
                exchanges: process.exchanges.clone(),
                drain: process.drain.clone(),
            };
            listeners.push(sftp::bind(shared, &process.sockets)?);
        }
        let addresses: Vec<_> = listeners.iter().flat_map(Listener::addresses).collect();
        let needs_restart = previous.map(|it| it.fixed.changed(&config.fixed)).unwrap_or_default();
        let access = config.admin_address.map(|(_, access)| Arc::new(access));
        let access = match previous {
            Some(previous) if needs_restart.iter().any(|key| key == "admin.address") => {
                of_bound_address(&previous.in_force, access)
            }
            _ => access,
        };
        let in_force = InForce {
            pools: pools.values().cloned().collect(),
            backends: backends.for_logins(&gateway.routes),
            connects_limits: backends.connectors.limits(),
            ready_needs_backend: config.ready_needs_backend,
            certificate_ends: config.certificate_ends,
            servers: backends.servers.clone(),
            explainer: Explainer { gateway, listeners: kinds },
            addresses: addresses.clone(),
            since: SystemTime::now(),
            masked: config.masked,
            needs_restart,
            access,
        };
        let backends_of_logins = in_force.backends.iter().map(|backend| backend.view().name);
        let metrics_scope =
            MetricsScope { listeners: listener_scopes, backends: backends_of_logins.collect() };
        let generation = Generation {
            in_force: Arc::new(in_force),
            fixed: match previous {
                Some(previous) => config.fixed.kept(&previous.fixed),
                None => config.fixed,
            },
            files: config.files,
            addresses,
            backends,
            pools,
            tls,
            listening: replaced.child_token(),
            replaced,
        };
        Ok(Self {
            generation,
            listeners,
            users: config.users,
            guard: config.login_guard,
            users_files: config.users_files,
            shown_users: config.shown_users,
            metrics_scope,
            expectations: config.expectations,
            judges: demands,
        })
    }

    /// The listeners of these names go on with the keys of session tickets.
    pub(super) fn set_ticket_keys(&self, keys: &BTreeMap<String, Value>) {
        for (listener, tls) in &self.generation.tls {
            if let Some(keys) = keys.get(listener)
                && !tls.set_ticket_keys(keys)
            {
                tracing::debug!(listener, "the ticket keys of the process before are not usable");
            }
        }
    }

    /// What the guard gets of the process before counts by its settings.
    pub(super) fn put_guard_in_force(&self, process: &Process) {
        process.guard.put_in_force(self.guard.clone());
    }

    /// Takes servers of these names out of use; others are not known any more.
    pub(super) fn drain_servers(&self, names: &[String]) {
        for name in names {
            let _ = self.generation.in_force.servers.set_drained(name, true);
        }
    }

    /// Applies to all connections and logins from now on; sessions keep what they had. Then the previous one
    /// accepts nothing more.
    pub(super) fn put_in_force(
        self,
        process: &Arc<Process>,
        previous: Option<&Generation>,
    ) -> Generation {
        let Self { generation, listeners, users, guard, users_files, expectations, .. } = self;
        let change = process.change();
        let Generation { pools, backends, replaced, .. } = &generation;
        let data_ports = pools.values().flat_map(|pool| pool.view().ports).map(|port| port.port);
        let control_ports = generation.addresses.iter().map(|(_, address)| address.port());
        let mut ports = process.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.data.extend(data_ports);
        ports.control.extend(control_ports);
        drop(ports);
        pools.values().for_each(|pool| pool.serve(replaced, &process.end));
        process.passwords.replace_users(users);
        process.guard.put_in_force(guard);
        let limits = &generation.in_force.explainer.gateway.limits;
        process.session_metrics.put_in_force(limits, self.shown_users, self.metrics_scope);
        process.expected.put_in_force(expectations, Timestamp::now());
        if let Some(previous) = previous {
            backends.servers.note_moved_since(&previous.backends.servers);
        }
        backends.servers.check_until(replaced);
        listeners.into_iter().for_each(|listener| listener.serve(&generation.listening));
        previous.into_iter().for_each(|previous| previous.replaced.cancel());
        match self.judges {
            Some(listeners) => {
                let gateway = &generation.in_force.explainer.gateway;
                gateway.judge_sessions(&process.live, listeners);
            }
            None => process.live.keep_all(),
        }
        process.users_reload.broken.set(0);
        drop(change);
        if let Some(files) = users_files {
            let reload = UsersReload::new(process.clone(), files, replaced.clone());
            task::spawn(replaced.clone().run_until_cancelled_owned(reload.watch()));
        }
        generation
    }

    /// Answers questions as a gateway with this configuration would.
    pub(super) fn explainer(
        mut config: Compiled,
        process: &Process,
    ) -> Result<Explainer, StartError> {
        let listeners = listener_kinds(&config);
        let backends = servers::open(&mut config, &HashMap::new(), process, None)?;
        let users = std::mem::take(&mut config.users);
        let gateway = Arc::new(gateway(&mut config, &backends, process));
        process.passwords.replace_users(users);
        Ok(Explainer { gateway, listeners })
    }
}

impl Generation {
    /// Closes its listeners; sessions and data ports go on.
    pub(super) fn stop_listening(&self) {
        self.listening.cancel();
    }

    /// The keys of session tickets by listener: secret.
    pub(super) fn ticket_keys(&self) -> BTreeMap<String, Value> {
        self.tls.iter().map(|(listener, tls)| (listener.clone(), tls.ticket_keys())).collect()
    }
}

/// Who may use `admin.address` while the one that is bound is of an earlier configuration. It is never in clear
/// because the next one may be, and never without a token.
fn of_bound_address(previous: &InForce, next: Option<Arc<Access>>) -> Option<Arc<Access>> {
    let has_tls = |access: &Arc<Access>| access.tls.is_some();
    let was_clear = !previous.access.as_ref().is_some_and(has_tls);
    next.filter(|next| was_clear || has_tls(next)).or_else(|| previous.access.clone())
}

/// Takes what it needs from the configuration.
fn gateway(config: &mut Compiled, backends: &Backends, process: &Process) -> Gateway {
    let limits = std::mem::take(&mut config.policy_limits);
    let sftp = config.sftp_listeners.iter();
    let by_name = |(name, group): (&String, &Arc<_>)| {
        let backend: Arc<dyn Backend> = Arc::<crate::backend::group::Group>::clone(group);
        (name.clone(), backend)
    };
    Gateway {
        key_trust: sftp.map(|it| (it.name.clone(), it.key_trust.clone())).collect(),
        passwords: process.passwords.clone(),
        guard: process.guard.clone(),
        login_hooks: login_hooks(config, process),
        routes: RouteTable(std::mem::take(&mut config.routes.0)),
        backends: backends.groups.iter().map(by_name).collect(),
        policy: config.policy.take().map(|rules| Arc::new(rules.counted(&process.rules))),
        policy_limits: Limits::new(limits, process.counters.clone(), &process.limit_metrics),
        expected: process.expected.clone(),
        limits: config.limits.clone(),
        metrics: process.session_metrics.clone(),
        audit: process.audit.clone(),
    }
}

fn login_hooks(config: &mut Compiled, process: &Process) -> LoginHooks {
    let hooks = std::mem::take(&mut config.login_hooks).into_iter().map(|settings| {
        let hook = LoginHook::new(settings, &process.hook_metrics);
        (hook.name().to_owned(), hook)
    });
    let accounts = std::mem::take(&mut config.accounts);
    LoginHooks { hooks: hooks.collect(), accounts }
}

fn listener_scopes(config: &Compiled) -> BTreeMap<String, ListenerScope> {
    let ftp = config.listeners.iter().map(|listener| {
        let protocols: &[&str] = match listener.tls {
            TlsPolicy::None => &["ftp"],
            TlsPolicy::Optional(_) | TlsPolicy::Required(_) => &["ftp", "ftps"],
            TlsPolicy::Implicit(_) => &["ftps"],
        };
        (&listener.name, protocols)
    });
    let sftp = config.sftp_listeners.iter().map(|it| (&it.name, ["sftp"].as_slice()));
    let scope = |(name, protocols): (&String, _)| {
        let has_anonymous = config.routes.takes_anonymous_at(name);
        (name.clone(), ListenerScope { protocols, has_anonymous })
    };
    ftp.chain(sftp).map(scope).collect()
}

fn demands(config: &Compiled) -> HashMap<String, ListenerDemands> {
    let ftp = config.listeners.iter().map(|listener| {
        let demands = ListenerDemands {
            tls_required: matches!(listener.tls, TlsPolicy::Required(_) | TlsPolicy::Implicit(_)),
            client_auth: listener.tls.settings().and_then(|it| it.tls.client_auth()).cloned(),
            methods: None,
        };
        (listener.name.clone(), demands)
    });
    let sftp = config.sftp_listeners.iter();
    let sftp = sftp.map(|listener| {
        let methods = Some(listener.methods);
        (listener.name.clone(), ListenerDemands { methods, ..ListenerDemands::default() })
    });
    ftp.chain(sftp).collect()
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
