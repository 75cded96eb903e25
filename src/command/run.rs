//! `lockgate run`: serves, and ends on signals.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::ValueEnum;
use lockgate::admin;
use lockgate::app::{self, Program, Reloader, Running, Watch, service_manager};
use lockgate::audit::Writers;
use lockgate::config::{Compiled, LogFormat, LogLevel, LogSettings, Source};
use lockgate::logging::Log;
use lockgate::net::Drain;
use lockgate::task;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Exit status when transfers were cut by the end of the gateway: `EX_TEMPFAIL` of sysexits.h.
const EXIT_TRANSFERS_CUT: u8 = 75;

#[derive(clap::Args)]
pub(crate) struct Run {
    /// Log as text or JSON; overrides the configuration
    #[arg(long, value_enum)]
    log_format: Option<Format>,
    /// The least severe level that is logged; overrides the configuration
    #[arg(long, value_enum)]
    log_level: Option<Level>,
    /// Read the configuration again when its file changes, as a mounted ConfigMap does; the files that it
    /// names are watched always
    #[arg(long)]
    watch: bool,
    /// Take over the sockets of the gateway that runs with the same `admin.socket`; its sessions go on
    #[arg(long)]
    take_over: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Run {
    /// The configured settings of the log, with those of the command line.
    pub(crate) fn log(&self, configured: LogSettings) -> LogSettings {
        LogSettings {
            format: self.log_format.map_or(configured.format, Into::into),
            level: self.log_level.map_or(configured.level, Into::into),
        }
    }

    /// Serves until a signal or a drain. Within a tokio runtime.
    pub(crate) async fn run(
        &self,
        source: Source,
        config: Compiled,
        log: &Log,
    ) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        task::spawn(log.report_losses());
        let hang_up = signal(SignalKind::hangup())?;
        raise_descriptor_limit();
        let program = Program::of_this_process();
        let running = if self.take_over {
            app::take_over(config).await.context("lockgate did not take over")?
        } else {
            let socket = config.admin_socket.clone();
            match app::start(config) {
                Ok(running) => running,
                Err(error) => {
                    let error = anyhow::Error::new(error).context("lockgate did not start");
                    return Err(beside_another(error, socket.as_deref()).await);
                }
            }
        };
        log.register(running.registry())?;
        let reloader = running.reloader();
        match program {
            Ok(program) => reloader.set_program(program),
            Err(error) => {
                tracing::warn!(%error, "`lockgate restart` will not work: the program is not found");
            }
        }
        reloader.set_source(source);
        task::spawn(serve_hang_ups(hang_up, running.audit(), reloader.clone()));
        if self.take_over {
            let reloader = reloader.clone();
            task::spawn(async move { reloader.reload_if_changed().await });
        }
        let watch = if self.watch { Watch::All } else { Watch::NamedFiles };
        task::spawn(reloader.watch(watch));
        for (listener, address) in &running.addresses {
            tracing::info!(listener, %address, "listening");
        }
        tracing::info!("ready");
        if self.take_over {
            running.announced().await;
        }
        service_manager::ready("serving");
        let running = Arc::new(running);
        let watched = running.clone();
        task::spawn(async move {
            tokio::select! {
                () = service_manager::feed_watchdog() => {}
                () = watched.handed_over() => {}
            }
        });
        let drain = running.drain();
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let by_signal = tokio::select! {
            () = outlived(&running) => {
                tracing::info!("stopped: the last session has ended, and another process serves");
                return Ok(ExitCode::SUCCESS);
            }
            () = signalled() => true,
            () = drain.announced() => {
                tracing::info!("asked to drain over the admin socket, or by the process that has taken over");
                false
            }
        };
        let second_signal = async {
            if !by_signal {
                // From a service manager that stops what an operator has drained.
                signalled().await;
                tracing::info!(
                    "it drains already, as asked over the admin socket; a second signal ends it at once"
                );
            }
            signalled().await;
        };
        let cut = tokio::select! {
            cut = running.stop() => {
                tracing::info!(cut, "stopped");
                cut
            }
            () = second_signal => stopped_at_once(&drain),
        };
        Ok(if cut { EXIT_TRANSFERS_CUT.into() } else { ExitCode::SUCCESS })
    }
}

/// Why it did not start: most of all because a gateway runs already, which the error alone does not say.
async fn beside_another(error: anyhow::Error, socket: Option<&Path>) -> anyhow::Error {
    let status = match socket {
        Some(socket) => admin::fetch_status(socket).await.ok(),
        None => None,
    };
    match status.and_then(|status| status["process"].as_u64()) {
        Some(process) => error.context(format!(
            "a gateway runs already with this `admin.socket`, process {process}; `lockgate reload` gives it another \
             configuration, and `lockgate restart` another program"
        )),
        None => error,
    }
}

/// Resolves when another process has taken over, and the last session has ended.
async fn outlived(running: &Running) {
    running.handed_over().await;
    running.outlived().await;
}

/// After a second signal. Whether transfers are running is not known; sessions may have one.
fn stopped_at_once(drain: &Drain) -> bool {
    let sessions = drain.sessions();
    tracing::warn!(sessions, "stopped at once by a second signal");
    sessions > 0
}

/// On SIGHUP, opens audit files again, as logrotate expects, and reads the configuration again. A reload that
/// hangs, as on a network file system, must not keep the audit in the old files.
async fn serve_hang_ups(mut hang_up: Signal, audit: Arc<Writers>, reloader: Arc<Reloader>) {
    let wanted = Arc::new(Notify::new());
    task::spawn(reload_when(wanted.clone(), reloader.clone()));
    while hang_up.recv().await.is_some() {
        if audit.reopen() {
            tracing::info!("SIGHUP: the audit files are opened again");
        }
        wanted.notify_one();
    }
}

/// One reload at a time; however often another is wanted meanwhile, one follows.
async fn reload_when(wanted: Arc<Notify>, reloader: Arc<Reloader>) {
    loop {
        wanted.notified().await;
        if reloader.reload_when_settled().await.is_err() {
            // The runtime shuts down.
            return;
        }
    }
}

/// A session needs two descriptors and a transfer two more; the usual soft limit of 1024 is only for
/// programs that use select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files: sessions may be refused");
    }
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        }
    }
}
