//! The assignment of data ports to sessions, and of connections at a port to sessions.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Fixture, Plan, TIMEOUT, check_in_sync};
use crate::support::gateway::lockgate;
use crate::support::raw::{Raw, Wire, client_config, dial, dial_from};
use crate::support::{PASSWORD, USER};

const RESUMED: &str = ", data_sessions: resumed";

fn local(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn port_of(reply: &str) -> u16 {
    let port = reply.rsplit('|').nth(1).and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {reply}"))
}

fn epsv(raw: &mut Raw) -> SocketAddr {
    SocketAddr::new(local(1), port_of(&raw.expect("EPSV", 229).text))
}

/// The connection ends with FIN or reset, without a byte.
#[track_caller]
fn is_closed(mut tcp: TcpStream) {
    match tcp.read(&mut [0]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn resumed_tls_sessions_of_one_address_share_a_port() {
    let fixture =
        Plan { tls: "required", tls_keys: RESUMED, data_ports: 1, ..Plan::default() }.start();
    let mut clients: Vec<_> = (0..20).map(|_| fixture.tls_client()).collect();
    // All wait at the port together, then all connect, in another order.
    let mut waiting: Vec<_> = clients.iter_mut().enumerate().collect();
    let mut ports: Vec<_> = waiting.iter_mut().map(|(_, raw)| epsv(raw)).collect();
    ports.dedup();
    assert_eq!(ports.len(), 1);
    assert_eq!(fixture.pool_metric("reserved"), Some(20));
    let connected: Vec<_> = waiting.iter().rev().map(|_| dial(ports[0])).collect();
    let mut open = Vec::new();
    for ((number, raw), tcp) in waiting.into_iter().zip(connected) {
        raw.expect(&format!("STOR file-{number}"), 150);
        let data = raw.data(tcp);
        assert!(data.resumed());
        open.push((number, raw, data));
    }
    for (number, raw, mut data) in open.into_iter().rev() {
        data.write_all(format!("bytes of {number}").as_bytes()).expect("sending");
        data.finish().expect("ending the data connection");
        drop(data);
        assert_eq!(raw.read().code, 226);
    }
    for number in 0..20 {
        let name = format!("file-{number}");
        assert_eq!(fixture.get(&name), format!("bytes of {number}").as_bytes());
    }
    assert_eq!(fixture.pool_metric("stray_total"), Some(0));
}

#[test]
fn sessions_with_a_common_session_store_do_not_share_a_port() {
    let plan = Plan { tls: "required", tls_keys: RESUMED, ..Plan::default() };
    for (data_ports, both) in [(1, false), (2, true)] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let fixture = Plan { data_ports, pool_keys: ", wait: 200ms", ..plan }.start();
            let store = client_config(&[version]);
            let client = || {
                let mut raw = fixture.connect();
                raw.set_tls(store.clone());
                raw.auth_tls();
                raw.login(USER, PASSWORD);
                raw.expect("TYPE I", 200);
                raw
            };
            let (mut first, mut second) = (client(), client());
            let port = epsv(&mut first);
            let answer = second.command("EPSV");
            assert_eq!(answer.code == 229, both, "{}", answer.text);
            assert!(!both || port_of(&answer.text) != port.port());
        }
    }
}

/// Two handshakes of one client at once: neither offers a session of its own, and the last session in
/// the store is resumed for both. Each file is stored under its own name, or not at all.
#[test]
fn simultaneous_sessions_of_one_client_do_not_mix_their_files() {
    let plan = Plan { tls: "required", tls_keys: RESUMED, data_ports: 1, ..Plan::default() };
    let fixture = Plan { pool_keys: ", wait: 6s", ..plan }.start();
    let stores = [0, 1].map(|_| client_config(&[&rustls::version::TLS13]));
    let mut raws = stores.clone().map(|store| {
        let mut raw = fixture.connect();
        raw.set_tls(store);
        raw
    });
    // Both get their 150 before either connects.
    raws.iter_mut().for_each(|raw| drop(raw.expect("AUTH TLS", 234)));
    for raw in &mut raws {
        raw.start_tls();
        raw.expect("PBSZ 0", 200);
        raw.expect("PROT P", 200);
        raw.protect();
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
    }
    let [first, second] = &mut raws;
    let port = epsv(first);
    assert_eq!(second.command("EPSV").code, 425);
    first.expect("STOR first", 150);
    // In the shared store the second's session replaced the first's.
    let mut stolen = String::new();
    if let Ok(mut data) = Wire::try_tls(dial(port), stores[1].clone()) {
        let _ = data.write_all(b"of the first");
        let _ = data.read_to_string(&mut stolen);
    }
    assert_eq!((first.read().code, fixture.get("first").len()), (425, 0));
    // When nothing of the first can still arrive.
    epsv(second);
    assert_eq!(second.upload("STOR second", b"of the second").code, 226);
    assert_eq!(fixture.get("second"), b"of the second");
}

/// Some clients use a TLS 1.3 ticket once, and an upload brings no new one: the next login with the
/// same store then has no session to offer.
#[test]
fn a_session_with_used_tickets_does_not_share_a_port() {
    let plan = Plan { tls: "required", tls_keys: RESUMED, data_ports: 1, ..Plan::default() };
    let fixture = Plan { pool_keys: ", wait: 200ms", ..plan }.start();
    let mut first = fixture.tls_client();
    assert_eq!(first.upload("STOR first", b"of the first").code, 226);
    let mut second = fixture.tls_client();
    let port = epsv(&mut first);
    assert_eq!(second.command("EPSV").code, 425);
    // Each has resumed itself since the other logged in.
    let tcp = dial(port);
    first.expect("STOR first", 150);
    first.data(tcp).finish().expect("an empty file");
    assert_eq!(first.read().code, 226);
    assert_eq!(second.upload("STOR second", b"of the second").code, 226);
    assert_eq!(epsv(&mut first), epsv(&mut second));
}

#[test]
fn a_stranger_that_connects_first_does_not_disturb_the_transfer() {
    let fixture =
        Plan { tls: "required", tls_keys: RESUMED, data_ports: 1, ..Plan::default() }.start();
    fixture.put("there", "secret");
    let mut raw = fixture.tls_client();
    for round in 0..3 {
        let port = epsv(&mut raw);
        let hello = dial(port);
        // These send nothing, or bytes that are not TLS, and stay open.
        let silent = dial(port);
        let mut rubbish = dial(port);
        rubbish.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sending");
        let own = dial(port);
        raw.expect("RETR there", 150);
        let versions = rustls::ALL_VERSIONS;
        let thief = std::thread::spawn(move || {
            // Answered or closed: no bytes arrive.
            let mut bytes = Vec::new();
            if let Ok(mut stream) = Wire::try_tls(hello, client_config(versions)) {
                let _ = stream.read_to_end(&mut bytes);
            }
            bytes
        });
        let mut bytes = Vec::new();
        raw.data(own).read_to_end(&mut bytes).expect("the file");
        assert_eq!(bytes, b"secret", "round {round}");
        assert_eq!(raw.read().code, 226);
        assert_eq!(thief.join().expect("the stranger"), b"");
        let mut end = Vec::new();
        let _ = rubbish.read_to_end(&mut end);
        assert_eq!(end, b"");
        drop(silent);
        check_in_sync(&mut raw);
    }
}

#[test]
fn a_connection_closed_before_tls_does_not_end_the_reservation() {
    let fixture = Plan { tls: "required", tls_keys: RESUMED, ..Plan::default() }.start();
    fixture.put("there", "secret");
    let mut raw = fixture.tls_client();
    let port = epsv(&mut raw);
    raw.expect("RETR there", 150);
    drop(dial(port));
    drop(Wire::try_tls(dial(port), client_config(rustls::ALL_VERSIONS)));
    fixture.await_pool_metric("stray_total", 2);
    // As if the client's SYN was lost twice.
    std::thread::sleep(Duration::from_secs(3));
    let (mut own, mut bytes) = (raw.data(dial(port)), Vec::new());
    own.read_to_end(&mut bytes).expect("the file");
    assert_eq!((&bytes[..], raw.read().code), (&b"secret"[..], 226));

    // Before the timeout for a data connection.
    let started = Instant::now();
    drop(raw.begin("RETR there"));
    let reply = raw.read();
    assert_eq!(reply.code, 425, "{}", reply.text);
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    check_in_sync(&mut raw);
}

#[test]
fn pasv_waits_for_a_port_in_fifo_order() {
    let fixture = Plan { data_ports: 1, pool_keys: ", wait: 30s", ..Plan::default() }.start();
    fixture.put("there", "bytes");
    let (mut first, mut second, mut third) = (fixture.client(), fixture.client(), fixture.client());
    let port = epsv(&mut first);
    let queued = |count| fixture.await_pool_metric("queued", count);
    second.send_bytes(b"EPSV\r\n");
    queued(1);
    third.send_bytes(b"EPSV\r\n");
    queued(2);
    assert!(second.quiet_for(Duration::from_millis(100)));
    let mut data = dial(port);
    // The port is free as soon as the connection is accepted.
    assert_eq!(port_of(&second.read().text), port.port());
    assert!(third.quiet_for(Duration::from_millis(100)));
    first.expect("RETR there", 150);
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).expect("the file");
    assert_eq!((bytes.as_slice(), first.read().code), (&b"bytes"[..], 226));
    let _data = dial(port);
    assert_eq!(third.read().code, 229);
    queued(0);
}

