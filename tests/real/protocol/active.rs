//! PORT and EPRT: checked before any connection is made.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use super::{Plan, TIMEOUT, check_in_sync};
use crate::support::gateway::PROGRAM;
use crate::support::ports;
use crate::support::raw::Raw;

fn listen(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address);
    let listener = listener.unwrap_or_else(|error| panic!("listening on {address}: {error}"));
    // On Linux it is also the timeout of accept.
    let bounded = socket2::SockRef::from(&listener).set_read_timeout(Some(TIMEOUT));
    bounded.expect("a timeout above zero");
    listener
}

/// Asserts that nothing has connected. On the loopback a connection is established at once.
#[track_caller]
fn assert_no_connection(listener: &TcpListener) {
    listener.set_nonblocking(true).expect("a non-blocking listener");
    let came = listener.accept();
    assert!(came.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "the gateway connected");
}

fn port(listener: &TcpListener) -> String {
    let address = listener.local_addr().expect("an address");
    let [high, low] = address.port().to_be_bytes();
    format!("PORT {},{high},{low}", address.ip().to_string().replace('.', ","))
}

fn eprt(listener: &TcpListener) -> String {
    let address = listener.local_addr().expect("an address");
    format!("EPRT |1|{}|{}|", address.ip(), address.port())
}

#[test]
fn port_is_refused_if_active_mode_is_not_allowed() {
    let fixture = Plan::default().start();
    fixture.put("file", "bytes");
    let mut raw = fixture.client();
    let own = listen("127.0.0.1:0");
    for line in [port(&own), eprt(&own)] {
        raw.expect(&line, 502);
        raw.expect("RETR file", 425);
        check_in_sync(&mut raw);
    }
    assert_no_connection(&own);
}

#[test]
fn connects_to_the_clients_own_address_and_high_ports_only() {
    let fixture = Plan { active: true, ..Plan::default() }.start();
    fixture.put("file", "bytes");
    let mut raw = fixture.client();
    let foreign = listen("127.0.0.2:0");
    let low = (600..1024).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let low = low.expect("a free port below 1024; this needs root");
    for listener in [&foreign, &low] {
        for line in [port(listener), eprt(listener)] {
            raw.expect(&line, 504);
            raw.expect("RETR file", 425);
            check_in_sync(&mut raw);
        }
        assert_no_connection(listener);
    }
    raw.expect("EPRT |3|127.0.0.1|5000|", 522);
    raw.expect("EPRT |1|127.0.0.1|70000|", 501);
    raw.expect("PORT 127,0,0,1,0", 501);
    assert!(raw.expect("FEAT", 211).text.contains("\r\n EPRT\r\n"));
}

#[test]
fn uploads_and_downloads_in_active_mode() {
    let fixture = Plan { active: true, ..Plan::default() }.start();
    let mut raw = fixture.client();
    let own = listen("127.0.0.1:0");
    for line in [port(&own), eprt(&own)] {
        raw.expect(&line, 200);
        raw.expect("STOR file", 150);
        let (mut tcp, peer) = own.accept().expect("the gateway's connection");
        assert_eq!(peer.ip().to_string(), "127.0.0.1");
        tcp.write_all(b"bytes").expect("sending");
        drop(tcp);
        assert_eq!(raw.read().code, 226);
        raw.expect(&line, 200);
        raw.expect("RETR file", 150);
        let (mut tcp, _) = own.accept().expect("the gateway's connection");
        let mut bytes = Vec::new();
        tcp.read_to_end(&mut bytes).expect("receiving");
        drop(tcp);
        assert_eq!((raw.read().code, bytes.as_slice()), (226, &b"bytes"[..]));
    }
    let line = port(&own);
    drop(own);
    raw.expect(&line, 200);
    raw.expect("RETR file", 150);
    assert_eq!(raw.read().code, 425);
    check_in_sync(&mut raw);
}

/// RETR to the listener: returns the source port of the connection, and the connection.
fn accept_data_connection(raw: &mut Raw, own: &TcpListener) -> (u16, std::net::TcpStream) {
    raw.expect(&port(own), 200);
    raw.expect("RETR file", 150);
    let (tcp, peer) = own.accept().expect("the gateway's connection");
    (peer.port(), tcp)
}

#[test]
fn data_connections_come_from_the_source_ports() {
    let range = ports::block(2);
    let source_ports = format!(", source_ports: {}-{}", range.start(), range.end());
    let fixture = Plan { active: true, active_keys: &source_ports, ..Plan::default() }.start();
    fixture.put_large("file");
    let (own, other) = (listen("127.0.0.1:0"), listen("127.0.0.1:0"));
    let mut clients = [fixture.client(), fixture.client(), fixture.client()];
    let [first, second, third] = &mut clients;
    // Two connections to the same port of a client need two ports.
    let (one, mut data) = accept_data_connection(first, &own);
    let (two, _held) = accept_data_connection(second, &own);
    let mut seen = [one, two];
    seen.sort_unstable();
    assert_eq!(seen, [*range.start(), *range.end()]);
    third.expect(&port(&own), 200);
    third.expect("RETR file", 150);
    let refused = third.read().text;
    let expected = format!(
        "425 Can't open data connection: ports {}-{} (active.source_ports) cannot connect to {} now: in \
         use by other connections; use another port, EPSV or PASV.\r\n",
        range.start(),
        range.end(),
        own.local_addr().expect("an address"),
    );
    assert_eq!(refused, expected);
    // To another port, either is possible.
    let (again, _more) = accept_data_connection(third, &other);
    assert!(range.contains(&again), "{again}");
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = data.read(&mut buffer) {
        bytes += read;
    }
    assert_eq!((bytes, first.read().code), (64 << 20, 226));
}

/// As on most machines where the gateway does not run as root.
#[test]
fn a_low_source_port_requires_a_privilege() {
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    assert_eq!(start.expect("the kernel's setting").trim(), "1024", "this test needs the default");
    // Not 20: other tests' servers send from there.
    let free = (300..600).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let low = free.expect("a free port below 1024; this needs root");
    let keys = format!(", source_ports: {low}");
    let plan = Plan { active: true, active_keys: &keys, ..Plan::default() };
    let fixture = plan.start();
    fixture.put("file", "bytes");
    let own = listen("127.0.0.1:0");
    assert_eq!(accept_data_connection(&mut fixture.client(), &own).0, low);

    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-net_bind_service", "--bounding-set=-net_bind_service", PROGRAM]);
    let fixture = plan.start_by(command);
    fixture.put("file", "bytes");
    let mut raw = fixture.client();
    raw.expect(&port(&own), 200);
    raw.expect("RETR file", 150);
    let expected = format!(
        "425 Can't open data connection: the gateway may not connect from port {low} \
         (active.source_ports): ports below 1024 need CAP_NET_BIND_SERVICE; use EPSV or PASV.\r\n"
    );
    assert_eq!(raw.read().text, expected);
    check_in_sync(&mut raw);
    assert_no_connection(&own);
    assert_eq!(raw.download("RETR file").0, b"bytes");
}
