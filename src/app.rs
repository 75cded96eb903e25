//! Start-up: creates everything, binds all addresses, then serves. A reload does the same for another
//! configuration, beside the one in force.

mod activation;
mod control;
mod every_second;
mod generation;
mod hand_over;
mod launcher;
mod peers;
mod phase;
mod process;
mod process_metrics;
mod reload;
mod restart;
mod servers;
pub mod service_manager;
mod start;
mod take_over;
#[cfg(test)]
mod test_gateway;
mod users_metrics;
mod users_reload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use prometheus::Registry;
use rustix::process::Signal;

use crate::admin::{AdminSocket, Explainer};
use crate::audit::{self, Audit, Writers};
use crate::backend::local;
use crate::config::Compiled;
use crate::data::BindError;
use crate::expected::ExpectedFiles;
use crate::files::StateFile;
use crate::net::{Drain, DrainSettings, ListenError, undelivered};
use crate::policy::limits::Counters;
use activation::{Passed, Unused};
use generation::Prepared;
use phase::Phase;
use process::Process;
use start::Starting;

pub use launcher::{GIVE_UP, Program};
pub use reload::{ReloadError, Reloaded, Reloader, Watch};
pub use take_over::{TakeOverError, take_over};

/// Until clients have acknowledged what they were told last, also where the drain has taken all of its time.
const LAST_REPLIES_TIMEOUT: Duration = Duration::from_secs(1);

/// For the processes before this one to abort their transfers, beyond their `drain.timeout`.
const FORCED_END_TIMEOUT: Duration = Duration::from_secs(20);
/// For answers over the admin socket.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(5);
/// For queued audit records, after a take-over and the last session: an output may be away for a while.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// For the process before to tell the service manager.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// A socket of the process before, or of the service manager, cannot be used.
    #[error("a socket that was opened before cannot be used: {0}")]
    Inherited(std::io::Error),
    /// The service manager has opened sockets that the configuration does not have.
    #[error(
        "the service manager has opened {0}, which the configuration does not have: its addresses and those of \
         the socket unit must be the same"
    )]
    Unused(#[from] Unused),
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
    quotas: Option<Arc<StateFile<Counters>>>,
    /// Saves which expected files have arrived.
    expected: Option<Arc<StateFile<ExpectedFiles>>>,
    audit: Arc<Writers>,
    registry: Registry,
}

/// Starts a gateway, within a tokio runtime. After an error no connection was accepted.
pub fn start(config: Compiled) -> Result<Running, StartError> {
    let path = config.admin_socket.clone();
    let mut passed = Passed::take();
    let starting = Starting::prepare(config, |sockets| passed.hand_to(sockets))?;
    let admin = match path {
        None => None,
        Some(path) => {
            let bound = match passed.take_admin(&path) {
                Some(socket) => AdminSocket::inherit(&path, socket),
                None => AdminSocket::bind(&path),
            };
            Some(bound.map_err(|reason| StartError::Admin { path, reason })?)
        }
    };
    passed.unused(&starting.process().sockets)?;
    starting.serve(admin)
}

impl Running {
    /// Where another process is taking over, waits for the end of that, and ends that process, too. Then drains as
    /// `drain` says: accepts sessions for a while, waits for running transfers, and until clients
    /// have received what the kernel still has for them, then aborts them. Then writes the queued audit
    /// records, for at most five seconds. Returns whether a transfer was cut, or its end was not received.
    pub async fn stop(&self) -> bool {
        if self.process.hand_over.is(Phase::HandingOver) {
            // Refuses it, if the other process may not accept yet.
            self.process.drain.announce();
            if let Some(next) = self.process.hand_over.settled().await {
                // Meant for the process that accepts. It may have ended.
                let _ = next.signal(Signal::TERM);
            }
        }
        let started = Instant::now();
        let mut settings = self.reloader.drain_settings();
        if self.process.hand_over.is(Phase::HandedOver) {
            // Nobody can be sent elsewhere: it accepts nothing.
            settings.accept_for = Duration::ZERO;
        } else {
            service_manager::stopping(settings.accept_for + settings.timeout);
        }
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
        // They drain, too, and have their own limit.
        let rest = (accept_for + timeout).saturating_sub(started.elapsed());
        let _ =
            tokio::time::timeout(rest + FORCED_END_TIMEOUT, self.reloader.peers().until_alone())
                .await;
        self.end().await;
        cut || lost > 0
    }

    /// Resolves when another process has taken over: [`Self::outlived`] must follow, or [`Self::stop`].
    pub async fn handed_over(&self) {
        self.process.hand_over.done().await;
    }

    /// Resolves when the last session has ended by itself after another process took over, and nothing is left
    /// to do. Audit records are written for at most five minutes.
    pub async fn outlived(&self) {
        self.process.drain.emptied().await;
        if self.process.audit.waits() {
            tracing::info!(
                "the last session has ended; this process ends when the audit's records are written, or in 5 minutes"
            );
        }
        self.audit.close_within(AUDIT_TIMEOUT).await;
        self.end().await;
    }

    /// Resolves when the service manager knows this process, after a take-over, or will not learn of it.
    pub async fn announced(&self) {
        let _ = tokio::time::timeout(ANNOUNCE_TIMEOUT, self.process.announced.cancelled()).await;
    }

    async fn end(&self) {
        let has_next = self.process.hand_over.is(Phase::HandedOver);
        if has_next {
            // What is lost counts in the next process.
            self.audit.close().await;
            self.reloader.peers().send_last_updates().await;
            // Who asked for the restart waits for the answer.
            if let Some(admin) = self.process.admin.get().and_then(Weak::upgrade) {
                let _ = tokio::time::timeout(LAST_ANSWERS_TIMEOUT, admin.answered()).await;
            }
        }
        self.process.end.cancel();
        // The next process saves what this one has counted.
        if let Some(quotas) = self.quotas.clone().filter(|_| !has_next) {
            quotas.save().await;
        }
        if let Some(expected) = self.expected.clone().filter(|_| !has_next) {
            expected.save().await;
        }
        self.audit.close().await;
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
