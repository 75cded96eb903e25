//! Take-overs that fail, or are interrupted: one process serves.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::{Fixture, expect_end, session, status};
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::process::{run, wait};
use crate::support::wait::becomes_true;

const TIMEOUT: Duration = Duration::from_secs(30);

#[track_caller]
fn expect_serving(gateway: &Gateway) {
    assert_eq!(status(gateway)["process"], gateway.process());
    let mut raw = session(gateway);
    assert_eq!(raw.upload("STOR x", b"bytes").code, 226);
    assert_eq!(raw.download("RETR x").0, b"bytes");
    raw.expect("QUIT", 221);
}

#[test]
fn a_process_that_cannot_serve_changes_nothing() {
    let fixture = Fixture::start(4);
    let folder = fixture.gateway.folder().to_owned();
    let text = fs::read_to_string(folder.join("original.yaml")).expect("the configuration");
    // Not valid; and an address that another program has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address");
    let other = format!(
        "listeners:\n  more: {{ protocol: ftp, address: \"{taken}\", active: {{ allowed: true }} }}"
    );
    for (name, text) in [
        ("invalid.yaml", text.replace("backends:", "backend:")),
        ("taken.yaml", text.replacen("listeners:", &other, 1)),
        ("no-admin.yaml", text.replace("admin: { socket: admin.sock }", "")),
    ] {
        fs::write(folder.join(name), text).expect("a configuration");
        let mut next = fixture.gateway.launch_take_over(name);
        next.shown_lines = 0;
        assert!(!next.is_ready(), "{name}");
        assert!(!next.wait(TIMEOUT).expect("it ends").success());
        expect_serving(&fixture.gateway);
    }
    fixture.gateway.await_log(
        |event| {
            event["reason"].as_str().is_some_and(|it| it.contains("more") && it.contains("in use"))
        },
        TIMEOUT,
    );
    // `lockgate restart` prints it.
    fs::write(folder.join("lockgate.yaml"), "listeners: {}\n").expect("a configuration");
    let output = fixture.gateway.admin(&["restart"]);
    assert!(!output.ok(), "{}", output.describe());
    assert!(output.describe().contains("the gateway goes on as it was"), "{}", output.describe());
    expect_serving(&fixture.gateway);
    fs::write(folder.join("lockgate.yaml"), fs::read(folder.join("taken.yaml")).unwrap()).unwrap();
    let output = fixture.gateway.admin(&["restart"]);
    assert!(!output.ok() && output.describe().contains("more"), "{}", output.describe());
    expect_serving(&fixture.gateway);
}

#[test]
fn another_user_and_another_version_are_refused() {
    let fixture = Fixture::start(4);
    let socket = fixture.gateway.folder().join("admin.sock");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&socket, everybody).expect("opening the socket");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(fixture.gateway.folder(), everybody).expect("opening the folder");
    let asks = |version: &str, user: u32| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "5", "--output", "-", "--include"]);
        command.args(["--unix-socket"]).arg(&socket).args(["--request", "POST"]);
        command.args([
            "--header",
            "connection: upgrade",
            "--header",
            "upgrade: lockgate-take-over",
        ]);
        command.arg("--header").arg(format!("lockgate-take-over-version: {version}"));
        command.arg("http://lockgate/take-over").uid(user);
        let output = run(&mut command, b"", TIMEOUT);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let other = asks("999", 0);
    assert!(other.contains(" 426 "), "{other}");
    let version =
        other.split("lockgate-take-over-version: ").nth(1).and_then(|it| it.lines().next());
    let foreign = asks(version.expect("the own version"), 65534);
    assert!(!foreign.contains("offer"), "{foreign}");
    fixture.gateway.await_log(
        |event| event["message"].as_str().is_some_and(|it| it.contains("of another user asked")),
        TIMEOUT,
    );
    expect_serving(&fixture.gateway);
}

/// At any moment of the take-over, one of both is killed.
#[test]
fn a_kill_at_any_moment_leaves_one_that_serves() {
    let fixture = Fixture::start(4);
    for step in 0..40_u64 {
        let mut next = fixture.gateway.launch_take_over("lockgate.yaml");
        next.shown_lines = 0;
        // Not a wait for anything: the moment differs from round to round.
        std::thread::sleep(Duration::from_millis(step * 10));
        next.kill();
        if !fixture.gateway.admin(&["status"]).ok() {
            // It was killed when it had taken over already.
            return;
        }
        expect_serving(&fixture.gateway);
    }
    panic!("the new process never took over");
}

#[test]
fn the_new_process_has_everything_when_the_old_one_is_killed() {
    let mut fixture = Fixture::start(1);
    let _session = fixture.session();
    let next = fixture.gateway.take_over();
    fixture.gateway.kill();
    expect_serving(&next);
    assert!(fixture.gateway.folder().join("admin.sock").exists());
}

