//! How data connections to a scripted server are opened.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use super::{before, client, configuration};
use crate::support::gateway::Gateway;
use crate::support::scripted::Scripted;
use crate::support::wait::becomes_true;

const FOREIGN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[test]
fn a_refused_epsv_is_remembered() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("EPSV", "500 EPSV is not known here");
        for _ in 0..3 {
            peer.until("RETR")?;
            peer.give(b"bytes")?;
        }
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    for _ in 0..3 {
        let (bytes, last) = client.download("RETR a");
        assert_eq!((bytes.as_slice(), last.code), (&b"bytes"[..], 226));
    }
    assert_eq!((backend.count("EPSV"), backend.count("PASV")), (1, 3));
    // Also in other sessions, with one log line.
    let mut other = super::client(&gateway, "back");
    assert_eq!(other.download("RETR a").0, b"bytes");
    assert_eq!((backend.count("EPSV"), backend.count("PASV")), (1, 4));
    let log = gateway.log_tail(1000);
    let lines: Vec<_> = log.lines().filter(|line| line.contains("PASV is used")).collect();
    assert!(matches!(&lines[..], [line] if line.contains("500 EPSV is not known here")), "{log}");
}

/// The server's 150 takes longer than the timeout for the client's data connection, which is established
/// already and silent until then.
#[test]
fn a_slow_server_does_not_end_the_reservation() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        for _ in 0..2 {
            peer.until("RETR")?;
            std::thread::sleep(Duration::from_secs(3));
            peer.give(b"bytes")?;
        }
        peer.serve()
    });
    let config = configuration(&[("back", format!("address: \"{}\"", backend.address))]);
    let config = config.replace("limits: { ", "limits: { data_connect_timeout: 1s, ");
    let config = config.replace("mode: required, ", "mode: required, data_sessions: resumed, ");
    let gateway = Gateway::start(&config);
    let mut client = client(&gateway, "back-tls");
    for _ in 0..2 {
        let (bytes, last) = client.download("RETR a");
        assert_eq!((bytes.as_slice(), last.code), (&b"bytes"[..], 226), "{}", last.text);
    }
}

/// A server that names 127.0.0.2 in its PASV reply; a connection there gets other data.
struct Foreign {
    backend: Scripted,
    trap: TcpListener,
}

impl Foreign {
    /// `honest`: the data is at the address of the reply.
    fn start(honest: bool) -> Self {
        // The same port on both addresses.
        let (own, trap) = loop {
            let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listening");
            let port = own.local_addr().expect("an address").port();
            if let Ok(trap) = TcpListener::bind((FOREIGN, port)) {
                break (own, trap);
            }
        };
        let port = own.local_addr().expect("an address").port();
        let (there, trap) = if honest { (trap, own) } else { (own, trap) };
        trap.set_nonblocking(true).expect("a listener that does not block");
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.answer("EPSV", "522 no");
            peer.until("PASV")?;
            let [high, low] = port.to_be_bytes();
            peer.reply(&format!("227 passive (127,0,0,2,{high},{low})"))?;
            peer.use_listener(there.try_clone()?);
            peer.until("RETR")?;
            peer.give(b"bytes")?;
            peer.serve()
        });
        Self { backend, trap }
    }

    fn check(self, keys: &str) {
        let gateway = before(&self.backend, keys);
        let (bytes, last) = client(&gateway, "back").download("RETR a");
        assert_eq!((bytes.as_slice(), last.code), (&b"bytes"[..], 226));
        // The transfer has ended: all connections have been made.
        assert!(self.trap.accept().is_err(), "a connection to the wrong address");
    }
}

#[test]
fn a_foreign_pasv_address_is_ignored() {
    Foreign::start(false).check("");
}

#[test]
fn a_foreign_pasv_address_is_used_if_trusted() {
    Foreign::start(true).check(", trust_pasv_address: true");
}

/// Both sides speak FTP: the server translates, and the gateway forwards the bytes unchanged.
#[test]
fn type_a_is_passed_on() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.until("RETR")?;
        peer.give(b"a\nb\r\n")?;
        peer.until("RETR")?;
        peer.give(b"a\nb\r\n")?;
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    for representation in ["TYPE A", "TYPE I"] {
        client.expect(representation, 200);
        assert_eq!(client.download("RETR a").0, b"a\nb\r\n");
        backend.assert_saw(representation);
    }
}

/// ProFTPD and pure-ftpd reply 425 when two of their sessions choose the same port at once.
#[test]
fn epsv_is_repeated_after_425() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        for _ in 0..2 {
            peer.until("EPSV")?;
            peer.reply("425 Address already in use")?;
        }
        peer.until("RETR")?;
        peer.give(b"bytes")?;
        peer.answer("EPSV", "425 Address already in use");
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    assert_eq!(client.download("RETR a").0, b"bytes");
    client.expect("EPSV", 229);
    assert!(client.expect("RETR a", 425).text.contains("Address already in use"));
    client.expect("NOOP", 200);
}

/// The gateway sends EPSV to the backend before the client sends its command.
#[test]
fn the_clients_pasv_makes_the_backend_open_a_port_ahead() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.until("RETR")?;
        peer.give(b"bytes")?;
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    // The first reply shows the round-trip time.
    client.expect("EPSV", 229);
    assert!(becomes_true(|| backend.count("EPSV") >= 1), "{:?}", backend.lines());
    assert_eq!(client.download("RETR a").0, b"bytes");
    assert_eq!((backend.count("RETR"), backend.connections()), (1, 1));
}
