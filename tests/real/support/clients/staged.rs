//! Clients that pause: a script of `tests/real/clients` that prints a word when it has reached that point.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::python;
use crate::support::process::{CleanupGuard, kill_group, spawn, wait};

/// Killed when dropped, with all that it started.
pub struct Staged {
    child: Child,
    _cleanup: CleanupGuard,
}

impl Staged {
    /// Starts it with a job on stdin and waits for its `word`.
    pub fn start(script: &str, job: &Value, word: &str) -> Self {
        let mut command = Command::new(python());
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/clients").join(script));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = spawn(&mut command);
        let cleanup = CleanupGuard::new(Some(&child), None);
        let stdin = child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{job}").expect("giving the job");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("reading");
        assert_eq!(line.trim(), word);
        Self { child, _cleanup: cleanup }
    }

    /// Lets the script continue.
    pub fn resume(&mut self) {
        writeln!(self.child.stdin.as_mut().expect("stdin is piped")).expect("letting it go on");
    }

    #[track_caller]
    pub fn expect_success(&mut self, deadline: Duration) {
        let status = wait(&mut self.child, deadline);
        assert!(status.is_some_and(|status| status.success()), "a client failed: {status:?}");
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}
