//! The metrics of clients, sessions, operations and transfers.

mod count;
mod known;
mod live;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{HistogramVec, IntCounterVec, IntGauge, Registry};

use super::counted_users::{CountedUsers, ShownUsers};
use super::limits::Limits;
use super::live::LiveSessions;
use super::outages::Outages;
use crate::metrics::{self, Labels};

pub use count::{Channel, EndedTransfer, SessionLabels};

/// From a password that the gateway knows to `limits.login_timeout`.
const LOGIN_SECONDS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// From small files in a data centre to the last night's backup.
const TRANSFER_SECONDS: [f64; 11] =
    [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0];

/// A backend on the same machine needs one millisecond; clients give up after a minute.
const FIRST_BYTE_SECONDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// Sessions, logins, operations, transfers and bytes. Labels are names of the configuration and
/// constants, never data of a client, but for the users that `metrics` shows.
pub struct Metrics {
    logins: IntCounterVec,
    login_seconds: HistogramVec,
    operations: IntCounterVec,
    transfers: IntCounterVec,
    bytes: IntCounterVec,
    transfer_seconds: HistogramVec,
    first_byte_seconds: HistogramVec,
    proxy_refused: IntCounterVec,
    clients_refused: IntCounterVec,
    without_login: IntCounterVec,
    tls_handshakes: IntCounterVec,
    ssh_key_exchanges: IntCounterVec,
    sessions_limit: IntGauge,
    sessions_per_address_limit: IntGauge,
    pub(super) outages: Outages,
    users: CountedUsers,
    scope: Mutex<Scope>,
}

#[derive(Default)]
struct Scope {
    in_force: MetricsScope,
    left: Option<Left>,
}

/// Series may be left of listeners or backends that are no longer in force.
#[derive(Default)]
struct Left {
    names: Names,
    /// The last session that may be of an earlier configuration; `None`: not known yet.
    last_session: Option<u64>,
    /// The names whose series were removed last, and how many such sessions were open then: until one of
    /// both changes, there is nothing to remove.
    swept: Option<(Names, usize)>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Names {
    listeners: BTreeSet<String>,
    backends: BTreeSet<String>,
}

/// What the configuration in force has series of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsScope {
    /// By name.
    pub listeners: BTreeMap<String, ListenerScope>,
    /// Those that logins may lead to, by name.
    pub backends: BTreeSet<String>,
}

/// What a listener has series of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerScope {
    /// The protocols that its clients may speak: `ftp`, `ftps`, `sftp`.
    pub protocols: &'static [&'static str],
    /// Whether a route takes anonymous users from there.
    pub has_anonymous: bool,
}

