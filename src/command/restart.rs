//! `lockgate restart`, and the command by which the gateway starts the next process.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use lockgate::admin;
use lockgate::app::GIVE_UP;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::{print, print_error};
use crate::EXIT_BAD_CONFIGURATION;

#[derive(clap::Args)]
pub(crate) struct Restart {
    /// The gateway's admin socket [default: `admin.socket` of the configuration]
    #[arg(long)]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Launch {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Restart {
    pub(crate) async fn run(&self, socket: &Path) -> anyhow::Result<ExitCode> {
        match admin::restart(socket).await? {
            Ok((process, sessions)) => {
                print(&format!(
                    "process {process} has taken over; sessions that go on in the one before: {sessions}\n"
                ))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problems) => {
                print_error(problems);
                print_error("the gateway goes on as it was");
                Ok(EXIT_BAD_CONFIGURATION.into())
            }
        }
    }
}

impl Launch {
    /// Ends with the process that it starts, or with its standard input: then that process belongs to the
    /// service manager, unless it is to be killed.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let (program, arguments) = self.command.split_first().context("no program")?;
        // A signal to all processes of this name is for gateways. Handlers stay when the runtime has gone.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let in_runtime = runtime.enter();
        for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()] {
            let _handler = signal(kind)?;
        }
        drop(in_runtime);
        let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn()?;
        let started = Pid::from_child(&child);
        std::thread::spawn(move || {
            let mut told = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut told);
            if told == GIVE_UP {
                let _ = kill_process(started, Signal::KILL);
            }
            std::process::exit(0);
        });
        let status = child.wait()?;
        Ok(status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, Into::into))
    }
}
