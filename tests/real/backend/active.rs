//! `data_mode: active`: the server connects to a port of the gateway's pool.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::sync::mpsc;

use socket2::{Domain, Socket, Type};

use super::{client, configuration, server};
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::gateway::Gateway;
use crate::support::pattern;
use crate::support::ports;
use crate::support::raw::Raw;
use crate::support::scripted::{Peer, Scripted};
use crate::support::servers::{NAMES, endpoint};

/// A gateway with the listeners `back` and `back-tls`, whose server connects to a pool of its own.
fn before(keys: &str, count: u16, pool_keys: &str) -> (Gateway, RangeInclusive<u16>) {
    let range = ports::block(count);
    let keys = format!("{keys}, data_mode: active, data_ports: servers");
    let pool = format!(
        "data_ports:\n  servers: {{ range: {}-{}, listen: [\"127.0.0.1\"]{pool_keys} }}\n",
        range.start(),
        range.end()
    );
    let config = configuration(&[("back", keys)]).replacen("data_ports:\n", &pool, 1);
    let config = format!("{config}metrics: {{ address: \"127.0.0.1:0\" }}\n");
    (Gateway::start(&config), range)
}

#[test]
fn no_data_command_is_sent_ahead_of_a_transfer() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.serve()
    });
    let (gateway, _) = before(&format!("address: \"{}\"", backend.address), 1, "");
    let mut client = client(&gateway, "back");
    client.expect("EPSV", 229);
    client.expect("PASV", 227);
    client.expect("NOOP", 200);
    assert_eq!((backend.count("EPSV"), backend.count("PORT")), (0, 0));
}

fn cell(name: &'static str) -> Vec<Failure> {
    let endpoint = endpoint(name);
    let (gateway, _) = before(&server(&endpoint), 2, "");
    let bytes = pattern((1 << 20) + 3);
    let mut failures = Vec::new();
    for listener in ["back", "back-tls"] {
        let mut client = client(&gateway, listener);
        let file = format!("active-{name}-{listener}.bin");
        // The second round needs another port.
        for round in 1..=2 {
            let stored = client.upload(&format!("STOR {file}"), &bytes);
            let on_disk = std::fs::read(endpoint.home.join(&file)).unwrap_or_default();
            if stored.code != 226 || on_disk != bytes {
                failures.push(Failure::new("up", format!("{listener} {round}: {}", stored.text)));
            }
            let (read, last) = client.download(&format!("RETR {file}"));
            if last.code != 226 || read != bytes {
                failures.push(Failure::new("down", format!("{listener} {round}: {}", last.text)));
            }
        }
        let (names, last) = client.download("NLST");
        if last.code != 226 || !String::from_utf8_lossy(&names).contains(&file) {
            failures.push(Failure::new("list", format!("{listener}: {}", last.text)));
        }
        client.expect(&format!("DELE {file}"), 250);
        client.expect("QUIT", 221);
    }
    failures
}

#[test]
fn uploads_and_downloads_in_active_mode() {
    let cells = NAMES.into_iter();
    let cells = cells.map(|name| Cell { name: name.to_owned(), run: Box::new(move || cell(name)) });
    run_all("active", cells.collect());
}

const SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Accepts PORT and returns its address.
fn port(peer: &mut Peer) -> io::Result<SocketAddr> {
    let line = peer.until("PORT")?;
    peer.reply("200 PORT it is")?;
    let numbers: Vec<u8> =
        line["PORT ".len()..].split(',').map(|number| number.parse().expect("a byte")).collect();
    let [a, b, c, d, high, low] = numbers[..] else { panic!("{line}") };
    Ok(SocketAddr::new([a, b, c, d].into(), u16::from_be_bytes([high, low])))
}

/// The server's data connection.
fn dial(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn give(peer: &mut Peer, to: SocketAddr) -> io::Result<()> {
    peer.reply("150 here it comes")?;
    dial(SERVER, to)?.write_all(b"bytes")?;
    peer.reply("226 that was all")
}

#[track_caller]
fn read(client: &mut Raw) {
    let (bytes, last) = client.download("RETR a");
    assert_eq!((bytes.as_slice(), last.code), (&b"bytes"[..], 226), "{}", last.text);
}

#[test]
fn eprt_is_used_if_port_is_refused() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("PORT", "500 PORT is not known here");
        loop {
            let line = peer.until("EPRT")?;
            let fields: Vec<&str> = line.split('|').collect();
            let ["EPRT ", "1", address, port, ""] = fields[..] else { panic!("{line}") };
            peer.reply("200 EPRT it is")?;
            peer.until("RETR")?;
            give(peer, format!("{address}:{port}").parse().expect("an address"))?;
        }
    });
    let (gateway, _) = before(&format!("address: \"{}\"", backend.address), 1, "");
    for _ in 0..2 {
        let mut client = client(&gateway, "back");
        read(&mut client);
        read(&mut client);
    }
    assert_eq!((backend.count("PORT"), backend.count("EPRT")), (1, 4));
}

#[test]
fn the_refusal_of_port_is_reported_if_eprt_is_refused_too() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("PORT", "501 not that address");
        peer.answer("EPRT", "500 EPRT is not known here");
        peer.serve()
    });
    let (gateway, _) = before(&format!("address: \"{}\"", backend.address), 1, "");
    let mut client = client(&gateway, "back");
    client.expect("EPSV", 229);
    let refusal = client.command("RETR a").text;
    assert!(refusal.contains("not that address"), "{refusal}");
    assert_eq!((backend.count("PORT"), backend.count("EPRT")), (1, 1));
    client.expect("NOOP", 200);
}

