//! `lockgate sessions`, `kick` and `status`: what they show of real clients, and what a client sees when an
//! operator ends its session. The ends of transfers at each kind of backend are in `ends.rs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::ends::Site;
use super::{Fixture, Plan, TIMEOUT};
use crate::support::clients::TlsVersion;
use crate::support::clients::curl::{CurlOptions, curl, url};
use crate::support::clients::lftp::lftp;
use crate::support::clients::openssh::sftp;
use crate::support::clients::{SftpSite, Site as FtpSite, deadline};
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::process::{self, CleanupGuard, pid, spawn};
use crate::support::raw::{Raw, dial};
use crate::support::scripted::Scripted;
use crate::support::sftp_fixture::{SftpPlan, becomes_true};
use crate::support::{DataMode, PASSWORD, Tls, USER, pattern, ports};

/// Of each client, in bytes a second.
const LIMIT: u64 = 200 * 1024;
const BY_OPERATOR: &str = "an operator ended the session";

fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let output = gateway.admin(&[arguments, &["--json"]].concat()).expect_ok(arguments[0]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn sessions(gateway: &Gateway) -> Vec<Value> {
    json(gateway, &["sessions"])["sessions"].as_array().expect("sessions").clone()
}

/// The session at a listener; there is one.
fn session_at(gateway: &Gateway, listener: &str) -> Option<Value> {
    sessions(gateway).into_iter().find(|session| session["listener"] == listener)
}

fn number(session: &Value) -> String {
    session["session"].as_u64().expect("a number").to_string()
}

fn kick(fixture: &Fixture, arguments: &[&str]) {
    fixture.gateway.admin(&[&["kick"], arguments].concat()).expect_ok("kick");
}

#[track_caller]
fn expect_kicked(raw: &mut Raw) {
    let reply = raw.read();
    assert_eq!((reply.code, reply.text.contains(BY_OPERATOR)), (421, true), "{}", reply.text);
    assert!(raw.at_end());
}

/// The session's record, with its end.
fn record(gateway: &Gateway, number: &str) -> Value {
    let number: u64 = number.parse().expect("a number");
    let is_it = |event: &Value| event["event"] == "session" && event["session"] == number;
    gateway.await_log(is_it, TIMEOUT)
}

/// Uploads of clients that limit themselves, since the sender decides when bytes reach the gateway.
#[test]
fn clients_are_shown_with_their_paths_bytes_and_rates() {
    let site = Site::start();
    let bytes = pattern(6 * LIMIT as usize);
    let home = tempfile::tempdir().expect("a client's home");
    let file = home.path().join("file");
    std::fs::write(&file, &bytes).expect("writing a file");
    let (ftps, sftp_port) = (site.gateway.address("ftps-local"), site.gateway.address("sftp-ftp"));
    let ftp = FtpSite::new(site.gateway.address("ftp-sftp").port(), Tls::None);
    thread::scope(|scope| {
        scope.spawn(|| {
            let site = FtpSite::new(ftps.port(), Tls::Explicit);
            let options = CurlOptions { data: DataMode::Epsv, tls: TlsVersion::Newest };
            let mut command = curl(&site, options, home.path());
            command.arg("--limit-rate").arg(LIMIT.to_string()).arg("--upload-file").arg(&file);
            process::run(command.arg(url(&site, "by-curl")), b"", deadline()).expect_ok("curl");
        });
        scope.spawn(|| {
            let script = format!("set net:limit-rate 0:{LIMIT}\nput file -o by-lftp");
            lftp(&ftp, TlsVersion::Newest, home.path(), &script).expect_ok("lftp");
        });
        scope.spawn(|| {
            let kilobits = (LIMIT * 8 / 1000).to_string();
            let site = SftpSite::new(sftp_port.port());
            sftp(&site, home.path(), "put file by-sftp\n", &["-l", &kilobits]).expect_ok("sftp");
        });
        for (listener, protocol, backend, path) in [
            ("ftps-local", "ftps", "files", "/by-curl"),
            ("ftp-sftp", "ftp", "sftp", "/by-lftp"),
            ("sftp-ftp", "sftp", "ftp", "/by-sftp"),
        ] {
            let mut last = Value::Null;
            let is_right = |session: &Value| {
                let transfer = &session["transfers"][0];
                let rate = transfer["rate"].as_u64().unwrap_or(0);
                session["state"] == "transferring"
                    && (LIMIT / 3..LIMIT * 3).contains(&rate)
                    && transfer["path"] == path
            };
            let found = becomes_true(|| {
                last = session_at(&site.gateway, listener).unwrap_or_default();
                is_right(&last)
            });
            assert!(found, "{listener}: {last:#}");
            let transfer = &last["transfers"][0];
            assert_eq!(transfer["direction"], "upload", "{last:#}");
            let moved = transfer["bytes"].as_u64().expect("bytes");
            assert!((1..bytes.len() as u64).contains(&moved), "{last:#}");
            assert_eq!(last["uploaded_bytes"], moved, "{last:#}");
            assert_eq!((&last["user"], &last["logged_in"]), (&USER.into(), &true.into()));
            assert_eq!(
                (&last["protocol"], &last["backend"]["name"]),
                (&protocol.into(), &backend.into())
            );
            assert_eq!(last["client"]["address"], "127.0.0.1");
            assert_eq!(last["encryption"].is_null(), protocol == "ftp", "{last:#}");
        }
        // It moves on.
        let moved = || {
            let session = session_at(&site.gateway, "ftps-local");
            session.and_then(|session| session["uploaded_bytes"].as_u64())
        };
        let before = moved();
        assert!(becomes_true(|| moved() != before), "{before:?}");
        let table = site.gateway.admin(&["sessions"]).expect_ok("sessions");
        let table = String::from_utf8(table.stdout).expect("text");
        assert!(table.contains(&format!("  {USER}  ")), "{table}");
        assert!(table.contains("upload /by-lftp") || table.contains("idle"), "{table}");
    });
    assert!(
        becomes_true(|| sessions(&site.gateway).is_empty()),
        "a session that has ended is shown"
    );
    for name in ["by-curl", "by-lftp", "by-sftp"] {
        let stored = std::fs::read(site.folder.path().join(name)).expect("the file");
        assert!(stored == bytes, "{name} differs");
    }
}

#[test]
fn an_ftp_client_is_told_that_an_operator_ended_its_session() {
    let fixture = Plan { partial_uploads: "delete", ..Plan::default() }.start();
    fixture.put_large("large");
    let mut unknown = fixture.connect();
    let mut idle = fixture.client();
    let mut up = fixture.client();
    let mut data = up.begin("STOR up");
    data.write_all(&pattern(100_000)).expect("sending a part");
    let mut down = fixture.client();
    let mut unread = down.begin("RETR large");
    let mut other = fixture.client();
    assert!(becomes_true(|| {
        let all = sessions(&fixture.gateway);
        all.iter().any(|session| session["uploaded_bytes"] == 100_000)
    }));
    let all = sessions(&fixture.gateway);
    let states: Vec<_> = all.iter().map(|it| it["state"].as_str().unwrap_or_default()).collect();
    assert_eq!(states, ["before-login", "idle", "transferring", "transferring", "idle"]);
    for session in &all[..4] {
        kick(&fixture, &[&number(session)]);
    }
    expect_kicked(&mut unknown);
    expect_kicked(&mut idle);
    for raw in [&mut up, &mut down] {
        let reply = raw.read();
        assert_eq!((reply.code, reply.text.contains(BY_OPERATOR)), (426, true), "{}", reply.text);
        expect_kicked(raw);
    }
    assert!(
        std::io::copy(&mut unread, &mut std::io::sink()).is_err(),
        "an end that looks complete"
    );
    for session in &all[1..4] {
        let record = record(&fixture.gateway, &number(session));
        assert_eq!((&record["reason"], &record["fault"]), (&BY_OPERATOR.into(), &"gateway".into()));
    }
    assert_eq!(fixture.names(), ["large"]);
    // The others go on.
    other.expect("NOOP", 200);
    assert_eq!(sessions(&fixture.gateway).len(), 1);
}

#[test]
fn an_ftp_session_that_is_ended_after_its_transfer_loses_nothing() {
    let fixture = Plan::default().start();
    let bytes = pattern(300_000);
    let (mut idle, mut busy) = (fixture.client(), fixture.client());
    let mut data = busy.begin("STOR up");
    data.write_all(&bytes[..1000]).expect("sending a part");
    assert!(becomes_true(|| sessions(&fixture.gateway)
        .iter()
        .any(|it| it["uploaded_bytes"] == 1000)));
    kick(&fixture, &["--user", USER, "--after-transfers"]);
    expect_kicked(&mut idle);
    let left = sessions(&fixture.gateway);
    assert_eq!((left.len(), &left[0]["ending"]), (1, &BY_OPERATOR.into()), "{left:#?}");
    data.write_all(&bytes[1000..]).expect("sending the rest");
    drop(data);
    assert_eq!(busy.read().code, 226);
    expect_kicked(&mut busy);
    assert!(fixture.get("up") == bytes, "the file differs");
    // The gateway takes new sessions.
    fixture.client().expect("NOOP", 200);
}

#[test]
fn an_sftp_session_is_ended_after_its_transfer_or_at_once() {
    let plan = SftpPlan { admin: "admin: { socket: admin.sock }", ..SftpPlan::default() };
    let fixture = plan.start();
    let bytes = pattern(600_000);
    fixture.put("file", &bytes);
    let site = fixture.site();
    for (arguments, is_whole) in [(&["--after-transfers"][..], true), (&[], false)] {
        let home = tempfile::tempdir().expect("a client's home");
        let received = home.path().join("file");
        thread::scope(|scope| {
            let client = scope.spawn(|| sftp(&site, home.path(), "get file\n", &["-l", "2000"]));
            // The client creates its file when it has opened the other.
            assert!(becomes_true(|| received.exists()), "the client does not begin");
            let arguments = [&["kick", "--address", "127.0.0.1"], arguments].concat();
            fixture.gateway.admin(&arguments).expect_ok("kick");
            let output = client.join().expect("the client");
            assert_eq!(output.ok(), is_whole, "{}", output.describe());
        });
        let left = std::fs::read(&received).expect("the file");
        assert_eq!(left == bytes, is_whole, "{} bytes", left.len());
        assert!(becomes_true(|| sessions(&fixture.gateway).is_empty()));
    }
    // Before its version.
    let mut silent = dial(fixture.gateway.address("front"));
    assert!(becomes_true(|| sessions(&fixture.gateway).len() == 1));
    fixture.gateway.admin(&["kick", "--address", "127.0.0.1"]).expect_ok("kick");
    let _ = silent.read_to_end(&mut Vec::new());
}

/// A server that says nothing more holds a kick up no longer than one that answers.
#[test]
fn an_operation_that_hangs_is_ended() {
    let verbs = ["MKD", "SIZE", "RETR", "MLSD", "LIST", "CWD"];
    let server = Scripted::start(move |peer| {
        peer.greet()?;
        peer.until_any(&verbs)?;
        peer.line().map(drop)
    });
    let pool = ports::block(8);
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  slow: {{ protocol: ftp, address: \"{}\" }}\n\
         routes:\n  - {{ authenticate: backend, backend: slow }}\n\
         admin: {{ socket: admin.sock }}\n",
        pool.start(),
        pool.end(),
        server.address,
    ));
    let hangs = || verbs.iter().map(|verb| server.count(verb)).sum::<usize>();
    for (already, command) in
        ["MKD folder", "SIZE file", "CWD folder", "LIST", "RETR file", "STAT folder"]
            .iter()
            .enumerate()
    {
        let (mut raw, _) = Raw::connect(gateway.address("front"));
        raw.login(USER, PASSWORD);
        let _data = ["LIST", "RETR file"].contains(command).then(|| raw.passive());
        raw.send_bytes(format!("{command}\r\n").as_bytes());
        assert!(becomes_true(|| hangs() == already + 1), "{command}: {:?}", server.lines());
        let began = Instant::now();
        gateway.admin(&["kick", "--user", USER]).expect_ok("kick");
        expect_kicked(&mut raw);
        assert!(began.elapsed() < Duration::from_secs(5), "{command}: {:?}", began.elapsed());
    }
    let is_it =
        |event: &Value| event["operation"] == "make-directory" && event["outcome"] == "aborted";
    assert_eq!(gateway.await_log(is_it, TIMEOUT)["fault"], "gateway");
}

/// A backend that accepts and says nothing.
#[test]
fn a_login_that_hangs_is_ended() {
    let backend = TcpListener::bind("127.0.0.1:0").expect("a backend");
    let address = backend.local_addr().expect("its address");
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         backends:\n  silent: {{ protocol: ftp, address: \"{address}\" }}\n\
         routes:\n  - {{ authenticate: backend, backend: silent }}\n\
         admin: {{ socket: admin.sock }}\n"
    ));
    let (mut raw, _) = Raw::connect(gateway.address("front"));
    raw.expect(&format!("USER {USER}"), 331);
    raw.send_bytes(format!("PASS {PASSWORD}\r\n").as_bytes());
    let (connection, _): (TcpStream, _) = backend.accept().expect("the gateway's connection");
    let shown = session_at(&gateway, "front").expect("a session");
    assert_eq!((&shown["state"], &shown["logged_in"]), (&"logging-in".into(), &false.into()));
    assert_eq!((&shown["user"], &shown["backend"]["name"]), (&USER.into(), &"silent".into()));
    let none = gateway.admin(&["kick", "--backend", "other"]);
    assert!(!none.ok() && none.describe().contains("no session at the backend other"));
    gateway.admin(&["kick", "--backend", "silent"]).expect_ok("kick");
    expect_kicked(&mut raw);
    drop(connection);
    let is_it = |event: &Value| event["event"] == "login" && event["outcome"] == "failed";
    let record = gateway.await_log(is_it, TIMEOUT);
    assert!(record["reason"].as_str().is_some_and(|it| it.contains(BY_OPERATOR)), "{record}");
}

#[test]
fn names_of_clients_cannot_change_a_table() {
    let fixture = Plan::default().start();
    let mut mallory = fixture.connect();
    mallory.expect("USER \u{1b}[2J<script>\u{202e}", 331);
    mallory.expect("PASS x", 530);
    let mut raw = fixture.client();
    let mut data = raw.begin("STOR \u{1b}]0;x\u{7}<b>\u{9b}31m");
    data.write_all(b"x").expect("sending a byte");
    assert!(becomes_true(|| sessions(&fixture.gateway).iter().any(|it| it["uploaded_bytes"] == 1)));
    for arguments in [&["sessions"][..], &["sessions", "--json"], &["status"]] {
        let output = fixture.gateway.admin(arguments).expect_ok("a table");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let is_plain = |c: char| c == '\n' || c.is_ascii() && !c.is_ascii_control();
        assert!(text.chars().all(is_plain), "{text}");
        if arguments.len() == 1 && arguments[0] == "sessions" {
            assert_eq!(text.lines().count(), 5, "{text}");
            assert!(text.contains("\\u{1b}[2J<script>\\u{202e} ?"), "{text}");
            assert!(text.contains("upload /\\u{1b}]0;x\\u{7}<b>\\u{9b}31m"), "{text}");
        }
    }
    // By its exact name: nobody is logged in as that.
    let none = fixture.gateway.admin(&["kick", "--user", "\u{1b}[2J<script>\u{202e}"]);
    assert!(!none.ok() && none.describe().contains("no session of the user \\u{1b}[2J"));
}

#[test]
fn wrong_requests_are_errors_with_words() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    for (arguments, status, words) in [
        (&["kick", "987654321"][..], 1, "no open session 987654321"),
        (&["kick", "--user", "FTPTEST"], 1, "no session of the user FTPTEST is open"),
        (&["kick", "--address", "127.0.0.2"], 1, "no session from 127.0.0.2 is open"),
        (&["kick"], 2, "required"),
        (&["kick", "1", "--user", USER], 2, "cannot be used with"),
        (&["kick", "first"], 2, "invalid"),
        (&["kick", "--address", "127.0.0.0/8"], 2, "invalid"),
        (&["sessions", "--all"], 2, "unexpected argument"),
    ] {
        let output = fixture.gateway.admin(arguments);
        assert_eq!(output.status.and_then(|it| it.code()), Some(status), "{}", output.describe());
        assert!(output.describe().contains(words), "{}", output.describe());
    }
    for command in ["sessions", "status"] {
        let output = lockgate(&[command, "--socket", "/nowhere/admin.sock"], "").describe();
        assert!(output.contains("cannot connect to the gateway at /nowhere"), "{output}");
    }
    raw.expect("NOOP", 200);
    let of = |user: &str| json(&fixture.gateway, &["sessions", "--user", user])["sessions"].clone();
    assert_eq!(of(USER).as_array().map(Vec::len), Some(1));
    assert_eq!(of("ftptes").as_array().map(Vec::len), Some(0));
}

