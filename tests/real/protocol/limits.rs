//! The limits and timeouts of `limits`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::{Fixture, Plan, TIMEOUT, check_in_sync};
use crate::support::raw::{Raw, Reply};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER};

fn start(limits: &'static str) -> Fixture {
    Plan { limits, partial_uploads: "delete", ..Plan::default() }.start()
}

fn from(last: u8, fixture: &Fixture) -> (Raw, Reply) {
    let own = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    Raw::connect_from(own, fixture.address()).expect("connecting from an address of 127.0.0.0/8")
}

/// Tries until the slot is free again: a session's end is not visible to other clients.
fn await_free_slot(mut connect: impl FnMut() -> (Raw, Reply)) {
    assert!(becomes_true(|| connect().1.code == 220), "no session ended");
}

#[test]
fn sessions_per_address_are_limited() {
    let fixture = start("sessions_per_address: 2");
    let held = [from(5, &fixture), from(5, &fixture)];
    assert!(held.iter().all(|(_, greeting)| greeting.code == 220));
    let (mut third, refusal) = from(5, &fixture);
    assert_eq!(refusal.code, 421);
    assert!(refusal.text.contains("limits.sessions_per_address: 2"), "{}", refusal.text);
    assert!(third.at_end());
    assert_eq!(from(6, &fixture).1.code, 220, "another address is not concerned");
    let [(mut first, _), second] = held;
    first.expect("QUIT", 221);
    await_free_slot(|| from(5, &fixture));
    drop(second);
}

#[test]
fn sessions_are_limited() {
    let fixture = start("sessions: 2");
    let mut held = vec![from(5, &fixture).0, from(6, &fixture).0];
    let (mut third, refusal) = from(7, &fixture);
    assert_eq!(refusal.code, 421);
    assert!(refusal.text.contains("limits.sessions: 2"), "{}", refusal.text);
    assert!(third.at_end());
    // Dropped without QUIT.
    held.pop();
    await_free_slot(|| from(7, &fixture));
}

/// Reads the 421 that ends a session, no sooner than `least`.
#[track_caller]
fn expires(raw: &mut Raw, since: Instant, least: Duration, reason: &str) {
    let reply = raw.read();
    assert_eq!(reply.code, 421, "{}", reply.text);
    assert!(reply.text.contains(reason), "{}", reply.text);
    assert!(raw.at_end());
    let took = since.elapsed();
    assert!((least..least + Duration::from_secs(8)).contains(&took), "after {took:?}");
}

#[test]
fn login_timeout_ends_the_session() {
    let fixture = start("login_timeout: 1s");
    let limit = Duration::from_millis(900);
    let since = Instant::now();
    let mut silent = fixture.connect();
    let mut busy = fixture.connect();
    // Commands sent meanwhile do not extend it.
    while busy.try_send(b"NOOP\r\n").and_then(|()| busy.try_read()).is_ok_and(|r| r.code == 200) {
        assert!(since.elapsed() < TIMEOUT, "no login, and no end");
    }
    expires(&mut silent, since, limit, "Login timeout (limits.login_timeout)");
    assert!(since.elapsed() >= limit && busy.at_end());
    let mut raw = fixture.client();
    assert!(raw.quiet_for(Duration::from_millis(1200)), "the limit is for those not logged in");
    check_in_sync(&mut raw);
}

#[test]
fn commands_do_not_extend_login_timeout() {
    let fixture = start("login_timeout: 1s");
    // A flood is always some lines ahead of the replies.
    for (line, at_once, code) in [("REIN", 1, 220), ("NOOP", 500, 200)] {
        let since = Instant::now();
        let mut raw = fixture.connect();
        let packet = format!("{line}\r\n").repeat(at_once);
        let last = 'talking: loop {
            // Fails after the 421, which is still unread.
            let _ = raw.try_send(packet.as_bytes());
            for _ in 0..at_once {
                let reply = raw.read();
                if reply.code != code {
                    break 'talking reply;
                }
            }
            assert!(since.elapsed() < Duration::from_secs(8), "{line} goes on and on");
        };
        assert_eq!(last.code, 421, "{line}: {}", last.text);
        assert!(last.text.contains("Login timeout (limits.login_timeout)"), "{}", last.text);
        assert!(since.elapsed() >= Duration::from_millis(900), "{line}: {:?}", since.elapsed());
        assert!(raw.at_end());
    }
}

