//! How this process was started, so that it can start the next one.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::task;

/// Tells the launcher to kill the process that it has started, which goes on otherwise.
pub const GIVE_UP: &[u8] = b"kill\n";
/// For the launcher to end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Meant for this process alone: see sd_watchdog_enabled(3) and sd_listen_fds(3).
const OWN_VARIABLES: [&str; 4] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// How this process was started.
#[derive(Debug, Clone)]
pub struct Program {
    /// As it was called: an upgrade replaces the file, and may move a symlink.
    pub(super) path: PathBuf,
    arguments: Vec<OsString>,
}

/// A process that starts the next one, and is its parent until that serves: it belongs to the service manager
/// after that, which notices its end then.
pub(super) struct Launcher {
    /// Its end is what the process waits for.
    stdin: Option<ChildStdin>,
    /// Known when it has ended.
    pub(super) ended: watch::Receiver<Option<ExitStatus>>,
}

impl Program {
    /// Of this process; to be called at its start.
    pub fn of_this_process() -> std::io::Result<Self> {
        let mut arguments = std::env::args_os();
        let called = PathBuf::from(arguments.next().unwrap_or_default());
        let path = if called.components().count() > 1 {
            std::path::absolute(called)?
        } else {
            let in_path = std::env::var_os("PATH").and_then(|path| {
                std::env::split_paths(&path).map(|it| it.join(&called)).find(|it| it.is_file())
            });
            match in_path {
                Some(path) => path,
                None => std::env::current_exe()?,
            }
        };
        let arguments = arguments.filter(|argument| argument != "--take-over").collect();
        Ok(Self { path, arguments })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        OWN_VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }

    /// `Err`: what is wrong with the configuration, according to the program that will read it.
    pub(super) fn check(&self, file: &Path) -> std::io::Result<Result<(), String>> {
        let mut command = self.command();
        command.args(["check", "--config"]).arg(file).stdin(Stdio::null());
        let output = command.output()?;
        if output.status.success() {
            return Ok(Ok(()));
        }
        let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        Ok(Err(if said.is_empty() {
            format!("`check` ended with {}", output.status)
        } else {
            said
        }))
    }

    pub(super) fn launch(&self) -> std::io::Result<Launcher> {
        let mut command = self.command();
        command.arg("launch").arg(&self.path).args(&self.arguments).arg("--take-over");
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let (sender, ended) = watch::channel(None);
        task::spawn_blocking(move || sender.send_replace(child.wait().ok()));
        Ok(Launcher { stdin, ended })
    }
}

impl Launcher {
    /// The next process has no parent when this returns: the launcher has ended.
    pub(super) async fn release(self) {
        let Self { stdin, mut ended } = self;
        drop(stdin);
        let _ = timeout(RELEASE_TIMEOUT, ended.wait_for(Option::is_some)).await.is_ok();
    }

    /// Kills the process that it has started.
    pub(super) async fn give_up(mut self) {
        if let Some(stdin) = &mut self.stdin {
            // It may have ended.
            let _ = stdin.write_all(GIVE_UP);
        }
        self.release().await;
    }
}
