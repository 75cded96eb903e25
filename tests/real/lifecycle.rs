//! The gateway's process: start, log lines about its ports, service, and end.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHash, PasswordVerifier};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::pki::pki;
use crate::support::process::{POLL, kill_group, pid, spawn, wait};
use crate::support::raw::{Raw, dial_from};
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(15);

/// FTP with AUTH TLS and a local folder.
fn config(folder: &TempDir) -> String {
    let pool = ports::block(4);
    format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, \
         tls: {{ mode: optional, certificate: {}, key: {}, data_sessions: resumed }} }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n\
         drain: {{ accept_for: 0s }}\n",
        pki().certificate.display(),
        pki().key.display(),
        pool.start(),
        pool.end(),
        folder.path(),
        argon2_hash(),
    )
}

#[test]
fn serves_until_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::start(&config(&folder));
    assert_ne!(gateway.address("metrics").port(), 0);
    let (mut client, greeting) = Raw::connect(gateway.address("front"));
    assert_eq!(greeting.code, 220);
    client.auth_tls();
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    assert_eq!(client.upload("STOR a", b"bytes").code, 226);
    assert_eq!(std::fs::read(folder.path().join("a")).expect("the file"), b"bytes");
    assert_eq!(client.download("RETR a").0, b"bytes");
    client.expect("QUIT", 221);
    assert!(client.at_end());
    gateway.await_log(|event| event.to_string().contains(USER), TIMEOUT);
    gateway.hang_up();
    gateway.await_log(|event| event.to_string().contains("read again and is in force"), TIMEOUT);
    assert_eq!(Raw::connect(gateway.address("front")).1.code, 220);
    gateway.terminate();
    let status = gateway.wait(TIMEOUT).expect("it ends after SIGTERM");
    assert!(status.success(), "{status}; {}", gateway.log_tail(20));
}

/// What systemd is told: the start, signs of life, and the drain with its time.
#[test]
fn the_service_manager_is_told_of_each_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout above zero");
    let next = || {
        let mut message = [0; 1000];
        let length = socket.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).expect("text")
    };
    let mut command = Command::new(PROGRAM);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let yaml = config(&folder).replace("accept_for: 0s", "accept_for: 0s, timeout: 7s");
    let mut gateway = Gateway::start_by(command, &yaml, &[]);
    assert_eq!(next(), "READY=1\nSTATUS=serving\n");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1\n");
    }
    let other = || {
        std::iter::repeat_with(next).find(|message| message != "WATCHDOG=1\n").expect("a message")
    };
    gateway.hang_up();
    let reloading = other();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(other(), "READY=1\nSTATUS=serving\n");
    gateway.terminate();
    assert_eq!(other(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=37000000\nSTATUS=draining\n");
    assert!(gateway.wait(TIMEOUT).expect("it ends").success());
}

#[test]
fn incomplete_requests_do_not_delay_live() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(&config(&folder));
    let address = gateway.address("metrics");
    let [flooder, other] = [2, 3].map(|last| IpAddr::from([127, 0, 0, last]));
    let half_sent = || {
        let mut tcp = dial_from(flooder, address).expect("a connection");
        tcp.write_all(b"GET /live HT").expect("half a request");
        tcp
    };
    let flood: Vec<_> = (0..200).map(|_| half_sent()).collect();
    let started = Instant::now();
    for from in [flooder, other, flooder] {
        let mut tcp = dial_from(from, address).expect("a connection");
        tcp.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).expect("an answer");
        assert!(answer.ends_with("live\n"), "{from}: {answer}");
    }
    // Before the timeout of the incomplete requests.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    drop(flood);
}

