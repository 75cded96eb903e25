//! Reads the configuration again while the gateway runs: the whole file is checked and everything is opened,
//! then the new configuration is put in force at once, or the old one stays.

mod log;
mod metrics;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::StartError;
use super::every_second::every_second;
use super::generation::{Generation, Prepared};
use super::launcher::Program;
use super::peers::Peers;
use super::phase::Phase;
use super::process::Process;
use super::service_manager;
use crate::admin::InForce;
use crate::config::{Report, Source, Stamps};
use crate::net::DrainSettings;
use crate::op::Timestamp;
use crate::task;
use log::{log_expired, log_listeners};
pub(super) use metrics::ReloadMetrics;

/// Between two looks whether a reload has ended.
const SETTLED_INTERVAL: Duration = Duration::from_millis(10);

/// Puts configurations in force, one at a time.
pub struct Reloader {
    process: Arc<Process>,
    peers: Arc<Peers>,
    state: Mutex<State>,
    /// Of the configuration in force, for those who only look.
    in_force: RwLock<Arc<InForce>>,
    /// The configuration file, for those who only look; absolute.
    file: OnceLock<PathBuf>,
    /// How this process was started.
    program: OnceLock<Program>,
    /// Of the configuration in force: the end of the gateway waits for no reload.
    drain_settings: Mutex<DrainSettings>,
    metrics: ReloadMetrics,
}

struct State {
    generation: Generation,
    /// The configuration in force as written; `None`: it has no file.
    source: Option<Source>,
    /// The files that it names, as they were when they were last read, with success or without.
    files: Stamps,
    /// The same of the configuration file itself.
    file: Stamps,
    /// Those of a configuration that was not put in force, which may be waiting for them.
    rejected: Option<Stamps>,
    /// Whether the last reload of the file, and of the files that the one in force names, failed.
    failing: [bool; 2],
}

/// What a running gateway reads again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Certificates, keys and the other files that the configuration names.
    NamedFiles,
    /// The configuration file, too.
    All,
}

/// A configuration that is in force now.
#[derive(Debug)]
pub struct Reloaded {
    /// Of the check.
    pub warnings: Report,
    /// Keys that have changed, and apply only after a restart.
    pub needs_restart: Vec<String>,
}

/// Why the configuration in force stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The gateway was started without a file.
    #[error("this gateway has no configuration file")]
    NoFile,
    /// The file, or one that it names, has errors.
    #[error("{0}")]
    Invalid(Report),
    /// Something could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Draining,
    /// Another process may take over.
    #[error(
        "another process is taking over: reload again when it has, or has not (`lockgate status`)"
    )]
    HandingOver,
    /// Another process has taken over.
    #[error("another process has taken over, and serves with the configuration that it has read")]
    HandedOver,
}

impl Reloader {
    pub(super) fn new(
        peers: Arc<Peers>,
        generation: Generation,
        drain_settings: DrainSettings,
        metrics: ReloadMetrics,
    ) -> Arc<Self> {
        metrics.in_force();
        let in_force = RwLock::new(generation.in_force.clone());
        let files = generation.files.clone();
        let state = State {
            generation,
            source: None,
            files,
            file: Stamps::default(),
            rejected: None,
            failing: [false; 2],
        };
        let (state, file) = (Mutex::new(state), OnceLock::new());
        let drain_settings = Mutex::new(drain_settings);
        let program = OnceLock::new();
        let process = peers.process().clone();
        Arc::new(Self { process, peers, state, in_force, file, program, drain_settings, metrics })
    }