#[test]
fn only_ports_of_the_pool_are_sent() {
    let (sender, receiver) = mpsc::channel();
    let backend = Scripted::start(move |peer| {
        peer.greet()?;
        loop {
            let to = port(peer)?;
            sender.send(to).expect("the test waits");
            peer.until("RETR")?;
            give(peer, to)?;
        }
    });
    let (gateway, range) = before(&format!("address: \"{}\"", backend.address), 3, "");
    let mut clients: Vec<Raw> = (0..3).map(|_| client(&gateway, "back")).collect();
    for _ in 0..10 {
        clients.iter_mut().for_each(read);
    }
    let named: Vec<SocketAddr> = receiver.try_iter().collect();
    assert_eq!(named.len(), 30);
    let fits = |to: &SocketAddr| to.ip() == IpAddr::V4(SERVER) && range.contains(&to.port());
    assert!(named.iter().all(fits), "{named:?} outside of {range:?}");
    let transfers = gateway.metric("lockgate_data_ports_active{pool=\"servers\"}");
    assert_eq!(transfers, Some(0));
}

#[test]
fn the_server_gets_the_advertised_address() {
    let (sender, receiver) = mpsc::channel();
    let backend = Scripted::start(move |peer| {
        peer.greet()?;
        let to = port(peer)?;
        sender.send(to).expect("the test waits");
        peer.until("RETR")?;
        // As NAT would do.
        give(peer, SocketAddr::new(SERVER.into(), to.port() - 7))?;
        peer.serve()
    });
    let advertise = ", advertise: [{ clients: 127.0.0.0/8, address: 203.0.113.7, port_offset: 7 }]";
    let (gateway, range) = before(&format!("address: \"{}\"", backend.address), 1, advertise);
    read(&mut client(&gateway, "back"));
    let to = receiver.recv().expect("a PORT command");
    assert_eq!(to, SocketAddr::new([203, 0, 113, 7].into(), range.start() + 7));
}

#[test]
fn a_stranger_does_not_disturb_the_transfer() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        let to = port(peer)?;
        peer.until("RETR")?;
        let mut stranger = dial(Ipv4Addr::new(127, 0, 0, 9), to)?;
        stranger.set_read_timeout(Some(crate::support::scripted::TIMEOUT))?;
        let end = stranger.read(&mut [0]);
        assert!(!matches!(end, Ok(1..)), "the stranger was served");
        give(peer, to)?;
        peer.serve()
    });
    let (gateway, _) = before(&format!("address: \"{}\"", backend.address), 1, "");
    read(&mut client(&gateway, "back"));
    assert_eq!(gateway.metric("lockgate_data_ports_stray_total{pool=\"servers\"}"), Some(1));
}

/// Two sessions and one port: the second waits until the first has its connection, or times out.
#[test]
fn a_transfer_without_a_free_port_waits_and_fails() {
    let (announced, first_waits) = mpsc::channel();
    let (go_on, may_connect) = mpsc::channel::<()>();
    let may_connect = std::sync::Mutex::new(may_connect);
    let backend = Scripted::start(move |peer| {
        peer.greet()?;
        loop {
            let to = port(peer)?;
            if peer.until("RETR")?.ends_with("slow") {
                peer.reply("150 soon")?;
                announced.send(()).expect("the test waits");
                may_connect.lock().expect("no panic").recv().expect("the test's word");
                dial(SERVER, to)?.write_all(b"slow")?;
                peer.reply("226 that was all")?;
            } else {
                give(peer, to)?;
            }
        }
    });
    let address = format!("address: \"{}\"", backend.address);
    let (gateway, _) = before(&address, 1, ", wait: 200ms");
    let (mut slow, mut fast) = (client(&gateway, "back"), client(&gateway, "back"));
    let mut data = slow.passive();
    slow.send_bytes(b"RETR slow\r\n");
    first_waits.recv().expect("the server has announced it");
    let _unused = fast.passive();
    let refused = fast.expect("RETR a", 425).text;
    let start = "425 Can't open data connection: the gateway has no port";
    assert!(refused.starts_with(start), "{refused}");
    go_on.send(()).expect("the server waits");
    assert_eq!(slow.read().code, 150);
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).expect("the file");
    assert_eq!((bytes.as_slice(), slow.read().code), (&b"slow"[..], 226));
    read(&mut fast);
}

#[test]
fn a_server_that_does_not_connect_is_reported_with_its_reply() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        port(peer)?;
        peer.until("RETR")?;
        peer.reply("150 soon")?;
        // The gateway has released the port by then.
        std::thread::sleep(std::time::Duration::from_millis(500));
        peer.reply("425 I could not connect")?;
        let to = port(peer)?;
        peer.until("RETR")?;
        give(peer, to)?;
        peer.serve()
    });
    let address = format!("address: \"{}\", connect_timeout: 300ms", backend.address);
    let (gateway, _) = before(&address, 1, "");
    let mut client = client(&gateway, "back");
    let _unused = client.passive();
    assert_eq!(client.expect("RETR a", 425).text, "425 I could not connect\r\n");
    read(&mut client);
}

/// A missing file takes no port from others.
#[test]
fn a_refusal_releases_the_port_at_once() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        loop {
            let to = port(peer)?;
            if peer.until("RETR")?.ends_with("none") {
                peer.reply("550 no such file")?;
            } else {
                give(peer, to)?;
            }
        }
    });
    let (gateway, _) = before(&format!("address: \"{}\"", backend.address), 1, ", wait: 100ms");
    let (mut one, mut other) = (client(&gateway, "back"), client(&gateway, "back"));
    for _ in 0..3 {
        let _unused = one.passive();
        one.expect("RETR none", 550);
        read(&mut other);
    }
}