#[test]
fn a_client_that_disconnects_leaves_the_queue_for_ports() {
    let plan = Plan { tls: "optional", tls_keys: RESUMED, data_ports: 1, ..Plan::default() };
    let fixture = Plan { pool_keys: ", wait: 10m", ..plan }.start();
    fixture.put("there", "bytes");
    let mut holder = fixture.client();
    let port = epsv(&mut holder);
    let mut leaving: Vec<_> = (0..6).map(|_| fixture.client()).collect();
    leaving.push(fixture.tls_client());
    // In clear, so that the port is not shared.
    leaving[6].expect("PROT C", 200);
    for (at, raw) in leaving.iter_mut().enumerate() {
        raw.send_bytes(b"EPSV\r\n");
        fixture.await_pool_metric("queued", at as u64 + 1);
    }
    let mut alive = fixture.client();
    // Commands that arrive meanwhile are answered later.
    alive.send_bytes(b"EPSV\r\nNOOP\r\n");
    fixture.await_pool_metric("queued", 8);
    drop(leaving);
    fixture.await_pool_metric("queued", 1);
    assert!(alive.quiet_for(Duration::from_millis(50)));
    // With the connection accepted, the port is free for the session that still waits.
    let _data = dial(port);
    assert_eq!(port_of(&alive.read().text), port.port());
    assert_eq!(alive.read().code, 200);
    fixture.await_pool_metric("queued", 0);
    assert_eq!(fixture.pool_metric("reserved"), Some(1));
}

