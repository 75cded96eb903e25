//! `lockgate doctor`: on the gateway's machine, and through firewalls.

mod machine;
mod through;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::gateway::PROGRAM;
use crate::support::process::{Output, run};

/// For a run of doctor on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What doctor printed as JSON, and its exit status.
struct Report {
    status: Option<i32>,
    json: Value,
}

/// Runs the command with `--json`; `password` is its input.
#[track_caller]
fn report(mut command: Command, arguments: &[&str], password: &str) -> Report {
    let output = run(
        command.arg("doctor").args(arguments).arg("--json").env_remove("LOCKGATE_DOCTOR_PASSWORD"),
        password.as_bytes(),
        TIMEOUT,
    );
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|error| panic!("no JSON ({error}): {}", output.describe()));
    Report { status: code(&output), json }
}

fn of_file(config: &Path) -> Report {
    let config = config.to_str().expect("a path in UTF-8");
    report(Command::new(PROGRAM), &["--config", config], "")
}

fn code(output: &Output) -> Option<i32> {
    output.status.and_then(|status| status.code())
}

impl Report {
    /// The level of the finding of a topic whose message has these words.
    #[track_caller]
    fn level(&self, topic: &str, words: &str) -> &str {
        self.find(topic, words)["level"].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn find(&self, topic: &str, words: &str) -> &Value {
        let findings = self.json["findings"].as_array().expect("findings");
        let is_it = |it: &&Value| {
            let text = |key: &str| it[key].as_str().unwrap_or_default();
            text("topic") == topic && text("message").contains(words)
        };
        findings
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("{topic}: no \"{words}\" in {:#}", self.json))
    }

    /// Those that do not work, for a panic.
    fn problems(&self) -> Vec<&Value> {
        let findings = self.json["findings"].as_array().expect("findings");
        findings.iter().filter(|it| it["level"] == "problem").collect()
    }
}
