//! Data ports under load: correctness, not speed. With `--full` the numbers are those of
//! tests/README.md; without it they are smaller.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Fixture, Plan};
use crate::support::raw::{Raw, Wire, client_config, dial_from};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, full, pattern};

const MANY: &str = "sessions: 3000, sessions_per_address: 3000";
const RESUMED: &str = ", data_sessions: resumed";

fn scaled(fast: usize, all: usize) -> usize {
    // Two descriptors a session and more than the usual soft limit.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the hard limit of descriptors");
    if full() { all } else { fast }
}

fn counted(fixture: &Fixture, what: &str) -> u64 {
    fixture.pool_metric(&format!("{what}_total")).expect("a counter")
}

/// Content that is unique to each upload.
fn bytes_of(number: usize) -> Vec<u8> {
    let mut bytes = pattern(60_000 + number);
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Finishes all open uploads and compares the files.
fn finish(fixture: &Fixture, open: Vec<(usize, Raw, Wire)>) {
    for (number, mut raw, mut data) in open.into_iter().rev() {
        data.write_all(&bytes_of(number)).expect("sending");
        data.finish().expect("ending a data connection");
        drop(data);
        let reply = raw.read();
        assert_eq!(reply.code, 226, "{number}: {}", reply.text);
        assert!(fixture.get(&format!("file-{number}")) == bytes_of(number), "{number} differs");
    }
}

#[test]
fn ftps_sessions_of_one_address_share_one_port() {
    let sessions = scaled(150, 1000);
    let plan = Plan { tls: "required", tls_keys: RESUMED, limits: MANY, ..Plan::default() };
    let fixture = Plan { data_ports: 1, ..plan }.start();
    let mut open = Vec::new();
    for number in 0..sessions {
        let mut raw = fixture.tls_client();
        let tcp = raw.begin(&format!("STOR file-{number}"));
        let data = raw.data(tcp);
        open.push((number, raw, data));
    }
    fixture.await_pool_metric("active", sessions as u64);
    assert!(open.iter().all(|(.., data)| fixture.ports.contains(&port_of(data))));
    finish(&fixture, open);
    assert_eq!((counted(&fixture, "stray"), counted(&fixture, "exhausted")), (0, 0));
}

fn port_of(data: &Wire) -> u16 {
    data.socket().peer_addr().expect("an address").port()
}

#[test]
fn plain_sessions_of_many_addresses_share_four_ports() {
    let sessions = scaled(200, 1000);
    let fixture = Plan { limits: MANY, data_ports: 4, ..Plan::default() }.start();
    let mut open = Vec::new();
    for number in 0..sessions {
        let own = Ipv4Addr::new(127, 0, 2, (number % (sessions / 4)) as u8 + 1);
        let (mut raw, _) = Raw::connect_from(own.into(), fixture.address()).expect("connecting");
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
        let tcp = raw.begin(&format!("STOR file-{number}"));
        open.push((number, raw, Wire::Plain(tcp)));
    }
    fixture.await_pool_metric("active", sessions as u64);
    assert!(open.iter().all(|(.., data)| fixture.ports.contains(&port_of(data))));
    finish(&fixture, open);
    assert_eq!((counted(&fixture, "stray"), counted(&fixture, "exhausted")), (0, 0));
}

/// Uploads and downloads one file after the other; returns the ports of the data connections.
fn many_files(mut raw: Raw, prefix: &str, files: usize) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for number in 0..files / 2 {
        let (name, bytes) = (format!("{prefix}-{}", number % 10), number.to_string().into_bytes());
        let mut tcp = raw.begin(&format!("STOR {name}"));
        ports.insert(tcp.peer_addr().expect("an address").port());
        tcp.write_all(&bytes).expect("sending");
        drop(tcp);
        assert_eq!(raw.read().code, 226);
        let mut tcp = raw.begin(&format!("RETR {name}"));
        ports.insert(tcp.peer_addr().expect("an address").port());
        let mut back = Vec::new();
        tcp.read_to_end(&mut back).expect("receiving");
        assert_eq!((back, raw.read().code), (bytes, 226));
    }
    ports
}

/// The number of sockets in TIME_WAIT at these ports of the gateway.
fn time_wait(ports: &RangeInclusive<u16>) -> usize {
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the TCP table");
    let waits = table.lines().skip(1).filter(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, _, state) = (columns.next(), columns.next(), columns.next());
        let port = local.and_then(|local| local.rsplit(':').next());
        let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
        state == Some(TIME_WAIT) && port.is_some_and(|port| ports.contains(&port))
    });
    waits.count()
}

#[test]
fn small_files_in_one_session_through_two_ports() {
    let files = scaled(400, 3000);
    let fixture = Plan { data_ports: 2, ..Plan::default() }.start();
    let ports = many_files(fixture.client(), "file", files);
    assert!(ports.into_iter().eq(fixture.ports.clone()), "each port of the range and no other");
    println!("{files} files, 2 ports, {} in TIME_WAIT", time_wait(&fixture.ports));
    assert_eq!((counted(&fixture, "stray"), counted(&fixture, "exhausted")), (0, 0));
}

