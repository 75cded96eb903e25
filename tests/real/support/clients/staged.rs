//! Clients that wait in the middle of what they do: a script of `tests/real/clients` that says a word when it
//! has come there.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::python;
use crate::support::process::{Leash, kill_group, spawn, wait};

/// Killed when dropped, with all that it started.
pub struct Staged {
    child: Child,
    _leash: Leash,
}

impl Staged {
    /// Starts it with a job on stdin and waits for its `word`.
    pub fn start(script: &str, job: &Value, word: &str) -> Self {
        let mut command = Command::new(python());
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/clients").join(script));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = spawn(&mut command);
        let leash = Leash::new(Some(&child), None);
        let stdin = child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{job}").expect("giving the job");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("reading");
        assert_eq!(line.trim(), word);
        Self { child, _leash: leash }
    }

    /// It goes on.
    pub fn let_go(&mut self) {
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