#[test]
fn data_connections_refused_before_a_transfer_are_logged() {
    let plan =
        Plan { tls: "required", data_ports: 1, pool_keys: ", wait: 50ms", ..Plan::default() };
    let fixture = plan.start();
    let refused = |command: &str, fault: &str, expected: &str, setting: &str| {
        let event = fixture.gateway.await_log(
            |event| {
                event["message"] == "data connection refused"
                    && event["operation"] == command
                    && event["reason"].as_str().is_some_and(|reason| reason.contains(expected))
            },
            TIMEOUT,
        );
        assert_eq!(event["fault"], fault, "{event}");
        assert!(event["detail"].as_str().unwrap_or_default().contains(setting), "{event}");
        assert!(event["session"].is_u64() && event["peer"].is_string(), "{event}");
    };
    let mut raw = fixture.tls_client();
    raw.expect("PROT C", 534);
    raw.expect("PORT 127,0,0,1,200,1", 502);
    refused("PORT", "policy", "active mode is not enabled", "`active`");
    raw.expect("RETR there", 425);
    refused("transfer", "client", "Use PORT or PASV first", "");
    epsv(&mut raw);
    let mut clear = fixture.connect();
    clear.expect("AUTH TLS", 234);
    clear.start_tls();
    clear.login(USER, PASSWORD);
    for command in ["EPSV", "PASV"] {
        clear.expect(command, 425);
        refused(command, "gateway", "no data port became free within 50ms", "");
    }
    clear.expect("LIST", 521);
    refused("transfer", "policy", "PROT P first", "`tls.mode: required`");
}

