//! `lockgate demo`: the printed commands work on every port, and nothing is left afterwards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::process::{pid, run, spawn, wait};
use crate::support::raw::Raw;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Commands to type into sftp.
const TYPED: &[u8] = b"ls -l\nput /etc/hostname inbox/typed\nget readings.csv fetched.csv\nbye\n";

#[test]
fn the_printed_commands_work_and_the_folder_is_removed() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let home = folder.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.arg("demo").env("TMPDIR", home);
    let mut demo = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
    let printed = BufReader::new(demo.stdout.take().expect("stdout is piped"));
    let mut commands = Vec::new();
    for line in printed.lines() {
        let line = line.expect("a line of the demo");
        if line.trim_start().starts_with("curl ") || line.trim_start().starts_with("sftp ") {
            commands.push(line.trim().to_owned());
        }
        if line.contains("Ctrl-C stops") {
            break;
        }
    }
    let askpass = askpass(home);
    let shown = |line: &String| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(home).env("HOME", home);
        shell.env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
        let typed = if line.starts_with("sftp ") { TYPED } else { b"" };
        let output = run(&mut shell, typed, TIMEOUT).expect_ok(line);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let [list, get, put, implicit, sftp, plain_list, plain_get] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert!(shown(list).contains("Größe 10 µm.txt"));
    assert!(shown(get).contains("08:00,boiler,71.5"));
    shown(put);
    assert!(shown(implicit).contains("You read it encrypted."));
    let shown_files = shown(sftp);
    assert!(shown_files.contains("readings.csv") && shown_files.contains("inbox"), "{shown_files}");
    let fetched = fs::read_to_string(home.join("fetched.csv")).expect("what sftp got");
    assert!(fetched.contains("08:00,boiler,71.5"), "{fetched}");
    let hostname = fs::read("/etc/hostname").expect("this machine's name");
    let inbox = demo_folder(home).expect("the demo's folder").join("ftp-files/inbox");
    for name in ["hostname", "typed"] {
        assert_eq!(fs::read(inbox.join(name)).expect("what was put"), hostname, "{name}");
    }
    assert!(shown(plain_list).contains("orders.csv"));
    assert!(shown(plain_get).contains("4711,valve DN50,12"));

    rustix::process::kill_process(pid(&demo), rustix::process::Signal::INT).expect("Ctrl-C");
    let status = wait(&mut demo, TIMEOUT).expect("it ends after Ctrl-C");
    assert!(status.success(), "{status}");
    assert_eq!(demo_folder(home), None, "its folder stays");
}

/// A slow client delays the first Ctrl-C only briefly, and the second not at all.
#[test]
fn ctrl_c_ends_a_running_transfer() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.arg("demo").env("TMPDIR", folder.path());
    let mut demo = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
    let printed = BufReader::new(demo.stdout.take().expect("stdout is piped"));
    let mut lines = printed.lines().map(|line| line.expect("a line of the demo"));
    let url = lines.find(|line| line.contains("ftp://") && line.contains("orders.csv"));
    assert!(lines.any(|line| line.contains("Ctrl-C stops")));
    let url = url.expect("a file of the SFTP server");
    let (_, authority) = url.rsplit_once('@').expect("an address");
    let (authority, _) = authority.split_once('/').expect("a path");
    let port = authority.rsplit_once(':').expect("a port").1.parse().expect("a number");
    let (mut raw, _) = Raw::connect(([127, 0, 0, 1], port).into());
    raw.login("demo", "demo");
    // An upload that never ends.
    let _data = raw.begin("STOR endless");
    rustix::process::kill_process(pid(&demo), rustix::process::Signal::INT).expect("Ctrl-C");
    let status = wait(&mut demo, TIMEOUT).expect("it ends after Ctrl-C");
    assert!(status.success(), "{status}");
    assert_eq!(demo_folder(folder.path()), None, "its folder stays");
}

/// Its terminal closes.
#[test]
fn sighup_stops_and_cleans_up() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
    command.arg("demo").env("TMPDIR", folder.path());
    let mut demo = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut printed = BufReader::new(demo.stdout.take().expect("stdout is piped")).lines();
    let ready = printed.any(|line| line.expect("a line of the demo").contains("Ctrl-C stops"));
    assert!(ready && demo_folder(folder.path()).is_some());
    drop(printed);
    rustix::process::kill_process(pid(&demo), rustix::process::Signal::HUP).expect("SIGHUP");
    let status = wait(&mut demo, TIMEOUT).expect("it ends after SIGHUP");
    assert!(status.success(), "{status}");
    assert_eq!(demo_folder(folder.path()), None, "its folder stays");
}

/// Answers ssh's password prompt.
fn askpass(home: &Path) -> std::path::PathBuf {
    let script = home.join("askpass");
    fs::write(&script, "#!/bin/sh\necho demo\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("executable");
    script
}

fn demo_folder(home: &Path) -> Option<std::path::PathBuf> {
    let entries = fs::read_dir(home).expect("the folder's entries");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lockgate-demo"))
    })
}
