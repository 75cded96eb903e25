//! How this process was started, so that it can start the next one.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::net::ProcessHandle;
use crate::task;

/// Tells the launcher to kill the process that it has started, which goes on otherwise.
pub const GIVE_UP: &[u8] = b"kill\n";
/// What is read of the output of `check`, in bytes.
const SAID_MAX: u64 = 1024 * 1024;
/// For the launcher to end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Meant for this process alone: see sd_watchdog_enabled(3) and sd_listen_fds(3).
const OWN_VARIABLES: [&str; 4] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What the program that is started next says of the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Valid,
    /// For these reasons.
    Invalid(String),
    /// It has not said anything in time.
    TooSlow,
}

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
    pub fn of_this_process() -> io::Result<Self> {
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

    /// What the program says that will read the configuration. A network file system may make it wait: it is
    /// killed after `limit`.
    pub(super) async fn check(&self, file: &Path, limit: Duration) -> io::Result<Checked> {
        let mut command = self.command();
        command.args(["check", "--config"]).arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let until = Instant::now() + limit;
        let Ok(child) = timeout_at(until, task::spawn_blocking(move || command.spawn())).await
        else {
            return Ok(Checked::TooSlow);
        };
        let child = child??;
        let opened = ProcessHandle::open(child.id());
        let (child, handle) = with_handle(child, opened)?;
        let said = task::spawn_blocking(move || await_check(child));
        let Ok(said) = timeout_at(until, said).await else {
            // It may have ended just now.
            let _ = handle.signal(Signal::KILL);
            return Ok(Checked::TooSlow);
        };
        let (status, said) = said??;
        Ok(match said.trim_end() {
            _ if status.success() => Checked::Valid,
            "" => Checked::Invalid(format!("`check` ended with {status}")),
            said => Checked::Invalid(said.to_owned()),
        })
    }

    pub(super) fn launch(&self) -> io::Result<Launcher> {
        let mut command = self.command();
        command.arg("launch").arg(&self.path).args(&self.arguments).arg("--take-over");
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let (sender, ended) = watch::channel(None);
        task::spawn_blocking(move || sender.send_replace(child.wait().ok()));
        Ok(Launcher { stdin, ended })
    }
}

/// Ends the process at once where it could not be ended later.
fn with_handle(
    mut child: Child,
    handle: io::Result<ProcessHandle>,
) -> io::Result<(Child, ProcessHandle)> {
    match handle {
        Ok(handle) => Ok((child, handle)),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(io::Error::other(format!(
                "it could not be ended if it hung (pidfd_open: {error}); this needs Linux 5.3 or later, and a \
                 filter of system calls that permits it"
            )))
        }
    }
}

fn await_check(mut child: Child) -> io::Result<(ExitStatus, String)> {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(SAID_MAX).read_to_end(&mut said)?;
    }
    Ok((child.wait()?, String::from_utf8_lossy(&said).into_owned()))
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

#[cfg(test)]
impl Program {
    /// A program that runs this script.
    pub(super) fn of_script(folder: &Path, script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { path, arguments: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_check_that_could_not_be_ended_is_ended_at_once() {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let checking = ProcessHandle::open(child.id()).unwrap();
        let error = with_handle(child, Err(io::ErrorKind::PermissionDenied.into())).unwrap_err();
        assert!(error.to_string().contains("pidfd_open"), "{error}");
        // Nothing is left of it, not even a zombie.
        checking.signal(Signal::KILL).unwrap_err();
    }

    #[tokio::test]
    async fn a_check_says_what_is_wrong_or_ends_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let check = async |script, limit| {
            Program::of_script(folder.path(), script).check(Path::new("file"), limit).await.unwrap()
        };
        let long = Duration::from_secs(60);
        assert_eq!(
            check("test \"$1 $2 $3\" = \"check --config file\"", long).await,
            Checked::Valid
        );
        let said = check("echo wrong >&2; exit 64", long).await;
        assert_eq!(said, Checked::Invalid("wrong".to_owned()));
        let Checked::Invalid(said) = check("exit 3", long).await else { panic!("it is valid") };
        assert!(said.contains("exit status: 3"), "{said}");
        let number = folder.path().join("number");
        let script = format!("echo $$ > {}; exec sleep 120", number.display());
        let mut limit = Duration::from_millis(500);
        let checking = loop {
            assert_eq!(check(&script, limit).await, Checked::TooSlow);
            // It may have had no time to begin.
            if let Ok(number) = fs::read_to_string(&number).unwrap_or_default().trim().parse() {
                break number;
            }
            limit *= 2;
            assert!(limit < long, "it does not begin");
        };
        if let Ok(checking) = ProcessHandle::open(checking) {
            timeout(long, checking.ended()).await.expect("it was not killed");
        }
    }
}