/// On a full disk, or with a closed or stuck reader, only log lines are lost.
#[test]
fn an_unwritable_log_blocks_nothing() {
    let (_unread, held) = std::io::pipe().expect("a pipe");
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let closed = std::io::pipe().expect("a pipe").1;
    for stderr in [Stdio::from(full), closed.into(), held.into()] {
        let folder = tempfile::tempdir().expect("a folder");
        let port = *ports::block(1).start();
        let file = folder.path().join("lockgate.yaml");
        // The warning about an unused backend goes to standard error, too.
        let config = config(&folder)
            .replace(
                "address: \"127.0.0.1:0\", data",
                &format!("address: \"127.0.0.1:{port}\", data"),
            )
            .replace(
                "backends:\n",
                "backends:\n  idle: { protocol: ftp, address: \"127.0.0.1:1\" }\n",
            );
        std::fs::write(&file, config).expect("writing the configuration");
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--log-level", "trace", "--config"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
        let mut gateway = Killed(spawn(&mut command));
        let end = Instant::now() + TIMEOUT;
        let mut client = loop {
            match Raw::try_connect(([127, 0, 0, 1], port).into()) {
                Ok((client, _)) => break client,
                Err(error) => assert!(Instant::now() < end, "it does not serve: {error}"),
            }
            assert!(gateway.0.try_wait().expect("its status").is_none(), "it has ended");
            std::thread::sleep(POLL);
        };
        client.login(USER, PASSWORD);
        client.expect("TYPE I", 200);
        assert_eq!(client.upload("STOR a", b"bytes").code, 226);
        assert_eq!(client.download("RETR a").0, b"bytes");
        // Each session logs a line; a pipe holds 64 KiB.
        let absent = "x".repeat(200);
        for _ in 0..500 {
            client.expect(&format!("DELE {absent}"), 550);
        }
        client.expect("QUIT", 221);
        kill_process(pid(&gateway.0), Signal::TERM).expect("SIGTERM");
        let status = wait(&mut gateway.0, TIMEOUT).expect("it ends after SIGTERM");
        assert!(status.success(), "{status}");
    }
}

/// A process that is killed when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        kill_group(&mut self.0);
    }
}

#[test]
fn check_reports_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lockgate.yaml");
    let path = file.to_str().expect("a UTF-8 path");
    std::fs::write(&file, config(&folder)).expect("writing the configuration");
    lockgate(&["check", "--config", path], "").expect_ok("checking a right configuration");
    let wrong = config(&folder).replace("backend: files", "backend: fils");
    std::fs::write(&file, wrong).expect("writing the configuration");
    let output = lockgate(&["check", "--config", path], "");
    let code = output.status.and_then(|status| status.code());
    assert_eq!(code, Some(64), "{}", output.describe());
    assert!(output.describe().contains("files"), "no nearest name: {}", output.describe());
}

/// The configuration may be for another machine, or run here already: these are no errors.
#[test]
fn check_warns_about_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lockgate.yaml");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address");
    // RFC 5737: an address without a host; RFC 6761: a name that never resolves.
    let text = config(&folder)
        .replace("\"127.0.0.1:0\", data", &format!("[\"{taken}\", \"192.0.2.1:2121\"], data"))
        .replace(
            "backends:\n",
            &format!(
                "backends:\n  own: {{ protocol: ftp, address: \"localhost:{}\" }}\n  \
                 gone: {{ protocol: ftp, address: lockgate.invalid }}\n",
                taken.port()
            ),
        )
        .replace("backend: files", "backend: files, root: \"/%u\"");
    std::fs::write(&file, text).expect("writing the configuration");
    let path = file.to_str().expect("a UTF-8 path");
    let output = lockgate(&["check", path], "").expect_ok("only warnings");
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        &format!("listeners.front.address[0]: in use on this machine: {taken}"),
        "listeners.front.address[1]: 192.0.2.1 is not an address of this machine",
        "is listeners.front of this gateway itself",
        "backends.gone.address: \"lockgate.invalid\" does not resolve here",
        "routes[0].root: `%u` is taken literally",
    ] {
        assert!(output.contains(expected), "{expected}\n{output}");
    }
    // `run` does not warn about the gateway's own sockets.
    let output = lockgate(&["run", "-c", path], "");
    assert!(!output.ok() && !output.describe().contains("is not an address of this machine"));
}

