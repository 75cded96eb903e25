//! Sockets that the service manager has opened (systemd-socket-activate).

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::gateway::{PROGRAM, lockgate};
use crate::support::process::{CleanupGuard, kill_group, spawn, wait};
use crate::support::raw::{Raw, dial};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The folder of a configuration and its files, its control port, and its data port.
fn configuration() -> (tempfile::TempDir, u16, u16) {
    let folder = tempfile::tempdir().expect("a folder");
    let (front, data) = (ports::one(), ports::one());
    let text = format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:{front}\", data_ports: pool }}\n\
         data_ports:\n  pool: {{ range: {data}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         admin: {{ socket: admin.sock }}\ndrain: {{ accept_for: 0s }}\n",
        folder.path(),
        argon2_hash(),
    );
    fs::write(folder.path().join("lockgate.yaml"), text).expect("a configuration");
    (folder, front, data)
}

#[test]
fn the_first_process_gets_the_sockets_of_the_service_manager() {
    let (folder, front, data) = configuration();
    let admin = folder.path().join("admin.sock");
    let mut command = Command::new("systemd-socket-activate");
    for at in [format!("127.0.0.1:{front}"), format!("127.0.0.1:{data}")] {
        command.arg("--listen").arg(at);
    }
    command.arg("--listen").arg(&admin).arg(PROGRAM).arg("run").arg("--config");
    command.arg(folder.path().join("lockgate.yaml")).process_group(0);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = spawn(&mut command);
    let _cleanup = CleanupGuard::new(Some(&child), None);
    let mut log = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    while log.read_line(&mut line).expect("its log") > 0 && !line.contains("Listening on") {
        line.clear();
    }
    let reader = std::thread::spawn(move || std::io::read_to_string(log).unwrap_or_default());
    let at = format!("127.0.0.1:{front}").parse().expect("an address");
    // The connection starts it.
    let first = dial(at);
    let (mut raw, greeting) = Raw::connect(at);
    assert_eq!(greeting.code, 220);
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    assert_eq!(raw.upload("STOR x", b"bytes").code, 226);
    raw.expect("QUIT", 221);
    let socket = admin.to_str().expect("UTF-8");
    lockgate(&["status", "--socket", socket], "").expect_ok("the admin socket");
    // Another process takes over what the service manager has opened.
    lockgate(&["restart", "--socket", socket], "").expect_ok("restarting");
    drop(first);
    let (mut raw, _) = Raw::connect(at);
    raw.login(USER, PASSWORD);
    assert_eq!(raw.download("RETR x").0, b"bytes");
    drop(raw);
    assert!(wait(&mut child, TIMEOUT).is_some_and(|it| it.success()));
    lockgate(&["drain", "--wait", "--socket", socket], "").expect_ok("ending it");
    assert!(admin.exists(), "the service manager's file is removed");
    kill_group(&mut child);
    let log = reader.join().expect("its log");
    assert!(log.contains("ready"), "{log}");
}

#[test]
fn a_socket_that_the_configuration_does_not_have_is_named() {
    let (folder, front, _) = configuration();
    let other = ports::one();
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &format!("127.0.0.1:{front}")]);
    command.args(["--listen", &format!("127.0.0.1:{other}")]);
    command.arg(PROGRAM).arg("run").arg("--config").arg(folder.path().join("lockgate.yaml"));
    command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = spawn(&mut command);
    let _cleanup = CleanupGuard::new(Some(&child), None);
    let stderr = child.stderr.take().expect("stderr is piped");
    let at = format!("127.0.0.1:{front}").parse::<std::net::SocketAddr>().expect("an address");
    assert!(becomes_true(|| std::net::TcpStream::connect(at).is_ok()));
    assert_eq!(wait(&mut child, TIMEOUT).and_then(|it| it.code()), Some(1));
    let said = std::io::read_to_string(stderr).expect("its log");
    let expected = format!("opened 127.0.0.1:{other}, which the configuration does not have");
    assert!(said.contains(&expected), "{said}");
}