#[test]
fn a_reservation_without_a_connection_expires() {
    let limits = "data_connect_timeout: 1s";
    let fixture =
        Plan { data_ports: 1, limits, pool_keys: ", wait: 30s", ..Plan::default() }.start();
    fixture.put("there", "bytes");
    let (mut idle, mut busy) = (fixture.client(), fixture.client());
    let port = epsv(&mut idle);
    // Another address is not affected.
    let (mut other, _) = Raw::connect_from(local(9), fixture.address()).expect("connecting");
    other.login(USER, PASSWORD);
    other.expect("TYPE I", 200);
    assert_eq!(other.download("RETR there").0, b"bytes");
    let started = Instant::now();
    assert_eq!(busy.download("RETR there").0, b"bytes");
    assert!(started.elapsed() > Duration::from_millis(500), "{:?}", started.elapsed());
    let expired = fixture.pool_metric("expired_total");
    assert_eq!(expired, Some(1));
    idle.expect("RETR there", 150);
    let reply = idle.read();
    assert!(reply.code == 425 && reply.text.contains("in time"), "{}", reply.text);
    assert_eq!(idle.download("RETR there").0, b"bytes");
    assert_ne!(port.port(), 0);
}

#[test]
fn a_new_pasv_releases_the_old_port() {
    let fixture = Plan { data_ports: 1, ..Plan::default() }.start();
    fixture.put("there", "bytes");
    let mut raw = fixture.client();
    for _ in 0..4 {
        epsv(&mut raw);
    }
    assert_eq!(fixture.pool_metric("reserved"), Some(1));
    assert_eq!(raw.download("RETR there").0, b"bytes");
}

/// The next upload would get its bytes, or be empty, and be answered with 226.
#[test]
fn a_connection_left_by_a_refused_command_is_not_that_of_the_next() {
    let fixture = Plan { data_ports: 1, ..Plan::default() }.start();
    let mut raw = fixture.client();
    raw.expect("TYPE I", 200);
    for round in 0..20 {
        let mut left = dial(epsv(&mut raw));
        if round % 4 < 2 {
            left.write_all(b"left").expect("sending");
        }
        let left = (round % 4 > 0).then_some(left);
        // Otherwise the client sends EPSV again.
        match round % 5 {
            0 => drop(raw.expect("RETR missing", 550)),
            1 => drop(raw.expect("STOR missing/file", 550)),
            2 => drop(raw.expect("NLST missing", 550)),
            _ => {}
        }
        let content = format!("content {round}");
        let name = format!("file-{round}");
        assert_eq!(raw.upload(&format!("STOR {name}"), content.as_bytes()).code, 226, "{round}");
        assert_eq!(raw.download(&format!("RETR {name}")).0, content.as_bytes(), "{round}");
        drop(left);
    }
}

#[test]
fn reservations_per_address_are_limited() {
    let keys = ", reservations_per_address: 2, wait: 100ms";
    let fixture = Plan { data_ports: 8, pool_keys: keys, ..Plan::default() }.start();
    let mut clients = [fixture.client(), fixture.client(), fixture.client()];
    epsv(&mut clients[0]);
    epsv(&mut clients[1]);
    let text = clients[2].expect("EPSV", 425).text;
    assert!(text.contains("reservations_per_address"), "{text}");
}

