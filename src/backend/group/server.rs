//! One server of a backend: its state, its sessions, and whether it may get more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use super::metrics::{GroupMetrics, ServerMetrics};
use super::settings::{Checks, ServerSettings};
use super::state::{Failed, State};
use crate::backend::{Backend, BackendSession, Login, Origin};
use crate::net::WeakMap;
use crate::op::{Failure, FailureKind, Outage};

/// A server, shared by all backends that it belongs to.
pub struct Server {
    settings: ServerSettings,
    backend: Arc<dyn Backend>,
    lasting: Arc<Lasting>,
    health: Arc<Health>,
}

/// Whether the server at these addresses works; another configuration that has it at the same ones goes on
/// with it.
struct Health {
    state: Mutex<State>,
    /// Whether it is down, for logins in progress.
    down: watch::Sender<bool>,
}

/// What stays when another configuration has a server of this name.
struct Lasting {
    sessions: AtomicUsize,
    drained: AtomicBool,
    metrics: ServerMetrics,
}

/// A session's place at a server, until it is dropped.
pub(super) struct Place {
    server: Arc<Server>,
}

/// The servers of all configurations that a process has had, and that sessions still use.
pub struct KnownServers {
    metrics: GroupMetrics,
    live: WeakMap<String, Lasting>,
}

impl KnownServers {
    /// Starts without servers.
    pub fn new(metrics: GroupMetrics) -> Self {
        Self { metrics, live: WeakMap::default() }
    }

    /// A server as another configuration had it, with its sessions, or a new one that is up until it fails.
    /// `previous`: of the configuration in force.
    pub fn server(
        &self,
        settings: ServerSettings,
        backend: Arc<dyn Backend>,
        previous: Option<&Server>,
    ) -> Server {
        let name = &settings.name;
        let lasting = self.live.get_or_insert_with(name, || Lasting::new(name, &self.metrics));
        let same = previous.filter(|it| it.backend.addresses() == backend.addresses());
        let health = same.map_or_else(Arc::default, |same| same.health.clone());
        Server { settings, backend, lasting, health }
    }

    /// Removes the metrics of servers that no configuration and no session has any more.
    pub fn forget_ended(&self) {
        self.live.forget_ended(|name| self.metrics.remove(name));
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { state: Mutex::new(State::new(Instant::now())), down: watch::Sender::new(false) }
    }
}

impl Lasting {
    fn new(name: &str, metrics: &GroupMetrics) -> Self {
        let metrics = metrics.server(name);
        metrics.up.set(1);
        Self { sessions: AtomicUsize::new(0), drained: AtomicBool::new(false), metrics }
    }
}

impl Server {
    /// A server that is up until it fails.
    pub fn new(
        settings: ServerSettings,
        backend: Arc<dyn Backend>,
        metrics: &GroupMetrics,
    ) -> Self {
        let lasting = Arc::new(Lasting::new(&settings.name, metrics));
        Self { settings, backend, lasting, health: Arc::default() }
    }

