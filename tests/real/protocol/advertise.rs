//! Replies to PASV and EPSV (RFC 959, RFC 2428): the addresses of data ports.

use std::io::{self, Read};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

struct Front {
    gateway: Gateway,
    folder: TempDir,
}

/// A gateway with a local backend. Each listener has its own pool of one port: its name, address, port,
/// and the pool's other keys.
fn front(listeners: &[(&str, &str, u16, &str)]) -> Front {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut ports, mut pools) = (String::new(), String::new());
    for (name, address, port, keys) in listeners {
        ports += &format!(
            "  {name}: {{ protocol: ftp, address: \"{address}\", data_ports: {name}, \
             active: {{ allowed: true }} }}\n"
        );
        pools += &format!("  {name}: {{ range: {port}, {keys} }}\n");
    }
    let gateway = Gateway::start(&format!(
        "listeners:\n{ports}data_ports:\n{pools}backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        folder.path(),
        argon2_hash(),
    ));
    Front { gateway, folder }
}

impl Front {
    /// A client with this source address.
    fn client(&self, listener: &str, own: &str) -> Raw {
        let own: IpAddr = own.parse().expect("an address");
        let connected = Raw::connect_from(own, self.gateway.address(listener));
        let (mut raw, greeting) = connected.expect("connecting");
        assert_eq!(greeting.code, 220, "{}", greeting.text);
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
        raw
    }
}

#[track_caller]
fn expect_text(raw: &mut Raw, line: &str, reply: &str) {
    assert_eq!(raw.command(line).text, format!("{reply}\r\n"), "{line}");
}

fn passive(address: &str, port: u16) -> String {
    let [high, low] = port.to_be_bytes();
    format!("227 Entering Passive Mode ({},{high},{low}).", address.replace('.', ","))
}

fn extended(port: u16) -> String {
    format!("229 Entering Extended Passive Mode (|||{port}|)")
}

/// Relays one connection from `at` to `to` with the source address `from`, as NAT does.
fn translate(at: SocketAddr, from: IpAddr, to: SocketAddr) -> thread::JoinHandle<io::Result<()>> {
    let listener = TcpListener::bind(at).expect("the translator's port");
    thread::spawn(move || {
        let (mut outer, _) = listener.accept()?;
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect(&to.into())?;
        let mut inner = TcpStream::from(socket);
        io::copy(&mut inner, &mut outer)?;
        outer.shutdown(Shutdown::Write)
    })
}

const OTHER: &str = "522 EPSV cannot name the address for data connections (listen and advertise of \
                     the pool): use PASV.";

const NOT_IPV4: &str = "425 Can't open data connection: PASV names an IPv4 address, and this connection \
                        is IPv6; use EPSV.";