#[test]
fn check_accepts_its_file_with_and_without_an_option() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, config: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, config).expect("writing the configuration");
        file.to_str().expect("a UTF-8 path").to_owned()
    };
    let right = file("right.yaml", config(&folder));
    let wrong = file("wrong.yaml", config(&folder).replace("backend: files", "backend: nowhere"));
    let variants = |file: &str| {
        let variants = [
            &["check", file][..],
            &["check", "-c", file],
            &["-c", file, "check"],
            &["--config", file, "check"],
            &["check", file, "-c", file],
        ];
        variants.map(|arguments| lockgate(arguments, ""))
    };
    for output in variants(&right) {
        let output = output.expect_ok("checking a right configuration");
        assert!(String::from_utf8_lossy(&output.stdout).contains("right.yaml: ok"));
    }
    for output in variants(&wrong) {
        let code = output.status.and_then(|status| status.code());
        assert_eq!(code, Some(64), "{}", output.describe());
    }
    // `run` reads the file of -c, and stops at its error.
    for arguments in [["run", "-c", &wrong], ["-c", &wrong, "run"]] {
        let output = lockgate(&arguments, "");
        let code = output.status.and_then(|status| status.code());
        assert_eq!(code, Some(64), "{}", output.describe());
        assert!(output.describe().contains("wrong.yaml:"), "{}", output.describe());
    }
}

#[test]
fn check_of_two_different_files_is_refused() {
    for arguments in [["check", "a.yaml", "-c", "b.yaml"], ["-c", "b.yaml", "check", "a.yaml"]] {
        let output = lockgate(&arguments, "");
        let code = output.status.and_then(|status| status.code());
        assert_eq!(code, Some(2), "{}", output.describe());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains("a.yaml") && errors.contains("b.yaml"), "{errors}");
    }
}

#[test]
fn hash_password_prints_an_argon2id_hash() {
    let output = lockgate(&["hash-password"], &format!("{PASSWORD}\n")).expect_ok("hash-password");
    let text = String::from_utf8(output.stdout).expect("a hash is ASCII");
    let hash = PasswordHash::new(text.trim()).expect("a PHC string");
    let argon2 = argon2::Argon2::default();
    argon2.verify_password(PASSWORD.as_bytes(), &hash).expect("the password fits its hash");
}

#[test]
fn a_closed_standard_output_is_not_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lockgate.yaml");
    let socket = folder.path().join("admin.sock");
    let config = format!("{}admin: {{ socket: {socket:?} }}\n", config(&folder));
    std::fs::write(&file, &config).expect("writing the configuration");
    let _gateway = Gateway::start(&config);
    for arguments in
        [&["schema"][..], &["check"], &["ports"], &["ports", "--json"], &["hash-password"]]
    {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--config").arg(&file).stdin(Stdio::piped());
        command.stdout(std::io::pipe().expect("a pipe").1).stderr(Stdio::piped());
        let mut child = Killed(spawn(command.process_group(0)));
        let mut stdin = child.0.stdin.take().expect("stdin is piped");
        // Only one of them reads it.
        let _ = stdin.write_all(b"password\n");
        drop(stdin);
        let status = wait(&mut child.0, TIMEOUT).expect("it ends");
        let mut errors = String::new();
        let mut stderr = child.0.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut errors).expect("its errors");
        assert!(
            status.success() && !errors.contains("panicked"),
            "{arguments:?}: {status}; {errors}"
        );
    }
}

#[test]
fn an_ssh_connection_that_ends_before_a_login_is_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("host_key");
    std::fs::write(&key, include_bytes!("../../src/config/tests/keys/ed25519")).expect("a key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the key's mode");
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: [{key:?}] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        folder.path(),
        argon2_hash(),
    ));
    let mut client = TcpStream::connect(gateway.address("front")).expect("a connection");
    client.write_all(b"SSH-2.0-gone\r\n").expect("writing the version");
    client.shutdown(Shutdown::Write).expect("the end");
    let ended = |event: &serde_json::Value| {
        event["event"] == "client-refused" && event["refusal"] == "ssh-handshake"
    };
    let event = gateway.await_log(ended, TIMEOUT);
    assert_eq!((&event["level"], &event["listener"]), (&"INFO".into(), &"front".into()));
}
