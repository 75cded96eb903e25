//! Take-overs under load: no connection is refused, and no transfer fails.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use super::{Fixture, expect_end, expect_whole, status};
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::haproxy::{ADDRESS, HaProxy, ListenSection};
use crate::support::raw::{Raw, client_config};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, full, pattern, ports};

/// One session after the other, each with `pairs` of transfers. A connection that is refused, a login and a
/// transfer that fail end the test. Returns the number of transfers, and the longest time of a pair.
fn sessions(
    front: SocketAddr,
    (name, tls): (&str, bool),
    pairs: usize,
    stop: &AtomicBool,
) -> (usize, Duration) {
    let bytes = pattern(150_000);
    let (mut done, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let (mut raw, greeting) = Raw::connect(front);
        assert_eq!(greeting.code, 220, "{name}: {}", greeting.text);
        if tls {
            // A client with TLS 1.3 runs out of tickets in a long session: uploads bring none.
            raw.set_tls(client_config(&[if pairs > 5 { &TLS12 } else { &TLS13 }]));
            raw.auth_tls();
        }
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
        for _ in 0..pairs {
            assert_eq!(raw.upload(&format!("STOR {name}"), &bytes).code, 226, "{name}");
            let (read, reply) = raw.download(&format!("RETR {name}"));
            assert!(read == bytes && reply.code == 226, "{name}: {}", reply.text);
            done += 2;
        }
        raw.expect("QUIT", 221);
        longest = longest.max(started.elapsed() / pairs as u32);
    }
    (done, longest)
}

fn sftp_sessions(port: u16, stop: &AtomicBool) -> (usize, Duration) {
    let bytes = pattern(150_000);
    let home = tempfile::tempdir().expect("a client's home");
    std::fs::write(home.path().join("up"), &bytes).expect("a file");
    let site = SftpSite::new(port);
    let (mut done, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        sftp(&site, home.path(), "put up sftp\nget sftp down\n", &[]).expect_ok("SFTP");
        assert!(std::fs::read(home.path().join("down")).expect("the file") == bytes);
        done += 2;
        longest = longest.max(started.elapsed());
    }
    (done, longest)
}

/// One take-over after the other, while `clients` run. Returns the last process.
fn take_over(fixture: Fixture, rounds: usize, clients: &[Client]) -> (Gateway, TempDir) {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let Fixture { folder, gateway, .. } = fixture;
    let mut current = gateway;
    let (mut old, mut longest) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        // The threads end also where an assertion fails.
        let stop_guard = Stop(&stop);
        let running: Vec<_> = clients
            .iter()
            .map(|client| {
                let (stop, done) = (&stop, &done);
                scope.spawn(move || {
                    let (transfers, longest) = (client.run)(stop);
                    done.fetch_add(transfers, Ordering::Relaxed);
                    longest
                })
            })
            .collect();
        for round in 0..rounds {
            let started = Instant::now();
            let next = current.take_over();
            old.push(std::mem::replace(&mut current, next));
            println!("take-over {round}: {:?}", started.elapsed());
            // As many processes at a time as sessions take.
            while old.len() > 8 {
                expect_end(&mut old[0]);
                old.remove(0);
            }
            if running.iter().any(|thread| thread.is_finished()) {
                break;
            }
        }
        drop(stop_guard);
        for thread in running {
            longest.push(thread.join().expect("a client failed"));
        }
    });
    old.iter_mut().for_each(expect_end);
    println!(
        "{} transfers during {rounds} take-overs; longest times: {longest:?}",
        done.into_inner()
    );
    assert!(longest.iter().all(|it| *it < Duration::from_secs(15)), "a stall: {longest:?}");
    (current, folder)
}

/// Returns the number of transfers and the longest time.
type Run = dyn Fn(&AtomicBool) -> (usize, Duration) + Send + Sync;

struct Client {
    run: Box<Run>,
}

impl Client {
    fn ftp(front: SocketAddr, name: &'static str, tls: bool) -> Self {
        Self { run: Box::new(move |stop| sessions(front, (name, tls), 3, stop)) }
    }

    /// With sessions that outlast several take-overs.
    fn long(front: SocketAddr, name: &'static str, tls: bool) -> Self {
        Self { run: Box::new(move |stop| sessions(front, (name, tls), 30, stop)) }
    }
}

fn rounds() -> usize {
    if full() { 50 } else { 5 }
}

#[test]
fn nothing_fails_while_one_process_takes_over_after_the_other() {
    let fixture = Fixture::start(8);
    let front = fixture.gateway.address("front");
    let ssh = fixture.gateway.address("ssh").port();
    let clients = [
        Client::ftp(front, "plain", false),
        Client::ftp(front, "tls", true),
        Client::long(front, "long", false),
        Client::long(front, "long-tls", true),
        Client { run: Box::new(move |stop| sftp_sessions(ssh, stop)) },
    ];
    let (last, _folder) = take_over(fixture, rounds(), &clients);
    expect_whole(&last, "pool", 8);
    assert!(becomes_true(|| status(&last)["processes_before"].as_array().unwrap().is_empty()));
    assert_eq!(last.metric("lockgate_data_ports_stray_total{pool=\"pool\"}"), Some(0));
}

#[test]
fn nothing_fails_behind_a_proxy() {
    let fixture = Fixture::start(8);
    let (first, last) = fixture.proxied;
    let front = ports::one();
    let section = |name, port: String, to: String| ListenSection {
        name,
        port,
        to,
        server: "send-proxy-v2",
        more: String::new(),
    };
    let to = fixture.gateway.address("behind").port().to_string();
    let sections = [
        section("behind", front.to_string(), to),
        section("data", format!("{first}-{last}"), String::new()),
    ];
    let _haproxy = HaProxy::start(&sections);
    let front = SocketAddr::new(ADDRESS.parse().expect("an address"), front);
    let clients = [Client::ftp(front, "plain", false), Client::ftp(front, "tls", true)];
    let (last, _folder) = take_over(fixture, rounds(), &clients);
    expect_whole(&last, "proxied", 8);
}

/// The port moves back and forth between the processes that have sessions.
#[test]
fn nothing_fails_with_a_single_data_port() {
    let fixture = Fixture::start(1);
    let front = fixture.gateway.address("front");
    let clients = [
        Client::ftp(front, "plain", false),
        Client::ftp(front, "tls", true),
        Client::long(front, "long", false),
    ];
    let (last, _folder) = take_over(fixture, rounds(), &clients);
    expect_whole(&last, "pool", 1);
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
