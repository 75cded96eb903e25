//! Servers that stand in for each other.

mod identities;
mod load;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{configuration, gateway};
use crate::support::gateway::{Gateway, lockgate};
use crate::support::raw::{Raw, Reply};
use crate::support::servers::{Server, private_vsftpd};
use crate::support::{PASSWORD, USER, ports};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const CHECKED: &str = "connect_timeout: 4s, health: { every: 1s, timeout: 5s }";
/// For a server to go down or to return: its back-off, and checks.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A vsftpd that says which it is.
fn vsftpd(number: usize, port: u16) -> Server {
    named(private_vsftpd(port), number)
}

fn named(server: Server, number: usize) -> Server {
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

fn lists(servers: &[u16]) -> String {
    let addresses: Vec<_> = servers.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    format!("address: [{}]", addresses.join(", "))
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