#[test]
fn signals_right_after_the_take_over_end_what_they_are_sent_to() {
    let mut fixture = Fixture::start(4);
    let _session = fixture.session();
    let mut next = fixture.gateway.take_over();
    fixture.gateway.terminate();
    fixture.gateway.terminate();
    assert!(fixture.gateway.wait(TIMEOUT).is_some(), "the old one does not end");
    expect_serving(&next);
    // The end of the new one is the end of the one before.
    let idle = session(&next);
    let mut last = next.take_over();
    last.terminate();
    assert!(last.wait(TIMEOUT).is_some_and(|it| it.success()), "{}", last.log_tail(40));
    expect_end(&mut next);
    drop(idle);
    assert!(!fixture.gateway.folder().join("admin.sock").exists(), "the socket is left behind");
}

#[test]
fn without_a_gateway_there_is_nothing_to_take_over() {
    let mut fixture = Fixture::start(1);
    fixture.gateway.kill();
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--take-over", "--config"]);
    command.arg(fixture.gateway.folder().join("lockgate.yaml"));
    let mut child =
        command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("starting lockgate");
    assert_eq!(wait(&mut child, TIMEOUT).and_then(|it| it.code()), Some(1));
}

#[test]
fn of_two_restarts_one_is_refused_or_follows_the_other() {
    let fixture = Fixture::start(4);
    let _open = fixture.session();
    let restart = || fixture.gateway.admin(&["restart"]);
    let outputs = std::thread::scope(|scope| {
        let both = [scope.spawn(restart), scope.spawn(restart)];
        both.map(|thread| thread.join().expect("a restart"))
    });
    let serving = status(&fixture.gateway)["process"].to_string();
    let is_named = |text: &str| text.contains(&format!("process {serving} has taken over"));
    let named = outputs.iter().filter(|output| output.ok() && is_named(&output.describe()));
    assert_eq!(named.count(), 1, "{serving}: {:?}", outputs.each_ref().map(|it| it.describe()));
    // Either the first is the last, or the second was refused.
    let before = status(&fixture.gateway)["processes_before"].as_array().map_or(0, Vec::len);
    let ok = outputs.iter().filter(|output| output.ok()).count();
    assert_eq!(before, ok, "{}", status(&fixture.gateway));
    fixture.gateway.admin(&["drain", "--wait"]);
}

/// It would keep the port from the next process that wants it.
#[test]
fn an_address_that_the_next_process_does_not_have_is_closed() {
    let fixture = Fixture::start(4);
    let _open = fixture.session();
    let metrics = fixture.gateway.address("metrics");
    let folder = fixture.gateway.folder().to_owned();
    let text = fs::read_to_string(folder.join("original.yaml")).expect("the configuration");
    let without = text.replace("metrics: { address: \"127.0.0.1:0\" }", "");
    assert_ne!(without, text);
    fs::write(folder.join("without.yaml"), &without).expect("a configuration");
    let mut next = fixture.gateway.launch_take_over("without.yaml");
    assert!(next.is_ready());
    assert!(becomes_true(|| std::net::TcpStream::connect(metrics).is_err()), "it is still open");
    let with =
        without.replace("admin: {", &format!("metrics: {{ address: \"{metrics}\" }}\nadmin: {{"));
    fs::write(folder.join("with.yaml"), with).expect("a configuration");
    let mut last = next.launch_take_over("with.yaml");
    assert!(last.is_ready());
    assert_eq!(status(&last)["processes_before"].as_array().map(Vec::len), Some(1));
    for gateway in [&mut next, &mut last] {
        gateway.shown_lines = 0;
    }
}

#[test]
fn a_process_that_is_given_up_is_killed() {
    let launch = |told: &[u8]| {
        let mut launcher = Command::new(PROGRAM)
            .args(["launch", "sh", "-c", "echo $$; exec sleep 60"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the launcher");
        let mut line = String::new();
        let stdout = launcher.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("the process");
        let process: i32 = line.trim().parse().expect("a process");
        // Meant for the gateways, as by `killall -HUP lockgate`.
        rustix::process::kill_process(Pid::from_child(&launcher), Signal::HUP).expect("a signal");
        launcher.stdin.take().expect("its input").write_all(told).expect("telling it");
        assert!(launcher.wait().expect("its end").success());
        Pid::from_raw(process).expect("a process")
    };
    let is_running = |process: Pid| {
        let state = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
        state.is_ok_and(|state| !state.contains(") Z "))
    };
    let released = launch(b"");
    assert!(is_running(released));
    rustix::process::kill_process(released, Signal::KILL).expect("ending it");
    let given_up = launch(b"kill\n");
    assert!(becomes_true(|| !is_running(given_up)));
}
