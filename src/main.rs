//! The command line.

mod allocator;
mod command;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use lockgate::app::{Program, Reloader, Running, Watch, service_manager};
use lockgate::audit::Writers;
use lockgate::config::{self, Compiled, LogFormat, LogLevel, Source};
use lockgate::logging::Log;
use lockgate::net::{Drain, task};
use lockgate::op::escape::printable;
use lockgate::{app, demo, logging};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use command::backends::Backends;
use command::bans::Bans;
use command::doctor::Doctor;
use command::documents::{Completions, ManualPages};
use command::drain::DrainGateway;
use command::expected::Expected;
use command::explain::Explain;
use command::ports::Ports;
use command::reload::Reload;
use command::restart::{Launch, Restart};
use command::sessions::{Kick, Sessions};
use command::status::Status;
use command::users::{HashPassword, ImportUsers};
use command::{print, print_error};

/// Exit status for an invalid configuration: `EX_USAGE` of sysexits.h.
const EXIT_BAD_CONFIGURATION: u8 = 64;

/// Exit status when transfers were cut by the end of the gateway: `EX_TEMPFAIL` of sysexits.h.
const EXIT_TRANSFERS_CUT: u8 = 75;

const DEFAULT_CONFIGURATION: &str = "/etc/lockgate/lockgate.yaml";

#[derive(Parser)]
#[command(
    version,
    about = "An FTP, FTPS and SFTP gateway between clients and servers of different protocols"
)]
struct Arguments {
    /// The configuration file [default: /etc/lockgate/lockgate.yaml]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM, Ctrl-C or `lockgate drain`; exit status 75 if transfers were cut then
    Run {
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
    },
    /// Check the configuration and print all problems; exit status 64 if there are errors
    Check {
        /// The configuration file, as with --config
        file: Option<PathBuf>,
    },
    /// Show the open sessions: who does what, at which rate
    Sessions(Sessions),
    /// End sessions, at once or after their transfers
    Kick(Kick),
    /// Show the state of the running gateway
    Status(Status),
    /// Show the files that partners are expected to deliver: what has arrived, and what is overdue
    Expected(Expected),
    /// Show the data ports of the running gateway with their owners
    Ports(Ports),
    /// Show which route and policy rules apply to a user, and why
    Explain(Explain),
    /// Look at what `check` cannot know: servers, ports, certificates, limits; or the way through firewalls
    Doctor(Box<Doctor>),
    /// Run an FTP server, an SFTP server and the gateway in front of them, in a temporary folder
    Demo,
    /// Show the servers of all backends, or take one out of use
    Backends(Backends),
    /// Have the running gateway read its configuration again
    Reload(Reload),
    /// Start the gateway again, as after an upgrade: the new process takes over, and sessions go on in the old one
    Restart(Restart),
    /// Start a process for `restart`, and wait for its end or for the end of standard input
    #[command(hide = true)]
    Launch(Launch),
    /// End the running gateway: no new sessions, and running transfers may finish
    Drain(DrainGateway),
    /// Show the addresses that are banned after failed logins, or lift a ban
    Bans(Bans),
    /// Read a password from standard input and print its hash for `users`
    HashPassword(HashPassword),
    /// Print the users of another server's password file as YAML, for `users` or `users_file`
    ImportUsers(ImportUsers),
    /// Print the JSON Schema of the configuration file
    Schema {
        /// Print a reference of all keys as Markdown instead
        #[arg(long)]
        markdown: bool,
    },
    /// Print a shell's completions for this command line
    Completions(Completions),
    /// Write the manual pages, one for each subcommand, into a folder
    Man(ManualPages),
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

fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            // The error with its causes, without a backtrace.
            print_error(format_args!("lockgate: {}", printable(format!("{error:#}").as_bytes())));
            ExitCode::FAILURE
        }
    }
}