#[test]
fn small_files_by_ten_clients_through_ten_ports() {
    let files = scaled(1000, 20_000) / 10;
    let fixture = Plan { data_ports: 10, ..Plan::default() }.start();
    let clients: Vec<_> = (0..10).map(|number| (number, fixture.client())).collect();
    let clients = clients.into_iter().map(|(number, raw)| {
        thread::spawn(move || many_files(raw, &format!("client-{number}"), files))
    });
    let clients: Vec<_> = clients.collect();
    let ports: BTreeSet<_> =
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
    assert!(ports.into_iter().eq(fixture.ports.clone()), "each port of the range and no other");
    println!("{} files, 10 ports, {} in TIME_WAIT", files * 10, time_wait(&fixture.ports));
    assert_eq!((counted(&fixture, "stray"), counted(&fixture, "exhausted")), (0, 0));
}

#[test]
fn stray_connections_do_not_disturb_running_transfers() {
    const CLIENTS: usize = 3;
    /// Connections of strangers that stay open until as many others have followed.
    const OPEN_STRAYS: usize = 100;
    /// For the sessions of the transfers, and the memory that the allocator keeps.
    const GROWTH_KIB_MAX: usize = 12 * 1024;
    let strangers = scaled(3000, 100_000);
    let plan = Plan { tls: "required", tls_keys: RESUMED, limits: MANY, ..Plan::default() };
    let fixture = Plan { data_ports: 2, ..plan }.start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| tls12_client(&fixture)).collect();
    let hello = hello();
    clients[0].upload("STOR warm", &pattern(100_000));
    let before = fixture.gateway.resident_kib();
    let (knocked, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let transfers = AtomicUsize::new(0);
    thread::scope(|scope| {
        let transferring: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(number, mut raw)| {
                let (done, transfers) = (&done, &transfers);
                scope.spawn(move || {
                    let bytes = pattern(80_000 + number);
                    let mut turn = 0;
                    while turn < 5 || !done.load(Ordering::Relaxed) {
                        let name = format!("file-{number}");
                        assert_eq!(raw.upload(&format!("STOR {name}"), &bytes).code, 226);
                        let (back, reply) = raw.download(&format!("RETR {name}"));
                        assert_eq!(reply.code, 226, "{}", reply.text);
                        assert!(back == bytes, "{name} differs");
                        turn += 1;
                        transfers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let knocking: Vec<_> = (0..2u8)
            .map(|half| {
                let (knocked, hello, ports) = (&knocked, &hello, fixture.ports.clone());
                scope.spawn(move || {
                    let mut there = VecDeque::new();
                    while knocked.load(Ordering::Relaxed) < strangers {
                        let stranger = knock(half, &ports, hello);
                        knocked.fetch_add(usize::from(stranger.is_some()), Ordering::Relaxed);
                        there.extend(stranger);
                        if there.len() > OPEN_STRAYS {
                            there.pop_front();
                        }
                    }
                })
            })
            .collect();
        knocking.into_iter().for_each(|one| one.join().expect("a stranger"));
        done.store(true, Ordering::Relaxed);
        transferring.into_iter().for_each(|one| one.join().expect("a client"));
    });
    let after = fixture.gateway.resident_kib();
    becomes_true(|| counted(&fixture, "stray") >= strangers as u64);
    let strays = counted(&fixture, "stray");
    println!(
        "{strangers} strangers, {strays} counted, {} transfers each way, memory {before} KiB, then {after}",
        transfers.load(Ordering::Relaxed)
    );
    assert!(strays as usize >= strangers, "{strays} of {strangers}");
    assert!(after < before + GROWTH_KIB_MAX, "{before} KiB, then {after}");
}

/// A client that can resume a session repeatedly: rustls uses a TLS 1.3 ticket only once.
fn tls12_client(fixture: &Fixture) -> Raw {
    let mut raw = fixture.connect();
    raw.set_tls(client_config(&[&rustls::version::TLS12]));
    raw.auth_tls();
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    raw
}

/// The ClientHello of a client without a session of the gateway.
fn hello() -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let config = client_config(rustls::ALL_VERSIONS);
    let mut tls = rustls::ClientConnection::new(config, name).expect("a client");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("its first words");
    hello
}

/// Connects from a random address, sometimes the clients', to a random port; sends nothing, rubbish, a
/// part of a ClientHello, or all of it. `None`: not connected, as the kernel may be out of ports for a
/// moment.
fn knock(half: u8, ports: &RangeInclusive<u16>, hello: &[u8]) -> Option<TcpStream> {
    let random: u32 = rand::random();
    let [kind, last, rest, _] = random.to_be_bytes();
    let own: IpAddr = match kind % 4 {
        0 => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv4Addr::new(127, 3 + half, rest, last.max(1)).into(),
    };
    let port = ports.start() + u16::from(last) % 2;
    let mut tcp = dial_from(own, SocketAddr::from(([127, 0, 0, 1], port))).ok()?;
    match rest % 4 {
        0 => {}
        1 => drop(tcp.write_all(&random.to_be_bytes())),
        2 => drop(tcp.write_all(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")),
        _ => drop(tcp.write_all(hello)),
    }
    Some(tcp)
}
