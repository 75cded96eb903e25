//! `--through`: to the gateway itself, behind ALGs (proxies that change FTP as they do), and with a blocked port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use super::{Report, report};
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::netns::Namespace;
use crate::support::pki::pki;
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const ALG: &str = "application-level gateways (ALG) on the way";

struct Fixture {
    gateway: Gateway,
    pool: RangeInclusive<u16>,
    _folder: TempDir,
}

fn start(tls: &str) -> Fixture {
    start_by(Command::new(PROGRAM), tls)
}

/// A gateway with a folder, for FTP and SFTP.
fn start_by(command: Command, tls: &str) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a file"), "bytes").expect("a file to list");
    let pool = ports::block(4);
    let config = format!(
        "listeners:\n  \
           front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, active: {{ allowed: true }}, tls: {{ mode: {tls}, \
             certificate: {certificate}, key: {key}, data_sessions: resumed }} }}\n  \
           sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: [{host}] }}\n\
         data_ports:\n  pool: {{ range: {first}-{last} }}\n\
         backends:\n  files: {{ protocol: local, folder: {files:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{hash}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        certificate = pki().certificate.display(),
        key = pki().key.display(),
        host = keys().host[0].display(),
        first = pool.start(),
        last = pool.end(),
        files = folder.path(),
        hash = argon2_hash(),
    );
    Fixture { gateway: Gateway::start_by(command, &config, &[]), pool, _folder: folder }
}

/// Doctor's report of the way to `address`.
#[track_caller]
fn through(address: SocketAddr, more: &[&str]) -> Report {
    through_by(Command::new(PROGRAM), address, more)
}

#[track_caller]
fn through_by(command: Command, address: SocketAddr, more: &[&str]) -> Report {
    let (address, ca) = (address.to_string(), pki().ca.display().to_string());
    let arguments = ["--through", &address, "--user", USER, "--ca", &ca];
    report(command, &[&arguments[..], more].concat(), &format!("{PASSWORD}\n"))
}

#[test]
fn the_way_to_a_gateway_without_a_firewall_is_well() {
    let fixture = start("optional");
    let range = format!("{}-{}", fixture.pool.start(), fixture.pool.end());
    let front = fixture.gateway.address("front");
    let report = through(front, &["--clear", "--data-ports", &range]);
    assert_eq!(report.status, Some(0), "{:?}", report.problems());
    for (topic, words) in [
        ("under TLS", "PASV: 227 "),
        ("under TLS", "EPSV: 229 "),
        ("under TLS", "TLS 1."),
        ("in clear", "sent a listing of"),
        (ALG, "agree: nothing rewrites them"),
        ("data ports", "accepts connections at 4 ports"),
    ] {
        assert_eq!(report.level(topic, words), "ok", "{topic}: {words}");
    }
    let openings = report.json["firewall"].as_array().expect("openings");
    assert!(openings.iter().any(|it| it["ports"] == range.as_str()), "{openings:?}");
    // Without --clear no password is sent in clear, and it says what is missing.
    let report = through(front, &[]);
    assert_eq!(report.status, Some(0), "{:?}", report.problems());
    assert_eq!(report.level(ALG, "was not tried"), "skipped");
    // Where TLS is required, a login in clear ends before the password.
    let fixture = start("required");
    let report = through(fixture.gateway.address("front"), &["--clear"]);
    assert_eq!(report.level("in clear", "refused before the password"), "ok");
    let fixture = start("implicit");
    let implicit = ["--protocol", "implicit-ftps"];
    let report = through(fixture.gateway.address("front"), &implicit);
    assert_eq!(report.status, Some(0), "{:?}", report.problems());
}