/// A client whose data connections come from another address than its control connection.
fn elsewhere(fixture: &Fixture, data_from: IpAddr) -> Raw {
    let mut raw = fixture.client();
    raw.set_own(data_from);
    raw
}

#[test]
fn client_match_network_accepts_the_clients_network() {
    let fixture = Plan { pool_keys: ", client_match: network", ..Plan::default() }.start();
    fixture.put("there", "bytes");
    let mut near = elsewhere(&fixture, local(77));
    assert_eq!(near.download("RETR there").0, b"bytes");
    // 127.0.1.0/24 is another network.
    let port = epsv(&mut near);
    is_closed(dial_from(Ipv4Addr::new(127, 0, 1, 1).into(), port).expect("connecting"));

    let strict = Plan::default().start();
    let mut raw = strict.client();
    let port = epsv(&mut raw);
    is_closed(dial_from(local(77), port).expect("connecting"));
    let seen = ports(&strict);
    let stray = &seen["pools"][0]["ports"].as_array().expect("ports")[..];
    let stray = stray.iter().find(|seen| seen["port"] == port.port()).expect("the port");
    let from = stray["last_stray"]["from"].as_str().expect("where from");
    assert!(from.starts_with("127.0.0.77:"), "{from}");
}

#[test]
fn client_match_session_accepts_any_address_that_resumes() {
    let plan = Plan { tls: "optional", tls_keys: RESUMED, data_ports: 1, ..Plan::default() };
    let fixture = Plan { pool_keys: ", client_match: session", ..plan }.start();
    fixture.put("there", "secret");
    let mut raw = fixture.tls_client();
    raw.set_own(Ipv4Addr::new(127, 1, 2, 3).into());
    assert_eq!(raw.download("RETR there").0, b"secret");
    assert_eq!(raw.upload("STOR up", b"bytes").code, 226);
    // In clear nothing identifies the session of a connection.
    let text = fixture.client().expect("EPSV", 425).text;
    assert!(text.contains("PROT P"), "{text}");
}

fn ports(fixture: &Fixture) -> Value {
    fixture.gateway.admin_json(&["ports"])
}

#[test]
fn lockgate_ports_shows_reservations_and_transfers() {
    let fixture = Plan { data_ports: 1, ..Plan::default() }.start();
    fixture.put_large("large");
    let mut active = fixture.client();
    let data = active.begin("RETR large");
    let (mut waiting, _) = Raw::connect_from(local(5), fixture.address()).expect("connecting");
    waiting.login(USER, PASSWORD);
    let port = epsv(&mut waiting).port();
    let seen = ports(&fixture);
    let pool = &seen["pools"][0];
    assert_eq!((&pool["pool"], pool["queued"].as_u64()), (&Value::from("pool"), Some(0)));
    let of_port = &pool["ports"][0];
    let counts = ["port", "reserved", "active"].map(|key| of_port[key].as_u64());
    assert_eq!(counts, [Some(port.into()), Some(1), Some(1)]);
    let mut owners: Vec<_> = of_port["owners"].as_array().expect("owners").iter().collect();
    owners.sort_by_key(|owner| owner["session"].as_u64());
    let states: Vec<_> = owners.iter().map(|owner| (&owner["client"], &owner["state"])).collect();
    let expected = [("127.0.0.1", "active"), ("127.0.0.5", "reserved")];
    for ((client, state), expected) in states.into_iter().zip(expected) {
        assert_eq!((client.as_str(), state.as_str()), (Some(expected.0), Some(expected.1)));
    }
    let socket = fixture.gateway.folder().join("admin.sock");
    let socket = socket.to_str().expect("a UTF-8 path");
    let table = lockgate(&["ports", "--socket", socket], "").expect_ok("ports");
    let table = String::from_utf8(table.stdout).expect("text");
    assert!(table.contains("1 reserved, 1 active") && table.contains("127.0.0.5"), "{table}");
    drop(data);
    let output = lockgate(&["ports", "--socket", "/nowhere/admin.sock"], "").describe();
    assert!(output.contains("cannot connect to the gateway at /nowhere/admin.sock"), "{output}");
}