impl Metrics {
    /// Creates the metrics and registers them, once per registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            metrics::counters(registry, name, help, labels)
        };
        Ok(Self {
            outages: Outages::register(registry)?,
            logins: counters(
                "lockgate_logins_total",
                "Logins that ended, and public keys that were refused",
                &["listener", "protocol", "method", "outcome"],
            )?,
            login_seconds: metrics::histograms(
                registry,
                "lockgate_login_duration_seconds",
                "Time from what proves the user to the answer, waits and the backend included",
                &["protocol", "outcome"],
                &LOGIN_SECONDS,
            )?,
            operations: counters(
                "lockgate_operations_total",
                "Operations at backends, transfers included",
                &["protocol", "backend", "operation", "outcome", "fault"],
            )?,
            transfers: counters(
                "lockgate_transfers_total",
                "File transfers that ended",
                &["listener", "protocol", "backend", "direction", "outcome"],
            )?,
            bytes: counters(
                "lockgate_transfer_bytes_total",
                "Bytes of files, counted while they are transferred",
                &["listener", "protocol", "backend", "direction"],
            )?,
            transfer_seconds: metrics::histograms(
                registry,
                "lockgate_transfer_duration_seconds",
                "Time from the command to the end of transfers that moved bytes or ended well",
                &["protocol", "backend", "direction"],
                &TRANSFER_SECONDS,
            )?,
            first_byte_seconds: metrics::histograms(
                registry,
                "lockgate_transfer_first_byte_seconds",
                "Time from the command to the first byte that was forwarded",
                &["protocol", "backend", "direction"],
                &FIRST_BYTE_SECONDS,
            )?,
            clients_refused: counters(
                "lockgate_clients_refused_total",
                "Clients refused before a login",
                &["listener", "reason"],
            )?,
            without_login: counters(
                "lockgate_connections_without_login_total",
                "Client connections that ended before a login and were not refused",
                &["listener"],
            )?,
            proxy_refused: counters(
                "lockgate_proxy_protocol_refused_total",
                "Connections closed because they came from no trusted proxy, or without a valid header",
                &["listener"],
            )?,
            tls_handshakes: counters(
                "lockgate_tls_handshakes_total",
                "TLS handshakes with clients that succeeded",
                &["listener", "channel", "version", "key_exchange", "resumed"],
            )?,
            ssh_key_exchanges: counters(
                "lockgate_ssh_key_exchanges_total",
                "First SSH key exchanges of clients that then tried to log in",
                &["listener", "key_exchange", "cipher"],
            )?,
            sessions_limit: metrics::gauge(
                registry,
                "lockgate_sessions_limit",
                "Sessions that may be open (limits.sessions)",
            )?,
            sessions_per_address_limit: metrics::gauge(
                registry,
                "lockgate_sessions_per_address_limit",
                "Sessions that one client address may have (limits.sessions_per_address)",
            )?,
            users: CountedUsers::default(),
            scope: Mutex::default(),
        })
    }

    /// Goes on with another configuration: series that are known exist from the start.
    pub fn put_in_force(&self, limits: &Limits, shown: ShownUsers, scope: MetricsScope) {
        self.sessions_limit.set(limits.sessions as i64);
        self.sessions_per_address_limit.set(limits.sessions_per_address as i64);
        self.users.show(shown);
        self.know(&scope);
        let mut known = self.scope();
        let mut left = known.left.take().map(|left| left.names).unwrap_or_default();
        let before = std::mem::replace(&mut known.in_force, scope);
        left.listeners.extend(before.listeners.into_keys());
        left.backends.extend(before.backends);
        left.listeners.retain(|name| !known.in_force.listeners.contains_key(name));
        left.backends.retain(|name| !known.in_force.backends.contains(name));
        known.left = (left != Names::default()).then(|| Left { names: left, ..Left::default() });
    }

    /// Ends the series of listeners and backends that neither the configuration nor a session has any more.
    pub fn forget_ended(&self, live: &LiveSessions) {
        let mut scope = self.scope();
        let Some(left) = &mut scope.left else { return };
        let sessions = live.all();
        let last = sessions.iter().map(|session| session.number()).max();
        let last = *left.last_session.get_or_insert(last.unwrap_or_default());
        // These may yet log in at a backend that none has now.
        let earlier = sessions.iter().filter(|session| session.number() <= last).count();
        let mut gone = left.names.clone();
        for session in sessions {
            gone.listeners.remove(session.listener());
            gone.backends.remove(&session.summary().backend);
        }
        let state = (gone, earlier);
        let is_unchanged = left.swept.as_ref() == Some(&state);
        if is_unchanged && earlier > 0 {
            return;
        }
        self.remove(&state.0);
        if is_unchanged {
            // Also what was counted just after the end of the last session.
            scope.left = None;
        } else {
            left.swept = Some(state);
        }
    }

    fn remove(&self, gone: &Names) {
        if *gone == Names::default() {
            return;
        }
        let is_gone = |labels: &Labels<'_>| {
            labels.get("listener").is_some_and(|name| gone.listeners.contains(*name))
                || labels.get("backend").is_some_and(|name| gone.backends.contains(*name))
        };
        for counters in [
            &self.logins,
            &self.operations,
            &self.transfers,
            &self.bytes,
            &self.proxy_refused,
            &self.clients_refused,
            &self.without_login,
            &self.tls_handshakes,
            &self.ssh_key_exchanges,
            self.outages.counters(),
        ] {
            metrics::remove(counters, is_gone);
        }
        for histograms in [&self.transfer_seconds, &self.first_byte_seconds] {
            metrics::remove(histograms, is_gone);
        }
    }

    fn scope(&self) -> MutexGuard<'_, Scope> {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
