//! Reloads under load: nothing is lost, and nothing grows.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Config, Fixture, publish_certificate};
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::raw::Raw;
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, full, pattern};

/// Uploads, downloads and compares, in one session after the other.
fn transfers(fixture: &Fixture, name: &str, tls: bool, stop: &AtomicBool) -> usize {
    let bytes = pattern(200_000);
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut raw = if tls { fixture.tls_session() } else { fixture.session() };
        for _ in 0..3 {
            assert_eq!(raw.upload(&format!("STOR {name}"), &bytes).code, 226, "{name}");
            let (read, reply) = raw.download(&format!("RETR {name}"));
            assert!(read == bytes && reply.code == 226, "{name}: {}", reply.text);
            done += 2;
        }
        raw.expect("QUIT", 221);
    }
    done
}

fn sftp_transfers(fixture: &Fixture, stop: &AtomicBool) -> usize {
    let bytes = pattern(200_000);
    let home = tempfile::tempdir().expect("a client's home");
    std::fs::write(home.path().join("up"), &bytes).expect("a file");
    let port = fixture.gateway.address("ssh").port();
    let site = SftpSite::new(port);
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch = "put up over-sftp\nget over-sftp down\n";
        sftp(&site, home.path(), batch, &[]).expect_ok("SFTP while the configuration is reloaded");
        assert!(std::fs::read(home.path().join("down")).expect("the file") == bytes);
        done += 2;
    }
    done
}

/// Two hundred reloads between two configurations with another range, certificate, policy and limits.
#[test]
fn nothing_is_lost_and_nothing_grows() {
    let fixture = Fixture::start(8);
    let (first, last) = fixture.config.range;
    let other = Config {
        range: (first + 4, last),
        more: "policy: { rules: [{ name: all, allow: [all] }] }\nlimits: { sessions: 500 }\n"
            .into(),
        ..fixture.config.clone()
    };
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (rounds, mut measured) = (if full() { 1000 } else { 200 }, Vec::new());
    thread::scope(|scope| {
        let (fixture, stop, done) = (&fixture, &stop, &done);
        let count = move |n| {
            done.fetch_add(n, Ordering::Relaxed);
        };
        scope.spawn(move || count(transfers(fixture, "plain", false, stop)));
        scope.spawn(move || count(transfers(fixture, "tls", true, stop)));
        scope.spawn(move || count(sftp_transfers(fixture, stop)));
        // The threads end also where an assertion fails.
        let _stop = Stop(stop);
        for round in 0..rounds {
            if round % 20 == 0 {
                publish_certificate(fixture.gateway.folder(), &format!("round-{round}"));
            }
            fixture.apply(if round % 2 == 0 { &other } else { &fixture.config });
            if round == rounds / 2 || round == rounds - 1 {
                measured.push(fixture.gateway.resident_kib());
            }
        }
    });
    assert!(fixture.reloads("ok") >= rounds);
    assert_eq!(fixture.reloads("failed"), 0);
    println!("{} transfers during {rounds} reloads; resident KiB: {measured:?}", done.into_inner());
    // A generation that stayed would cost more than that in each of a hundred rounds.
    assert!(measured[1] < measured[0] + 8 * 1024, "it grows: {measured:?} KiB");
    // Sockets of the range that is not in force are closed.
    let idle = fixture.gateway.descriptors();
    let series = "lockgate_data_ports{pool=\"pool\"}";
    assert_eq!(fixture.gateway.metric(series), Some(8));
    fixture.apply(&other);
    assert_eq!(fixture.gateway.metric(series), Some(4));
    assert!(becomes_true(|| fixture.gateway.descriptors() + 3 < idle), "sockets stay open");
    let (mut raw, _) = Raw::connect(fixture.gateway.address("front"));
    raw.login(USER, PASSWORD);
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
