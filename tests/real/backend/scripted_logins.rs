//! Logins at a scripted server that behaves unusually.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{before, configuration, gateway, greeted};
use crate::support::gateway::Gateway;
use crate::support::raw::Reply;
use crate::support::scripted::{Peer, Scripted};
use crate::support::{PASSWORD, USER};

/// The reply to PASS when the server runs this script.
fn login(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Reply {
    let backend = Scripted::start(script);
    let gateway = before(&backend, ", reply_timeout: 1s");
    let mut client = greeted(&gateway, "back");
    client.expect(&format!("USER {USER}"), 331);
    let start = Instant::now();
    let reply = client.command(&format!("PASS {PASSWORD}"));
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    if reply.code == 421 {
        assert!(client.at_end(), "the session goes on after {}", reply.text);
    }
    reply
}

/// Waits until the peer has closed.
pub fn wait_for_the_end(peer: &mut Peer) -> io::Result<()> {
    while peer.line().is_ok() {}
    Ok(())
}

#[track_caller]
pub fn assert_lost(reply: &Reply) {
    assert_eq!(reply.code, 421, "{}", reply.text);
    assert!(reply.text.contains("backend"), "no reason: {}", reply.text);
}

#[test]
fn a_malformed_greeting_is_a_failure() {
    for garbage in [&b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"[..], b"\x00\x01\x02\xff\xfe no line end"] {
        let reply = login(move |peer| {
            peer.send(garbage)?;
            wait_for_the_end(peer)
        });
        assert_lost(&reply);
        assert!(reply.text.contains("did not send an FTP greeting"), "{}", reply.text);
    }
    assert_lost(&login(|peer| peer.reply("421 no room for one more backend session")));
}

#[test]
fn a_greeting_of_421_is_passed_on() {
    let reply = login(|peer| peer.reply("530 too many backend users"));
    assert_eq!(reply.code, 421, "{}", reply.text);
}

#[test]
fn an_unreachable_server_is_a_failed_login() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let free = free.expect("a free port");
    let gateway = gateway(&[("back", format!("address: \"{free}\""))]);
    let mut client = greeted(&gateway, "back");
    client.expect(&format!("USER {USER}"), 331);
    assert_lost(&client.command(&format!("PASS {PASSWORD}")));
    assert!(client.at_end());
}

#[test]
fn a_server_that_closes_during_the_login_is_a_failed_login() {
    assert_lost(&login(|_| Ok(())));
    assert_lost(&login(Peer::greet));
    assert_lost(&login(|peer| {
        peer.greet()?;
        peer.until("PASS").map(drop)
    }));
}

#[test]
fn a_silent_server_is_a_failed_login() {
    assert_lost(&login(wait_for_the_end));
    assert_lost(&login(|peer| {
        peer.greet()?;
        peer.until("PASS")?;
        wait_for_the_end(peer)
    }));
}

#[test]
fn endless_replies_are_refused() {
    assert_lost(&login(|peer| {
        peer.greet()?;
        peer.until("PASS")?;
        peer.send(b"230 ")?;
        peer.send(&[b'x'; 100_000])?;
        peer.send(b"\r\n")?;
        peer.serve()
    }));
    // The same without a line end, until the gateway stops reading.
    assert_lost(&login(|peer| {
        peer.greet()?;
        peer.until("PASS")?;
        loop {
            peer.send(&[b'x'; 100_000])?;
        }
    }));
    assert_lost(&login(|peer| {
        peer.greet()?;
        peer.until("PASS")?;
        peer.send("230-welcome\r\n".repeat(100_000).as_bytes())?;
        peer.send(b"230 in\r\n")?;
        peer.serve()
    }));
}

#[test]
fn the_servers_refusal_of_a_login_is_passed_on() {
    for refusal in ["530 the backend does not like you", "530-first line\r\n530 second line"] {
        let backend = Scripted::start(move |peer| {
            peer.greet()?;
            peer.answer("PASS", refusal);
            peer.serve()
        });
        let gateway = before(&backend, "");
        let mut client = greeted(&gateway, "back");
        client.expect(&format!("USER {USER}"), 331);
        assert_eq!(client.command("PASS wrong").text, format!("{refusal}\r\n"));
        // The session stays for another attempt.
        client.expect(&format!("USER {USER}"), 331);
        client.expect("PASS wrong", 530);
    }
}

#[test]
fn acct_completes_the_login() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("PASS", "332 the backend wants to know your account");
        peer.answer("ACCT", "230 in");
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = greeted(&gateway, "back");
    client.expect(&format!("USER {USER}"), 331);
    let reply = client.expect(&format!("PASS {PASSWORD}"), 332);
    assert_eq!(reply.text, "332 the backend wants to know your account\r\n");
    client.expect("PWD", 530);
    client.expect("ACCT 47-11", 230);
    client.expect("PWD", 257);
    backend.assert_saw("ACCT 47-11");
    backend.assert_saw(&format!("PASS {PASSWORD}"));
}

const TIMEOUT: Duration = Duration::from_secs(15);

#[test]
fn an_echoed_password_is_not_logged() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("PASS", "530 PASS secret-word refused");
        peer.serve()
    });
    let mut yaml = configuration(&[("back", format!("address: \"{}\"", backend.address))]);
    yaml.push_str("log: { level: debug }\n");
    let gateway = Gateway::start(&yaml);
    let mut client = greeted(&gateway, "back");
    client.expect(&format!("USER {USER}"), 331);
    client.expect("PASS secret-word", 530);
    backend.assert_saw("PASS secret-word");
    client.expect("QUIT", 221);
    let record = gateway.await_log(|event| event["event"] == "login", TIMEOUT);
    assert_eq!(record["outcome"], "refused", "{record}");
    let log = gateway.log_tail(usize::MAX);
    assert!(!log.contains("secret-word"), "{log}");
}

#[test]
fn a_login_beyond_login_timeout_is_one_failed_login() {
    let backend = Scripted::start(wait_for_the_end);
    let keys = format!("address: \"{}\", reply_timeout: 60s", backend.address);
    let yaml = configuration(&[("back", keys)]);
    let yaml = yaml.replace("limits: {", "limits: { login_timeout: 1s,");
    let gateway = Gateway::start(&yaml);
    for session in [1, 2] {
        let mut client = greeted(&gateway, "back");
        client.expect(&format!("USER {USER}"), 331);
        client.expect(&format!("PASS {PASSWORD}"), 421);
        assert!(client.at_end());
        let of_session =
            |event: &serde_json::Value| event["event"] == "login" && event["session"] == session;
        let record = gateway.await_log(of_session, TIMEOUT);
        assert_eq!(record["outcome"], "failed", "{record}");
    }
    // The second's record is logged, so the first's is, too.
    let log = gateway.log_tail(usize::MAX);
    let records = log
        .lines()
        .filter(|line| line.contains("\"event\":\"login\"") && line.contains("\"session\":1,"));
    assert_eq!(records.count(), 1, "{log}");
}