#[test]
fn the_status_tells_of_listeners_ports_and_the_drain() {
    let mut fixture = Plan { data_ports: 2, ..Plan::default() }.start();
    let mut idle = fixture.client();
    idle.expect("EPSV", 229);
    let mut raw = fixture.client();
    let mut data = raw.begin("STOR up");
    data.write_all(b"x").expect("sending a byte");
    assert!(becomes_true(|| {
        let status = json(&fixture.gateway, &["status"]);
        status["sessions"]["states"]["transferring"] == 1 && status["data_ports"][0]["active"] == 1
    }));
    let status = json(&fixture.gateway, &["status"]);
    let listener = &status["listeners"][0];
    assert_eq!((&listener["listener"], &listener["sessions"]), (&"front".into(), &2.into()));
    assert_eq!(listener["addresses"][0], fixture.address().to_string());
    assert_eq!(
        (&status["sessions"]["open"], &status["sessions"]["max"]),
        (&2.into(), &1000.into())
    );
    let pool = &status["data_ports"][0];
    assert_eq!((&pool["ports"], &pool["reserved"]), (&2.into(), &1.into()), "{status:#}");
    assert_eq!((&status["servers"]["up"], &status["bans"]), (&1.into(), &0.into()), "{status:#}");
    let file = fixture.gateway.folder().join("lockgate.yaml");
    assert_eq!(status["configuration"]["file"], file.to_str().expect("UTF-8"));
    assert_eq!(status["drain"]["phase"], "serving");
    fixture.gateway.terminate();
    assert!(becomes_true(|| json(&fixture.gateway, &["status"])["drain"]["phase"] == "draining"));
    let text = fixture.gateway.admin(&["status"]).expect_ok("status");
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.contains("drain: no new sessions") && text.contains("1 transferring"), "{text}");
    // It has a port, so the drain would wait for its transfer.
    drop(idle);
    drop(data);
    assert_eq!(raw.read().code, 226);
    assert!(fixture.gateway.wait(TIMEOUT).is_some());
}