#[test]
fn pasv_advertises_addresses_and_ports_by_network() {
    let block = ports::block(3);
    let (mapped, port, higher) = (*block.start(), block.start() + 1, *block.end());
    let keys = "listen: 127.0.0.1, advertise: [\
                { clients: 127.0.0.2, address: 203.0.113.7, port_offset: 1 }, \
                { clients: 127.0.0.3, port_offset: -1 }, \
                { clients: 127.0.0.4, address: localhost }, \
                { clients: 127.0.0.5, address: nowhere.invalid }]";
    let front = front(&[("front", "127.0.0.1:0", port, keys)]);
    std::fs::write(front.folder.path().join("file"), "bytes").expect("writing a file");

    let mut own = front.client("front", "127.0.0.1");
    expect_text(&mut own, "PASV", &passive("127.0.0.1", port));
    expect_text(&mut own, "EPSV", &extended(port));

    let mut elsewhere = front.client("front", "127.0.0.2");
    expect_text(&mut elsewhere, "EPSV", OTHER);
    expect_text(&mut elsewhere, "PASV", &passive("203.0.113.7", higher));

    let mut shifted = front.client("front", "127.0.0.3");
    expect_text(&mut shifted, "PASV", &passive("127.0.0.1", mapped));
    expect_text(&mut shifted, "EPSV", &extended(mapped));
    let at = |port| SocketAddr::new([127, 0, 0, 1].into(), port);
    let translator = translate(at(mapped), [127, 0, 0, 3].into(), at(port));
    let mut data = TcpStream::connect(at(mapped)).expect("the advertised port");
    shifted.expect("RETR file", 150);
    let mut bytes = String::new();
    data.read_to_string(&mut bytes).expect("the file");
    assert_eq!((bytes.as_str(), shifted.read().code), ("bytes", 226));
    translator.join().expect("no panic").expect("the translator");

    front.gateway.await_log(|event| event["message"] == "advertised name resolved", TIMEOUT);
    let mut named = front.client("front", "127.0.0.4");
    expect_text(&mut named, "PASV", &passive("127.0.0.1", port));
    expect_text(&mut named, "EPSV", &extended(port));

    let mut unknown = front.client("front", "127.0.0.5");
    let refusal = unknown.expect("PASV", 425).text;
    let start = "425 Can't open data connection: ";
    assert!(refusal.starts_with(start) && refusal.contains("nowhere.invalid"), "{refusal}");
    assert!(refusal.ends_with("try again.\r\n"), "{refusal}");
    expect_text(&mut unknown, "EPSV", OTHER);

    // The failed PASV is logged; the EPSVs, after which clients try PASV, are not.
    front.gateway.await_log(|event| event["event"] == "data-connection", TIMEOUT);
    let log = front.gateway.log_tail(usize::MAX);
    assert_eq!(log.matches("\"event\":\"data-connection\"").count(), 1, "{log}");
}

#[test]
fn epsv_refuses_other_protocols_and_epsv_all_refuses_other_commands() {
    let port = ports::one();
    let front = front(&[("front", "127.0.0.1:0", port, "listen: 127.0.0.1")]);
    let mut raw = front.client("front", "127.0.0.1");
    expect_text(&mut raw, "EPSV 1", &extended(port));
    for line in ["EPSV 2", "EPSV 3", "EPSV 0"] {
        expect_text(&mut raw, line, "522 Network protocol not supported, use (1).");
    }
    raw.expect("EPSV one", 501);
    expect_text(&mut raw, "EPSV ALL", "200 EPSV ALL ok.");
    expect_text(&mut raw, "PASV", "501 Illegal PASV command: EPSV ALL in effect.");
    for line in ["PORT 127,0,0,1,200,0", "EPRT |1|127.0.0.1|51200|"] {
        expect_text(&mut raw, line, "501 Illegal PORT command: EPSV ALL in effect.");
    }
    expect_text(&mut raw, "EPSV", &extended(port));
}

#[test]
fn pasv_over_ipv6_is_refused() {
    let block = ports::block(2);
    let (port, other) = (*block.start(), *block.end());
    let elsewhere = "listen: \"::1\", advertise: [{ address: \"2001:db8::7\" }]";
    let front = front(&[
        ("own", "[::1]:0", port, "listen: [\"::1\"], advertise: [{ address: 203.0.113.7 }]"),
        ("elsewhere", "[::1]:0", other, elsewhere),
    ]);
    std::fs::write(front.folder.path().join("file"), "bytes").expect("writing a file");
    let mut raw = front.client("own", "::1");
    expect_text(&mut raw, "PASV", NOT_IPV4);
    expect_text(&mut raw, "EPSV 2", &extended(port));
    for line in ["EPSV 1", "EPSV 3"] {
        expect_text(&mut raw, line, "522 Network protocol not supported, use (2).");
    }
    let (bytes, last) = raw.download("RETR file");
    assert_eq!((bytes.as_slice(), last.code), (&b"bytes"[..], 226));
    let mut raw = front.client("elsewhere", "::1");
    expect_text(
        &mut raw,
        "EPSV",
        "522 EPSV cannot name the address for data connections (listen and advertise of the pool).",
    );
    expect_text(&mut raw, "PASV", NOT_IPV4);
}
