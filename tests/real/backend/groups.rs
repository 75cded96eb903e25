//! Servers that stand in for each other, while they are killed, hung and restarted under load.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{configuration, gateway};
use crate::support::gateway::{Gateway, lockgate};
use crate::support::raw::{Raw, Reply};
use crate::support::servers::{Server, private_vsftpd, sshd_with};
use crate::support::sftp_fixture::becomes_true;
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, pattern, ports};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CHECKED: &str = "connect_timeout: 2s, health: { every: 1s, timeout: 5s }";
/// For a server to go down or to return: its back-off, and checks.
const TIMEOUT: Duration = Duration::from_secs(20);
const CLIENTS: usize = 4;

/// A login during the load, and where it led.
struct Login {
    started: Instant,
    took: Duration,
    server: usize,
}

/// A vsftpd that says which it is.
fn vsftpd(number: usize, port: u16) -> Server {
    let server = private_vsftpd(port);
    std::fs::write(server.home.join("who"), number.to_string()).expect("writing a file");
    server
}

fn log_in(address: SocketAddr) -> Raw {
    try_log_in(address).expect("a login")
}

fn try_log_in(address: SocketAddr) -> Result<Raw, Reply> {
    let (mut client, greeting) = Raw::connect(address);
    assert_eq!(greeting.code, 220, "{greeting:?}");
    client.expect(&format!("USER {USER}"), 331);
    let reply = client.command(&format!("PASS {PASSWORD}"));
    if reply.code == 230 { Ok(client) } else { Err(reply) }
}

fn server_of(client: &mut Raw) -> usize {
    let (who, reply) = client.download("RETR who");
    assert_eq!(reply.code, 226, "{reply:?}");
    String::from_utf8(who).expect("a number").parse().expect("a number")
}

fn await_state(gateway: &Gateway, server: &str, message: &str) {
    gateway.await_log(|event| event["server"] == server && event["message"] == message, TIMEOUT);
}

fn lists(servers: &[u16]) -> String {
    let addresses: Vec<_> = servers.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    format!("address: [{}]", addresses.join(", "))
}

#[test]
fn logins_go_on_while_servers_are_killed_and_hung() {
    let numbers = [ports::one(), ports::one(), ports::one()];
    let mut servers: Vec<_> =
        numbers.iter().enumerate().map(|(number, port)| Some(vsftpd(number, *port))).collect();
    let keys = format!("{}, choose: round-robin, {CHECKED}", lists(&numbers));
    let gateway = gateway(&[("stock", keys)]);
    let address = gateway.address("stock");
    let name = |number: usize| format!("stock/127.0.0.1:{}", numbers[number]);
    let (stop, logins) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (lost, mut disruptions) = (Mutex::new(Vec::new()), Vec::new());
    let (mut away, mut back) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    // One whose server had the password when it was killed is lost, too.
                    let mut client = match try_log_in(address) {
                        Ok(client) => client,
                        Err(reply) => {
                            let lost = &mut lost.lock().expect("no panic");
                            lost.push((started, Instant::now(), reply));
                            continue;
                        }
                    };
                    let took = started.elapsed();
                    // It can be killed after the login: then this session is lost, and no other.
                    let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        server_of(&mut client)
                    }));
                    if let Ok(server) = served {
                        logins.lock().expect("no panic").push(Login { started, took, server });
                    }
                }
            });
        }
        // All three are used.
        let used = || {
            logins.lock().expect("no panic").iter().fold([false; 3], |mut used, it| {
                used[it.server] = true;
                used
            })
        };
        assert!(becomes_true(|| used() == [true; 3]));
        let killed = Instant::now();
        drop(servers[0].take());
        disruptions.push(killed..Instant::now());
        await_state(&gateway, &name(0), "the server is down: no new sessions");
        away.push((0, Instant::now()));
        let stopped = Instant::now();
        servers[1].as_ref().expect("it runs").signal(Signal::STOP);
        disruptions.push(stopped..Instant::now());
        await_state(&gateway, &name(1), "the server is down: no new sessions");
        away.push((1, Instant::now()));
        servers[0] = Some(vsftpd(0, numbers[0]));
        let restarted = Instant::now();
        await_state(&gateway, &name(0), "the server is up again");
        back.push((0, Instant::now()));
        assert!(restarted.elapsed() < TIMEOUT);
        servers[1].as_ref().expect("it runs").signal(Signal::CONT);
        await_state(&gateway, &name(1), "the server is up again");
        back.push((1, Instant::now()));
        // The one that returned gets its share again.
        let before = logins.lock().expect("no panic").len();
        let again = || logins.lock().expect("no panic")[before..].iter().any(|it| it.server == 0);
        assert!(becomes_true(again));
        stop.store(true, Ordering::Relaxed);
    });
    for (started, ended, reply) in lost.into_inner().expect("no panic") {
        let is_excused = disruptions.iter().any(|it| started < it.end && ended > it.start);
        assert!(is_excused, "a login after the kill failed after {:?}: {reply:?}", ended - started);
    }
    let logins = logins.into_inner().expect("no panic");
    let longest = logins.iter().map(|login| login.took).max().expect("logins");
    println!("{} logins, the longest took {longest:?}", logins.len());
    // The wait for the hung server, and the login at the next on a busy machine.
    assert!(longest < CONNECT_TIMEOUT * 2, "{longest:?}");
    for ((server, away), (_, back)) in away.iter().zip(&back) {
        let landed = |login: &&Login| {
            login.server == *server && login.started > *away && login.started + login.took < *back
        };
        assert_eq!(logins.iter().filter(landed).count(), 0, "at server {server} while it was down");
    }
}