    /// Names the file that the configuration in force was read from.
    pub fn set_source(&self, source: Source) {
        let path = source.path();
        let _ = self.file.set(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let mut state = self.state();
        state.file = source.stamp().clone();
        state.source = Some(source);
    }

    /// Says how this process was started, for `lockgate restart`.
    pub fn set_program(&self, program: Program) {
        let _ = self.program.set(program);
    }

    pub(super) fn program(&self) -> Option<Program> {
        self.program.get().cloned()
    }

    pub(super) fn file(&self) -> Option<PathBuf> {
        self.file.get().cloned()
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    pub(super) fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    pub(super) fn configuration(&self) -> Arc<InForce> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether another process accepts.
    #[cfg(test)]
    pub(super) fn has_handed_over(&self) -> bool {
        self.process.hand_over.is(Phase::HandedOver)
    }

    /// Resolves when no reload is under way that began before a hand-over; during one, none begins.
    pub(super) async fn settled(&self) {
        // Not a blocked thread, which would be there as long as a reload hangs.
        while matches!(self.state.try_lock(), Err(TryLockError::WouldBlock)) {
            tokio::time::sleep(SETTLED_INTERVAL).await;
        }
    }

    /// Closes the listeners: another process accepts there.
    pub(super) fn stop_listening(&self) {
        self.state().generation.stop_listening();
    }

    /// The servers that an operator has taken out of use.
    pub(super) fn drained_servers(&self) -> Vec<String> {
        let servers = self.configuration().servers.view();
        servers.into_iter().filter(|it| it.drained).map(|it| it.name).collect()
    }

    /// The keys of session tickets by listener: secret.
    pub(super) fn ticket_keys(&self) -> BTreeMap<String, Value> {
        self.state().generation.ticket_keys()
    }

    /// Reads the configuration file and every file that it names, and puts it in force. Blocks; must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When it is not valid, or something cannot be opened, or another process takes over: nothing changes then.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut state = self.state();
        self.may_begin()?;
        let before = state.source.clone().ok_or(ReloadError::NoFile)?;
        let path = before.path().to_owned();
        state.file = Stamps::of_file(&path);
        state.rejected = None;
        let reloaded = match before.read_again() {
            Ok(source) => {
                let named = source.named_files();
                let reloaded = self.put_in_force(&mut state, source);
                state.rejected = reloaded.is_err().then_some(named);
                reloaded
            }
            Err(report) => Err(ReloadError::Invalid(report)),
        };
        state.failing = [reloaded.is_err(), reloaded.is_err() && state.failing[1]];
        self.note(&path, &state, "the configuration was read again and is in force", reloaded)
    }

    /// Reads the files that the configuration in force names again. The configuration file may be one that
    /// somebody edits, so it is not read.
    fn reload_named_files(&self) -> Result<Reloaded, ReloadError> {
        let mut state = self.state();
        self.may_begin()?;
        let source = state.source.clone().ok_or(ReloadError::NoFile)?;
        let path = source.path().to_owned();
        let reloaded = self.put_in_force(&mut state, source);
        state.failing[1] = reloaded.is_err();
        let done = "files that the configuration names were read again and are in force";
        self.note(&path, &state, done, reloaded)
    }

    /// As [`Self::reload`], but after a hand-over that is under way. If another process has taken over, that one
    /// reads the configuration again: it may have read it before it changed. The log has the outcome.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn reload_when_settled(self: &Arc<Self>) -> Result<(), tokio::task::JoinError> {
        loop {
            if let Some(next) = self.process.hand_over.settled().await {
                tracing::info!("the process that has taken over reads the configuration again");
                // It may have ended.
                let _ = next.signal(Signal::HUP);
                return Ok(());
            }
            let reloader = self.clone();
            match task::spawn_blocking(move || reloader.reload()).await? {
                // It has begun just now.
                Err(ReloadError::HandingOver | ReloadError::HandedOver) => {}
                _ => return Ok(()),
            }
        }
    }