    /// It has moved since `previous`, and so has never failed.
    pub(super) fn note_moved_since(&self, previous: &Self) {
        if !Arc::ptr_eq(&self.health, &previous.health) {
            self.lasting.metrics.up.set(1);
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    pub(super) fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    pub(super) fn checks(&self) -> Option<&Checks> {
        self.settings.checks.as_ref()
    }

    /// Sessions at present.
    pub(super) fn sessions(&self) -> usize {
        self.lasting.sessions.load(Ordering::Relaxed)
    }

    pub(super) fn sessions_max(&self) -> Option<usize> {
        self.settings.sessions_max
    }

    pub(super) fn is_drained(&self) -> bool {
        self.lasting.drained.load(Ordering::Relaxed)
    }

    /// Takes no new sessions, or takes them again.
    pub(super) fn set_drained(&self, drained: bool) {
        if self.lasting.drained.swap(drained, Ordering::Relaxed) != drained {
            let server = self.name();
            if drained {
                tracing::info!(target: "lockgate::record", event = "backend", server, "drained by an operator: no new sessions at this server");
            } else {
                tracing::info!(target: "lockgate::record", event = "backend", server, "no longer drained: the server takes sessions again");
            }
        }
        self.lasting.metrics.drained.set(i64::from(drained));
    }

    /// One without `health` is always tried: nothing stands in for it.
    pub(super) fn is_available(&self) -> bool {
        !self.is_drained() && (self.checks().is_none() || self.state().is_up())
    }

    /// Down because of logins alone: it passes its checks. Since when it has had no failure; `None`: it is
    /// not such a server.
    pub(super) fn last_resort(&self) -> Option<SystemTime> {
        let state = self.state();
        let is_one = self.checks().is_some() && !self.is_drained() && !state.check_failed();
        let (failed, _) = state.last_error().filter(|_| is_one && !state.is_up())?;
        Some(*failed)
    }

    pub(super) fn share(&self, now: Instant) -> f64 {
        if self.checks().is_none() { 1.0 } else { self.state().share(now) }
    }

    /// For the log, where it cannot take a session.
    pub(super) fn why_unavailable(&self) -> String {
        let name = self.name();
        if self.is_drained() {
            return format!("{name} is drained (`lockgate backends undrain {name}`)");
        }
        let state = self.state();
        if self.checks().is_some() && !state.is_up() {
            let reason = state.last_error().map_or("", |(_, reason)| reason.as_str());
            return format!("{name} is down: {reason}");
        }
        match self.sessions_max() {
            Some(max) => format!("{name} has {} sessions (`sessions: {max}`)", self.sessions()),
            None => format!("{name} went down just now"),
        }
    }

    /// `None`: it has all the sessions that it may have.
    pub(super) fn take_place(self: &Arc<Self>) -> Option<Place> {
        let max = self.sessions_max().unwrap_or(usize::MAX);
        let more = |sessions| (sessions < max).then_some(sessions + 1);
        self.lasting.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.lasting.metrics.sessions.inc();
        Some(Place { server: self.clone() })
    }

    /// Logs in. `None`: the server was found to be down meanwhile.
    pub(super) async fn login(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Option<Result<Box<dyn BackendSession>, Failure>> {
        let mut down = self.health.down.subscribe();
        tokio::select! {
            biased;
            outcome = self.login_though_down(login, origin) => Some(outcome),
            // The sender lives as long as the server.
            // A server without checks is always tried.
            Ok(_) = down.wait_for(|down| *down), if self.checks().is_some() => None,
        }
    }

    /// As [`Server::login`], to the end.
    pub(super) async fn login_though_down(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure> {
        let outcome = self.backend.login(login, origin).await;
        match &outcome {
            // A client could take the server down with wrong passwords, where it closes after them.
            Err(_) if login.is_undecided() => {}
            Err(failure) if is_unavailable(failure) => self.note_failure(failure),
            _ => self.note_success(),
        }
        outcome
    }

    /// Of a login that ended because of others, or of a check.
    pub(super) fn went_down(&self) -> Failure {
        let reason = self.state().last_error().map(|(_, reason)| reason.clone());
        Failure::backend(
            FailureKind::Unavailable,
            "the backend server cannot be reached; try again later or contact the gateway's operator",
        )
        .with_detail(format!("{} went down: {}", self.name(), reason.unwrap_or_default()))
        .with_outage(Outage::Unreachable)
    }

    /// Until a login or a check finds it to be down.
    pub(super) async fn until_down(&self) {
        // The sender lives as long as the server.
        let _ = self.health.down.subscribe().wait_for(|down| *down).await;
    }

    pub(super) fn note_failure(&self, failure: &Failure) {
        let how = match failure.outage {
            None | Some(Outage::UnexpectedAnswer) => Failed::Busy,
            Some(_) => Failed::Broken,
        };
        let reason = failure.detail.as_ref().unwrap_or(&failure.message).clone();
        {
            let mut state = self.state();
            if !state.failed(how, reason.clone(), Instant::now()) {
                return;
            }
            // Under the lock, so that they agree with it.
            self.lasting.metrics.up.set(0);
            self.health.down.send_replace(true);
        }
        if self.checks().is_some() {
            self.lasting.metrics.ejections.inc();
            let server = self.name();
            // Of the server, whether a check or a login found it.
            tracing::warn!(target: "lockgate::record", event = "backend", server, reason, "the server is down: no new sessions");
        }
    }

    pub(super) fn note_success(&self) {
        let now = Instant::now();
        {
            let mut state = self.state();
            let is_checked = self.checks().is_some();
            let returned = if is_checked { state.succeeded(now) } else { state.recovered(now) };
            if !returned {
                return;
            }
            self.lasting.metrics.up.set(1);
            self.health.down.send_replace(false);
        }
        if self.checks().is_some() {
            let server = self.name();
            tracing::info!(target: "lockgate::record", event = "backend", server, "the server is up again");
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.health.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another server may be tried: this one cannot be used, for whomever.
pub(super) fn is_unavailable(failure: &Failure) -> bool {
    failure.kind == FailureKind::Unavailable && failure.outage != Some(Outage::AccountRefused)
}

impl Place {
    pub(super) fn server(&self) -> &Server {
        &self.server
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.server.lasting.sessions.fetch_sub(1, Ordering::Relaxed);
        self.server.lasting.metrics.sessions.dec();
    }
}