#[test]
fn no_password_is_sent_to_who_is_not_verified() {
    let fixture = start("optional");
    let front = fixture.gateway.address("front");
    let report = through(front, &["--server-name", "other.example.com"]);
    assert_eq!(report.status, Some(1));
    assert_eq!(report.level("under TLS", "no password was sent"), "problem");
    let sftp = fixture.gateway.address("sftp");
    let report = through(sftp, &[]);
    assert_eq!(report.status, Some(1));
    let words = format!("{}; no password was sent", keys().fingerprints[0]);
    assert_eq!(report.level("SFTP", &words), "problem");
    let report = through(sftp, &["--host-key", &keys().fingerprints[1]]);
    assert_eq!(report.status, Some(1));
    let report = through(sftp, &["--host-key", &keys().fingerprints[0]]);
    assert_eq!(report.status, Some(0), "{:?}", report.problems());
    assert_eq!(report.level("SFTP", "is logged in, and a listing works"), "ok");
}

/// Even with `--clear`; in clear it is sent only with that.
#[test]
fn a_password_in_clear_needs_the_option_and_a_verified_server() {
    static PASSWORDS: AtomicUsize = AtomicUsize::new(0);
    let watch = |line: String| {
        PASSWORDS.fetch_add(usize::from(line.starts_with("PASS ")), Ordering::SeqCst);
        line
    };
    let garble = |line: String| {
        PASSWORDS.fetch_add(usize::from(line.starts_with("PASS ")), Ordering::SeqCst);
        line.replace("AUTH", "XXXX")
    };
    // The connection ends where TLS begins.
    let cut = |line: String| {
        PASSWORDS.fetch_add(usize::from(line.starts_with("PASS ")), Ordering::SeqCst);
        if line.starts_with("AUTH") { "QUIT\r\n".to_owned() } else { line }
    };
    let accept = |line: String| line.replace("221 ", "234 ");
    let fixture = start("optional");
    let front = fixture.gateway.address("front");
    let watched = alg(front, Alg { reply: UNCHANGED, command: watch });
    let garbled = alg(front, Alg { reply: UNCHANGED, command: garble });
    let no_tls = alg(front, Alg { reply: accept, command: cut });
    for (address, more) in [
        (watched, &["--clear", "--server-name", "other.example.com"][..]),
        (garbled, &["--clear"]),
        (no_tls, &["--clear"]),
    ] {
        let report = through(address, more);
        assert_eq!(report.status, Some(1), "{more:?}");
        assert_eq!(report.level("in clear", "it gets no password"), "skipped");
    }
    let report = through(watched, &["--protocol", "ftp"]);
    assert_eq!(report.level("in clear", "no login: it would send the password"), "skipped");
    assert_eq!(PASSWORDS.load(Ordering::SeqCst), 0);
    let report = through(watched, &["--protocol", "ftp", "--clear"]);
    assert_eq!(report.level("in clear", "is logged in"), "ok");
    assert_eq!(PASSWORDS.load(Ordering::SeqCst), 1);
}

/// What an ALG does to a line of a control connection in clear.
#[derive(Clone, Copy)]
struct Alg {
    reply: fn(String) -> String,
    command: fn(String) -> String,
}

/// Listens before the gateway, until the test ends.
fn alg(gateway: SocketAddr, alg: Alg) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(server) = TcpStream::connect(gateway) else { return };
            let halves = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
            let (Some(up), Some(down)) = (halves(), halves()) else { return };
            thread::spawn(move || copy(up.0, up.1, alg.command, "AUTH TLS\r\n"));
            thread::spawn(move || copy(down.1, down.0, alg.reply, "234 "));
        }
    });
    address
}

/// Changes lines up to the one with which TLS begins.
fn copy(from: TcpStream, mut to: TcpStream, change: fn(String) -> String, last: &str) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut line) {
        let text = change(String::from_utf8_lossy(&line).into_owned());
        if to.write_all(text.as_bytes()).is_err() {
            break;
        }
        if text.starts_with(last) {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
        }
        line.clear();
    }
    let _ = to.shutdown(Shutdown::Write);
}

const UNCHANGED: fn(String) -> String = |line| line;