#[test]
fn a_client_without_a_server_is_told_at_once() {
    let numbers = [ports::one(), ports::one()];
    let gateway = gateway(&[("stock", format!("{}, {CHECKED}", lists(&numbers)))]);
    let refused = || {
        let (mut client, _) = Raw::connect(gateway.address("stock"));
        client.expect(&format!("USER {USER}"), 331);
        let started = Instant::now();
        client.expect(&format!("PASS {PASSWORD}"), 421);
        started.elapsed()
    };
    refused();
    assert!(refused() < CONNECT_TIMEOUT);
    let line = gateway.await_log(|event| event["event"] == "backend", TIMEOUT);
    assert!(line["server"].as_str().expect("a name").starts_with("stock/127.0.0.1:"), "{line}");
}

#[test]
fn an_interrupted_upload_finds_its_server_again() {
    let numbers = [ports::one(), ports::one(), ports::one()];
    let servers: Vec<_> =
        numbers.iter().enumerate().map(|(number, port)| vsftpd(number, *port)).collect();
    let keys = format!("{}, choose: round-robin, {CHECKED}", lists(&numbers));
    let gateway = gateway(&[("stock", keys)]);
    let payload = pattern(1 << 20);
    let half = payload.len() / 2;
    let mut client = log_in(gateway.address("stock"));
    let server = server_of(&mut client);
    let mut data = client.begin("STOR report");
    std::io::Write::write_all(&mut data, &payload[..half]).expect("sending");
    let path = servers[server].home.join("report");
    let stored = || std::fs::metadata(&path).map_or(0, |it| it.len());
    assert!(becomes_true(|| stored() > 0));
    client.reset();
    drop(data);
    gateway.await_log(|event| event["event"] == "transfer" && event["path"] == "/report", TIMEOUT);
    for _ in 0..3 {
        let mut client = log_in(gateway.address("stock"));
        assert_eq!(server_of(&mut client), server);
    }
    let mut client = log_in(gateway.address("stock"));
    let size = usize::try_from(stored()).expect("a size");
    client.expect(&format!("REST {size}"), 350);
    let reply = client.upload("STOR report", &payload[size..]);
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(std::fs::read(&path).expect("the file") == payload);
}

/// An operator patches a server: it is drained, shown to be empty, and taken back.
#[test]
fn a_drained_server_gets_no_sessions_until_it_is_taken_back() {
    let numbers = [ports::one(), ports::one()];
    let _servers = [0, 1].map(|number| vsftpd(number, numbers[number]));
    let folder = tempfile::tempdir().expect("a folder for the socket");
    let socket = folder.path().join("admin.sock");
    let keys = format!("{}, sessions: 5, {CHECKED}", lists(&numbers));
    let yaml = configuration(&[("stock", keys)]);
    let gateway = Gateway::start(&format!("{yaml}admin: {{ socket: \"{}\" }}\n", socket.display()));
    let socket = socket.to_str().expect("a path in UTF-8");
    let asked = |arguments: &[&str]| {
        let arguments = [&["backends"], arguments, &["--socket", socket]].concat();
        lockgate(&arguments, "")
    };
    let name = format!("stock/127.0.0.1:{}", numbers[0]);
    let mut client = log_in(gateway.address("stock"));
    assert_eq!(server_of(&mut client), 0);
    let drained = asked(&["drain", &name, "--no-wait", "--json"]).expect_ok("a drain").stdout;
    let drained: Value = serde_json::from_slice(&drained).expect("JSON");
    let state = &drained["servers"][0];
    assert_eq!((&state["drained"], &state["sessions"]), (&true.into(), &1.into()), "{drained}");
    // The session that is there goes on, and new ones go elsewhere.
    assert_eq!(server_of(&mut client), 0);
    assert_eq!(server_of(&mut log_in(gateway.address("stock"))), 1);
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| asked(&["drain", &name]).expect_ok("a drain"));
        client.expect("QUIT", 221);
        waiting.join().expect("no panic")
    });
    let table = String::from_utf8(waiting.stdout).expect("text");
    assert!(table.contains("drained") && table.contains("  0/5  "), "{table}");
    let table = asked(&["undrain", &name]).expect_ok("its end").stdout;
    assert!(String::from_utf8(table).expect("text").contains("  up  "));
    assert_eq!(server_of(&mut log_in(gateway.address("stock"))), 0);
    let unknown = asked(&["drain", "stock"]).describe();
    assert!(unknown.contains("there is no server") && unknown.contains(&name), "{unknown}");
}

/// Two sshd with different host keys; one is killed.
#[test]
fn a_group_has_servers_with_keys_of_their_own() {
    let servers = [0, 1].map(|number| {
        let server = sshd_with(&format!("HostKeyAlgorithms {}\n", kind(number)));
        std::fs::write(server.home.join("who"), number.to_string()).expect("writing a file");
        server
    });
    let member = |number: usize| {
        format!(
            "protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{}\", {CHECKED}",
            servers[number].port(),
            keys().fingerprints[number]
        )
    };
    let gateway = gateway(&[
        ("north", member(0)),
        ("south", member(1)),
        ("both", "protocol: group, servers: [north, south]".to_owned()),
    ]);
    let mut client = log_in(gateway.address("both"));
    assert_eq!(server_of(&mut client), 0);
    let [north, _south] = servers;
    drop(north);
    let mut client = log_in(gateway.address("both"));
    assert_eq!(server_of(&mut client), 1);
    let is_login = |event: &Value| event["event"] == "login" && event["backend"] == "both";
    gateway.await_log(is_login, TIMEOUT);
}

/// The kind of `keys().host[number]`, as sshd_config names it.
fn kind(number: usize) -> &'static str {
    ["ssh-ed25519", "ecdsa-sha2-nistp256"][number]
}