    /// For a process that has taken over: reads the configuration again if its file is another than the one that
    /// was read. The process before may have put that in force meanwhile. The log has the outcome.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn reload_if_changed(self: &Arc<Self>) -> Result<(), tokio::task::JoinError> {
        let reloader = self.clone();
        let has_changed = move || {
            let read = reloader.state().file.clone();
            read.again() != read
        };
        if task::spawn_blocking(has_changed).await? {
            tracing::info!("the configuration file has changed since this process read it");
            self.reload_when_settled().await?;
        }
        Ok(())
    }

    /// Called with the lock held: a hand-over waits for reloads that began before it, and for no other.
    fn may_begin(&self) -> Result<(), ReloadError> {
        if self.process.hand_over.is(Phase::HandingOver) {
            return Err(ReloadError::HandingOver);
        }
        if self.process.hand_over.is(Phase::HandedOver) {
            return Err(ReloadError::HandedOver);
        }
        Ok(())
    }

    fn put_in_force(&self, state: &mut State, source: Source) -> Result<Reloaded, ReloadError> {
        if self.process.drain.is_draining() {
            return Err(ReloadError::Draining);
        }
        service_manager::reloading();
        let reloaded = self.replace(state, source);
        if self.process.drain.is_announced() {
            return reloaded;
        }
        service_manager::ready(match reloaded {
            Ok(_) => "serving",
            Err(_) => "serving, with the configuration before: the last reload failed",
        });
        reloaded
    }

    fn replace(&self, state: &mut State, source: Source) -> Result<Reloaded, ReloadError> {
        // Where the configuration is not valid, nobody reads it again until a file has changed once more.
        state.files = state.files.again();
        let config = source.load().map_err(ReloadError::Invalid)?;
        let needs_restart = state.generation.fixed.changed(&config.fixed);
        let (warnings, drain_settings) = (config.warnings.clone(), config.drain.clone());
        let prepared = Prepared::new(config, &self.process, Some(&state.generation))?;
        let generation = prepared.put_in_force(&self.process, Some(&state.generation));
        log_listeners(&state.generation, &generation);
        log_expired(&generation.in_force.certificate_ends, Timestamp::now());
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) =
            generation.in_force.clone();
        state.files = generation.files.clone();
        state.generation = generation;
        *self.drain_settings.lock().unwrap_or_else(PoisonError::into_inner) = drain_settings;
        state.source = Some(source);
        Ok(Reloaded { warnings, needs_restart })
    }

    fn note(
        &self,
        path: &Path,
        state: &State,
        done: &str,
        reloaded: Result<Reloaded, ReloadError>,
    ) -> Result<Reloaded, ReloadError> {
        let file = path.display();
        self.metrics.failing.set(i64::from(state.failing.contains(&true)));
        match &reloaded {
            Ok(Reloaded { needs_restart, .. }) => {
                self.metrics.reloaded();
                tracing::info!(%file, "{done}");
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    tracing::warn!(keys, "these keys have changed, and apply after a restart");
                }
            }
            Err(error) => {
                self.metrics.failed();
                let reason = error.summary();
                tracing::error!(
                    %file,
                    reason,
                    "the configuration was not read again: the one before stays in force; `lockgate check` \
                     shows what is wrong"
                );
            }
        }
        reloaded
    }

    /// Reads again what has changed. Never ends.
    pub async fn watch(self: Arc<Self>, what: Watch) {
        every_second([const { None }; 3], move |seen| self.look(what, seen)).await;
    }

    fn look(&self, what: Watch, [of_file, of_files, of_rejected]: &mut [Option<Stamps>; 3]) {
        self.process.forget_ended();
        if self.process.drain.is_announced() || !self.process.hand_over.is(Phase::Serving) {
            return;
        }
        let state = self.state();
        let (file, files, rejected) =
            (state.file.clone(), state.files.clone(), state.rejected.clone());
        drop(state);
        let watches_file = what == Watch::All;
        let own = watches_file && file.has_settled_change(of_file);
        let awaited = rejected.is_some_and(|it| it.has_settled_change(of_rejected));
        let named = files.has_settled_change(of_files);
        // The log has the outcome.
        let _ = match (own || awaited && watches_file, named) {
            (true, _) => self.reload(),
            (false, true) => self.reload_named_files(),
            (false, false) => return,
        };
    }

    pub(super) fn drain_settings(&self) -> DrainSettings {
        self.drain_settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReloadError {
    /// In one line.
    fn summary(&self) -> String {
        match self {
            Self::Invalid(report) => report.summary(),
            error => error.to_string(),
        }
    }
}