#[test]
fn sessions_are_seen_and_ended_after_a_reload() {
    let fixture = Plan::default().start();
    let (mut before, mut idle) = (fixture.client(), fixture.client());
    fixture.gateway.admin(&["reload"]).expect_ok("reload");
    let _after = fixture.client();
    let all = sessions(&fixture.gateway);
    assert_eq!(all.len(), 3, "{all:#?}");
    let status = json(&fixture.gateway, &["status"]);
    assert_eq!(status["listeners"][0]["sessions"], 3, "{status:#}");
    kick(&fixture, &[&number(&all[0])]);
    expect_kicked(&mut before);
    idle.expect("NOOP", 200);
}

#[test]
fn watching_ends_with_ctrl_c_and_with_its_reader() {
    let fixture = Plan::default().start();
    let _client = fixture.client();
    let socket = fixture.gateway.folder().join("admin.sock");
    let watching = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--watch").arg("--socket").arg(&socket);
        let mut child = spawn(command.stdout(Stdio::piped()).process_group(0));
        let cleanup = CleanupGuard::new(Some(&child), None);
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        (child, lines, cleanup)
    };
    let (mut child, lines, _cleanup) = watching(&["sessions", "--json"]);
    for line in lines.lines().take(2) {
        let shown: Value = serde_json::from_str(&line.expect("a line")).expect("a document");
        assert_eq!(shown["sessions"][0]["user"], USER);
    }
    // Its reader has left.
    let status = process::wait(&mut child, TIMEOUT).expect("it ends");
    assert!(status.success(), "{status}");

    let (mut child, mut lines, _cleanup) = watching(&["status"]);
    let mut first = String::new();
    lines.read_line(&mut first).expect("a line");
    assert!(first.starts_with("lockgate ") && !first.contains('\u{1b}'), "{first}");
    kill_process(pid(&child), Signal::INT).expect("sending SIGINT");
    let status = process::wait(&mut child, TIMEOUT).expect("it ends");
    assert!(status.success(), "{status}");
}
