//! `lockgate demo`: what it prints to be pasted works, and nothing of it stays.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::process::{pid, run, spawn, wait};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_printed_commands_work_and_nothing_stays() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.arg("demo").env("TMPDIR", folder.path());
    let mut demo = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
    let printed = BufReader::new(demo.stdout.take().expect("stdout is piped"));
    let mut commands = Vec::new();
    for line in printed.lines() {
        let line = line.expect("a line of the demo");
        if line.trim_start().starts_with("curl ") || line.trim_start().starts_with("lftp ") {
            commands.push(line.trim().to_owned());
        }
        if line.contains("Ctrl-C stops") {
            break;
        }
    }
    assert_eq!(commands.len(), 4, "{commands:?}");
    let mut shown = String::new();
    for line in &commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("HOME", folder.path());
        let output = run(&mut shell, b"", SOON).expect_ok(line);
        shown += &String::from_utf8_lossy(&output.stdout);
    }
    for expected in ["readings.csv", "08:00,boiler,71.5", "You read it over TLS."] {
        assert!(shown.contains(expected), "{expected} was not shown in:\n{shown}");
    }
    let demo_folder = |entry: &std::io::Result<std::fs::DirEntry>| {
        entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with("lockgate-demo"))
    };
    let entries = |folder: &Path| std::fs::read_dir(folder).expect("the folder's entries");
    assert_eq!(entries(folder.path()).filter(demo_folder).count(), 1);
    rustix::process::kill_process(pid(&demo), rustix::process::Signal::INT).expect("Ctrl-C");
    let status = wait(&mut demo, SOON).expect("it ends after Ctrl-C");
    assert!(status.success(), "{status}");
    assert_eq!(entries(folder.path()).filter(demo_folder).count(), 0, "its folder stays");
}