fn execute(arguments: Arguments) -> anyhow::Result<ExitCode> {
    allocator::set_up()?;
    let config = configuration(&arguments);
    match arguments.command {
        Command::Run { log_format, log_level, watch, take_over } => {
            let Some((source, mut compiled)) = load(&config) else {
                return Ok(EXIT_BAD_CONFIGURATION.into());
            };
            if let Some(format) = log_format {
                compiled.log.format = format.into();
            }
            if let Some(level) = log_level {
                compiled.log.level = level.into();
            }
            let log = logging::init(compiled.log);
            let watch = if watch { Watch::All } else { Watch::NamedFiles };
            serve(run((source, compiled), (watch, take_over), &log))
        }
        Command::Check { .. } => check(&config),
        Command::Ports(ports) => {
            at_socket(ports.socket.clone(), &config, async |socket| ports.run(socket).await)
        }
        Command::Sessions(sessions) => {
            at_socket(sessions.socket.clone(), &config, async |socket| sessions.run(socket).await)
        }
        Command::Kick(kick) => {
            at_socket(kick.socket.clone(), &config, async |socket| kick.run(socket).await)
        }
        Command::Status(status) => {
            at_socket(status.socket.clone(), &config, async |socket| status.run(socket).await)
        }
        Command::Expected(expected) => {
            at_socket(expected.socket.clone(), &config, async |socket| expected.run(socket).await)
        }
        Command::Bans(bans) => {
            at_socket(bans.socket.clone(), &config, async |socket| bans.run(socket).await)
        }
        Command::Drain(drain) => {
            at_socket(drain.socket.clone(), &config, async |socket| drain.run(socket).await)
        }
        Command::Backends(backends) => {
            at_socket(backends.socket.clone(), &config, async |socket| backends.run(socket).await)
        }
        Command::Reload(reload) => {
            exit_at_socket(reload.socket.clone(), &config, async |socket| reload.run(socket).await)
        }
        Command::Restart(restart) => {
            exit_at_socket(restart.socket.clone(), &config, async |socket| {
                restart.run(socket).await
            })
        }
        Command::Launch(launch) => launch.run(),
        Command::Explain(asked) => explain(&config, &asked),
        Command::Doctor(doctor) => {
            // Whether --config was given.
            match doctor.configuration(arguments.config.as_deref(), &config) {
                Ok(compiled) => serve(doctor.run(&config, compiled)),
                Err(report) => {
                    print_error(report);
                    Ok(EXIT_BAD_CONFIGURATION.into())
                }
            }
        }
        Command::Demo => {
            serve(demo::run())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::HashPassword(command) => command.run(),
        Command::ImportUsers(command) => command.run(),
        Command::Schema { markdown } => {
            print(&if markdown {
                config::reference()
            } else {
                format!("{:#}\n", config::json_schema())
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions(completions) => {
            completions.run(Arguments::command())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(pages) => {
            pages.run(Arguments::command())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Asks the gateway at the socket of the command line, or of the configuration, whose errors it prints.
fn at_socket(
    given: Option<PathBuf>,
    config: &std::path::Path,
    ask: impl AsyncFnOnce(&std::path::Path) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    exit_at_socket(given, config, async |socket| ask(socket).await.map(|()| ExitCode::SUCCESS))
}

/// As [`at_socket`], where the answer determines the exit status.
fn exit_at_socket(
    given: Option<PathBuf>,
    config: &std::path::Path,
    ask: impl AsyncFnOnce(&std::path::Path) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let socket = match given.map_or_else(|| config::admin_socket(config), |given| Ok(Some(given))) {
        Ok(socket) => socket.context(
            "the configuration has no `admin.socket`, which this command needs; set it, or use --socket",
        )?,
        Err(report) => {
            print_error(report);
            return Ok(EXIT_BAD_CONFIGURATION.into());
        }
    };
    serve(ask(&socket))
}

/// The file named by --config or the argument of `check`. Exits if the two differ.
fn configuration(arguments: &Arguments) -> PathBuf {
    let positional = match &arguments.command {
        Command::Check { file } => file.as_ref(),
        _ => None,
    };
    let named = arguments.config.as_ref();
    if let (Some(file), Some(config)) = (positional, named)
        && file != config
    {
        let message = format!(
            "two configuration files: {} and, with --config, {}; write only one",
            file.display(),
            config.display()
        );
        Arguments::command().error(ErrorKind::ArgumentConflict, message).exit()
    }
    positional.or(named).cloned().unwrap_or_else(|| DEFAULT_CONFIGURATION.into())
}

async fn run(
    (source, config): (Source, Compiled),
    (watch, take_over): (Watch, bool),
    log: &Log,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    task::spawn(log.report_losses());
    let hang_up = signal(SignalKind::hangup())?;
    raise_descriptor_limit();
    let program = Program::of_this_process();
    let running = if take_over {
        app::take_over(config).await.context("lockgate did not take over")?
    } else {
        app::start(config).context("lockgate did not start")?
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
    task::spawn(reloader.watch(watch));
    for (listener, address) in &running.addresses {
        tracing::info!(listener, %address, "listening");
    }
    tracing::info!("ready");
    if take_over {
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
        if !reloader.has_handed_over() {
            wanted.notify_one();
        }
    }
}

/// One reload at a time; however often another is wanted meanwhile, one follows.
async fn reload_when(wanted: Arc<Notify>, reloader: Arc<Reloader>) {
    loop {
        wanted.notified().await;
        let reloader = reloader.clone();
        // The log has the outcome.
        if task::spawn_blocking(move || reloader.reload()).await.is_err() {
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

fn check(path: &std::path::Path) -> anyhow::Result<ExitCode> {
    match config::check(path) {
        Ok(warnings) => {
            if !warnings.is_empty() {
                print_error(warnings);
            }
            print(&format!("{}: ok\n", printable(path.as_os_str().as_encoded_bytes())))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            print_error(report);
            Ok(EXIT_BAD_CONFIGURATION.into())
        }
    }
}

/// Loads the configuration and prints its problems; `None` if it has errors.
fn load(path: &std::path::Path) -> Option<(Source, Compiled)> {
    let loaded = Source::read(path).and_then(|source| Ok((source.load()?, source)));
    match loaded {
        Ok((config, source)) => {
            if !config.warnings.is_empty() {
                print_error(&config.warnings);
            }
            Some((source, config))
        }
        Err(report) => {
            print_error(report);
            None
        }
    }
}

fn explain(config: &std::path::Path, asked: &Explain) -> anyhow::Result<ExitCode> {
    if let Some(socket) = &asked.socket {
        serve(asked.ask(socket))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some((_, compiled)) = load(config) else {
        return Ok(EXIT_BAD_CONFIGURATION.into());
    };
    serve(async { asked.answer(compiled) })?;
    Ok(ExitCode::SUCCESS)
}

fn serve<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime did not start")?;
    let done = runtime.block_on(work);
    // A hanging file system must not keep the process running.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
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
