//! Runs other programs with a deadline and cleans up after them.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// The polling interval where there is no event to wait for.
pub const POLL: Duration = Duration::from_millis(5);

/// What a program did.
pub struct Output {
    /// None: it did not end in time and was killed.
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub command: String,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Everything about it, for a panic or a table of failures.
    pub fn describe(&self) -> String {
        let status = match self.status {
            Some(status) => status.to_string(),
            None => "killed at its deadline".to_owned(),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        format!("{}\n  {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.command)
    }

    #[track_caller]
    pub fn expect_ok(self, what: &str) -> Self {
        assert!(self.ok(), "{what}: {}", self.describe());
        self
    }
}

/// Runs a program to its end or to its deadline, then kills it and what it started.
pub fn run(command: &mut Command, input: &[u8], deadline: Duration) -> Output {
    let name = line(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = spawn(command);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));
    let input = input.to_vec();
    // A program that ends without reading its input closes the pipe: its status is the result.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let status = wait(&mut child, deadline);
    kill_group(&mut child);
    let _ = writer.join();
    let stdout = stdout.join().expect("the reader of stdout panicked");
    let stderr = stderr.join().expect("the reader of stderr panicked");
    Output { status, stdout, stderr, command: name }
}

/// The command line, without the environment.
fn line(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Spawns the program, or panics with a hint how to install it.
#[track_caller]
pub fn spawn(command: &mut Command) -> Child {
    match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            panic!("{:?} does not start: {error}. Run tests/install", command.get_program())
        }
    }
}

/// The status if the child ends in time.
pub fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().expect("waiting for a child") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Kills a child that leads its own process group, and all processes of the group.
pub fn kill_group(child: &mut Child) {
    // Its own children may outlive it: kill the group even if the child has exited.
    let _ = kill_process_group(pid(child), Signal::KILL);
    let _ = child.wait();
}

pub fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Cleans up however this process ends: statics are never dropped, and a killed process drops
/// nothing. A shell waits for the end of its standard input, which this process holds open.
pub struct CleanupGuard(Child);

impl CleanupGuard {
    /// Kills the group and removes the folder at the end of this process.
    pub fn new(group: Option<&Child>, folder: Option<&Path>) -> Self {
        const SCRIPT: &str =
            r#"read -r _; [ "$1" = 0 ] || kill -s KILL -- "-$1"; [ -z "$2" ] || rm -rf -- "$2""#;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "cleanup"]).arg(group.map_or(0, Child::id).to_string());
        command.arg(folder.unwrap_or(Path::new("")));
        // In its own process group: Ctrl-C must not end it before it has cleaned up.
        command.stdin(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        Self(spawn(&mut command))
    }
}

impl Drop for CleanupGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A temporary folder that is removed even if a static holds it.
pub struct SharedFolder {
    folder: TempDir,
    _cleanup: CleanupGuard,
}

impl SharedFolder {
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lockgate-test-").tempdir()?;
        let cleanup = CleanupGuard::new(None, Some(folder.path()));
        Ok(Self { folder, _cleanup: cleanup })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
