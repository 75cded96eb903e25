//! The command line.

mod allocator;
mod command;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use lockgate::config::{self, Compiled, Source};
use lockgate::op::escape::printable;
use lockgate::{admin, demo, logging};

use command::backends::Backends;
use command::bans::Bans;
use command::doctor::Doctor;
use command::documents::{Completions, ManualPages};
use command::drain::DrainGateway;
use command::explain::Explain;
use command::ports::Ports;
use command::reload::Reload;
use command::restart::{Launch, Restart};
use command::run::Run;
use command::sessions::{Kick, Sessions};
use command::show::Show;
use command::users::{HashPassword, ImportUsers};
use command::{print, print_error};

/// Exit status for an invalid configuration: `EX_USAGE` of sysexits.h.
const EXIT_BAD_CONFIGURATION: u8 = 64;

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
    Run(Run),
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
    Status(Show),
    /// Show the files that partners are expected to deliver: what has arrived, and what is overdue
    Expected(Show),
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
        Command::Run(run) => {
            let Some((source, compiled)) = load(&config) else {
                return Ok(EXIT_BAD_CONFIGURATION.into());
            };
            let log = logging::init(run.log(compiled.log));
            serve(run.run(source, compiled, &log))
        }
        Command::Check { .. } => check(&config),
        Command::Ports(ports) => {
            at_socket(ports.socket.clone(), &config, async |socket| ports.run(socket).await)
        }
        Command::Sessions(sessions) => {
            at_socket(sessions.show.socket.clone(), &config, async |socket| {
                sessions.run(socket).await
            })
        }
        Command::Kick(kick) => {
            at_socket(kick.socket.clone(), &config, async |socket| kick.run(socket).await)
        }
        Command::Status(show) => at_socket(show.socket.clone(), &config, async |socket| {
            show.run(async || admin::fetch_status(socket).await, admin::status_text).await
        }),
        Command::Expected(show) => at_socket(show.socket.clone(), &config, async |socket| {
            show.run(async || admin::fetch_expected(socket).await, admin::expected_table).await
        }),
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