#[test]
fn idle_timeout_excludes_transfers() {
    let fixture = start("idle_timeout: 1s");
    let length = fixture.put_large("large");
    let mut raw = fixture.client();
    let mut tcp = raw.begin("RETR large");
    let started = Instant::now();
    let mut piece = vec![0; 4096];
    let mut taken = 0;
    while started.elapsed() < Duration::from_millis(2500) {
        tcp.read_exact(&mut piece).expect("a piece of the file");
        taken += piece.len();
        assert!(raw.quiet_for(Duration::from_millis(100)), "a reply during the transfer");
    }
    taken += std::io::copy(&mut tcp, &mut std::io::sink()).expect("the rest") as usize;
    drop(tcp);
    assert_eq!(taken, length);
    assert_eq!(raw.read().code, 226);
    check_in_sync(&mut raw);
    expires(
        &mut raw,
        Instant::now(),
        Duration::from_millis(900),
        "Idle timeout (limits.idle_timeout)",
    );
}

#[test]
fn stall_timeout_ends_a_transfer() {
    let fixture = start("stall_timeout: 1s, idle_timeout: 30s");
    fixture.put_large("large");
    let mut raw = fixture.client();
    let _unread = raw.begin("RETR large");
    assert_eq!(raw.read().code, 426);
    check_in_sync(&mut raw);
    let mut tcp = raw.begin("STOR up");
    tcp.write_all(b"part").expect("sending a part");
    assert_eq!(raw.read().code, 426);
    let mut rest = Vec::new();
    assert!(tcp.read_to_end(&mut rest).is_err(), "an end that looks complete");
    check_in_sync(&mut raw);
    assert_eq!(fixture.names(), ["large"]);
}

#[test]
fn data_connect_timeout_ends_a_transfer() {
    let fixture = start("data_connect_timeout: 500ms");
    fixture.put("file", "bytes");
    let mut raw = fixture.client();
    for line in ["RETR file", "STOR new", "STOR file", "LIST"] {
        raw.expect("EPSV", 229);
        raw.expect(line, 150);
        let reply = raw.read();
        assert_eq!(reply.code, 425, "{line}: {}", reply.text);
        assert!(reply.text.contains("no connection to port"), "{}", reply.text);
        check_in_sync(&mut raw);
    }
    assert_eq!(fixture.pool_metric("expired_total"), Some(4));
    assert_eq!(fixture.names(), ["file"]);
    assert_eq!(raw.download("RETR file").0, b"bytes");
}

#[test]
fn data_connect_timeout_includes_tls() {
    let plan = Plan { tls: "required", limits: "data_connect_timeout: 500ms", ..Plan::default() };
    let fixture = plan.start();
    fixture.put("file", "bytes");
    let mut raw = fixture.tls_client();
    let _silent = raw.begin("RETR file");
    assert_eq!(raw.read().code, 425);
    check_in_sync(&mut raw);
    // The connection itself came in time.
    assert_eq!(fixture.pool_metric("expired_total"), Some(0));
    assert_eq!(raw.download("RETR file").0, b"bytes");
}

#[test]
fn login_attempts_are_limited() {
    let fixture = start("login_attempts: 2");
    let mut raw = fixture.connect();
    raw.expect(&format!("USER {USER}"), 331);
    raw.expect("PASS wrong", 530);
    raw.expect(&format!("USER {USER}"), 331);
    raw.send_bytes(format!("PASS wrong\r\nUSER {USER}\r\nPASS {PASSWORD}\r\n").as_bytes());
    assert_eq!(raw.read().code, 530);
    let reply = raw.read();
    assert_eq!(reply.code, 421, "{}", reply.text);
    assert!(reply.text.contains("too many failed logins"), "{}", reply.text);
    assert!(raw.at_end());
    // The right password in time is accepted.
    let mut raw = fixture.connect();
    raw.expect(&format!("USER {USER}"), 331);
    raw.expect("PASS wrong", 530);
    raw.login(USER, PASSWORD);
}