#[test]
fn an_alg_that_rewrites_pasv_is_found() {
    let fixture = start("optional");
    static OTHER: OnceLock<TcpListener> = OnceLock::new();
    let other = OTHER.get_or_init(|| TcpListener::bind("127.0.0.2:0").expect("a port"));
    let rewrite = |line: String| match (line.starts_with("227 "), OTHER.get()) {
        (true, Some(other)) => {
            let [high, low] = other.local_addr().expect("bound").port().to_be_bytes();
            format!("227 Entering Passive Mode (127,0,0,2,{high},{low}).\r\n")
        }
        _ => line,
    };
    let address = alg(fixture.gateway.address("front"), Alg { reply: rewrite, command: UNCHANGED });
    let report = through(address, &["--clear"]);
    assert_eq!(report.status, Some(1));
    let words =
        "an ALG rewrites the reply to PASV: in clear it names 127.0.0.2, under TLS 127.0.0.1";
    assert_eq!(report.level(ALG, words), "problem");
    assert_eq!(report.level("in clear", "127.0.0.2 is not the host"), "warning");
    assert_eq!(report.level("under TLS", "PASV: 227 "), "ok");
    // Nothing connects where a stranger's reply points.
    other.set_nonblocking(true).expect("a listener");
    let error = other.accept().expect_err("no connection");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn an_alg_that_refuses_epsv_is_found() {
    let fixture = start("optional");
    let garble = |line: String| line.replace("EPSV", "XXXX");
    let address = alg(fixture.gateway.address("front"), Alg { reply: UNCHANGED, command: garble });
    let report = through(address, &["--clear"]);
    assert_eq!(report.status, Some(1));
    assert_eq!(report.level(ALG, "EPSV works under TLS, but is answered 50"), "problem");
}

#[test]
fn an_alg_that_rewrites_port_is_found() {
    let fixture = start("optional");
    let rewrite = |line: String| {
        if line.starts_with("PORT ") { line.replace("127,0,0,1", "127,0,0,2") } else { line }
    };
    let address = alg(fixture.gateway.address("front"), Alg { reply: UNCHANGED, command: rewrite });
    let report = through(address, &["--clear"]);
    assert_eq!(report.status, Some(1));
    assert_eq!(report.level(ALG, "an ALG changes PORT: it is answered 5"), "problem");
}

#[test]
fn an_alg_that_garbles_auth_is_found_before_a_password_is_sent() {
    let fixture = start("optional");
    let garble = |line: String| line.replace("AUTH", "XXXX");
    let address = alg(fixture.gateway.address("front"), Alg { reply: UNCHANGED, command: garble });
    let report = through(address, &[]);
    assert_eq!(report.status, Some(1));
    assert_eq!(report.level("under TLS", "no password was sent"), "problem");
    assert_eq!(report.level(ALG, "the gateway announces AUTH TLS (FEAT), but"), "problem");
}

#[test]
fn a_blocked_data_port_is_named() {
    let machine = Namespace::new();
    let fixture = start_by(machine.command(PROGRAM), "optional");
    let blocked = fixture.pool.start() + 2;
    machine.nft(&format!(
        "table inet t {{\n chain c {{\n  type filter hook input priority 0;\n  tcp dport {blocked} drop\n }}\n}}\n"
    ));
    let range = format!("{}-{}", fixture.pool.start(), fixture.pool.end());
    let front = fixture.gateway.address("front");
    let report = through_by(machine.command(PROGRAM), front, &["--data-ports", &range]);
    assert_eq!(report.status, Some(1));
    let words = format!("does not answer at 1 ports: {blocked}");
    assert_eq!(report.level("data ports", &words), "problem");
    assert_eq!(report.level("data ports", "accepts connections at 3 ports"), "ok");
}

#[test]
fn wrong_inputs_are_explained() {
    for (arguments, words) in [
        (&["--through", "localhost", "--user", "u"][..], "expects HOST:PORT"),
        (&["--through", "::1:21", "--user", "u"], "in brackets"),
        (&["--through", "localhost:21"], "--user"),
        (
            &["--through", "localhost:21", "--user", "u", "--data-ports", "9-3"],
            "9 is greater than 3",
        ),
        (
            &["--through", "localhost:21", "--user", "u", "--ca", "/nonexistent.pem"],
            "/nonexistent.pem",
        ),
        (&["--through", "localhost:21", "--user", "u"], "no password"),
    ] {
        let output = lockgate(&[&["doctor"], arguments].concat(), "");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.ok() && text.contains(words), "{arguments:?}: {}", output.describe());
    }
}
