//! PORT and EPRT: judged before anything is connected.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;

use super::{Plan, in_step};

fn listen(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address);
    listener.unwrap_or_else(|error| panic!("listening on {address}: {error}"))
}

/// Nobody has come. On the loopback a connection is there as soon as it is asked for.
#[track_caller]
fn nobody_came(listener: &TcpListener) {
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
fn refused_where_it_is_not_allowed() {
    let lock = Plan::default().start();
    lock.put("file", "bytes");
    let mut raw = lock.client();
    let own = listen("127.0.0.1:0");
    for line in [port(&own), eprt(&own)] {
        raw.expect(&line, 502);
        raw.expect("RETR file", 425);
        in_step(&mut raw);
    }
    nobody_came(&own);
}

#[test]
fn connects_to_the_clients_own_address_and_high_ports_only() {
    let lock = Plan { active: true, ..Plan::default() }.start();
    lock.put("file", "bytes");
    let mut raw = lock.client();
    let foreign = listen("127.0.0.2:0");
    let low = (600..1024).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let low = low.expect("a free port below 1024; this needs root");
    for listener in [&foreign, &low] {
        for line in [port(listener), eprt(listener)] {
            raw.expect(&line, 504);
            raw.expect("RETR file", 425);
            in_step(&mut raw);
        }
        nobody_came(listener);
    }
    raw.expect("EPRT |3|127.0.0.1|5000|", 522);
    raw.expect("EPRT |1|127.0.0.1|70000|", 501);
    raw.expect("PORT 127,0,0,1,0", 501);
    assert!(raw.expect("FEAT", 211).text.contains("\r\n EPRT\r\n"));
}

#[test]
fn up_and_down() {
    let lock = Plan { active: true, ..Plan::default() }.start();
    let mut raw = lock.client();
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
    in_step(&mut raw);
}
