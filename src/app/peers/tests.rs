//! Data ports of two processes.

use std::time::Instant;

use prometheus::Registry;

use super::*;
use crate::audit::Audit;
use crate::data::{ClientMatch, Pool, PoolSettings, PortRequest, Ports, Reservation};
use crate::net::{Acceptor, OpenSocket};

/// The number of the next process.
const NEXT: u64 = 1;

/// A process with a pool of so many ports.
fn process(count: u16) -> (Arc<Peers>, Pool) {
    let process = Arc::new(Process::new(&Registry::new(), Audit::default()).unwrap());
    let settings = PoolSettings {
        name: "pool".to_owned(),
        ports: Ports::Ephemeral(count),
        listen: vec!["127.0.0.1".parse().unwrap()],
        advertise: vec![],
        client_match: ClientMatch::Address,
        reservations_per_address: usize::from(count),
        wait: Duration::from_secs(20),
        proxy_protocol: vec![],
    };
    let pool = process.pools.open(settings, &process.sockets).unwrap();
    pool.serve(&CancellationToken::new(), &process.end);
    (Peers::new(process), pool)
}

fn wanted(peers: &Peers) -> Vec<(usize, OpenSocket, Arc<Acceptor>)> {
    let all = peers.process.sockets.all().into_iter().enumerate();
    all.map(|(number, (open, socket))| (number, open, socket)).collect()
}

fn request(session: u64) -> PortRequest<'static> {
    PortRequest {
        client: "127.0.0.1".parse().unwrap(),
        session,
        tls: None,
        must_resume: true,
        connect_within: Duration::from_secs(20),
        wait: Duration::from_secs(20),
    }
}

async fn reserve(pool: &Pool, session: u64) -> Reservation {
    pool.reserve(request(session)).await.unwrap()
}

fn peer() -> Peer {
    Peer {
        process: 2,
        role: Role::Next,
        sessions: 0,
        known: KnownUse::default(),
        wants: HashSet::new(),
        asked: HashMap::new(),
        queries: Queries::new(),
        stop: CancellationToken::new(),
        task: None,
    }
}

/// The ports that the next process gets now.
fn ports_for(peers: &Peers, peer: &mut Peer) -> Vec<u16> {
    peers.ports_for("pool", NEXT, peer, &mut peers.state().places)
}

#[tokio::test]
async fn a_port_with_a_reservation_leaves_when_that_has_ended() {
    let (peers, pool) = process(8);
    let reservation = reserve(&pool, 1).await;
    let busy = reservation.port();
    // Without sessions all are given that can be.
    let given = peers.give_ports(&wanted(&peers), NEXT);
    assert_eq!(given.len(), 7);
    let mut next = peer();
    assert!(ports_for(&peers, &mut next).is_empty());
    reservation.release();
    assert_eq!(ports_for(&peers, &mut next), [busy]);
    assert_eq!(peers.state().places.at(NEXT).len(), 8);
    // One comes back, and all others.
    peers.take_back([("pool".to_owned(), busy)]);
    assert_eq!(reserve(&pool, 2).await.port(), busy);
    peers.take_back_all(NEXT);
    assert!(peers.state().places.of(NEXT).is_empty());
    let more = [reserve(&pool, 3).await, reserve(&pool, 4).await];
    assert_ne!(more[0].port(), more[1].port());
}

#[tokio::test]
async fn of_many_ports_a_quarter_stays_with_sessions_and_the_next_process_gets_idle_ones_first() {
    let (peers, pool) = process(8);
    peers.process.drain.spawn(std::future::pending());
    let reserved = [reserve(&pool, 1).await, reserve(&pool, 2).await];
    assert_eq!(peers.give_ports(&wanted(&peers), NEXT).len(), 6);
    // Those that stay are the busy ones.
    let is_here = |it: &Reservation| peers.state().places.is_here("pool", it.port());
    assert!(reserved.iter().all(is_here));
    let mut next = peer();
    next.wants.insert("pool".to_owned());
    // It gets one when no reservation is there.
    assert!(ports_for(&peers, &mut next).is_empty() && next.wants.is_empty());
    let leaving = peers.state().places.leaving_to("pool", NEXT);
    assert_eq!(leaving.len(), 1);
    for reservation in reserved {
        let is_leaving = leaving.contains(&reservation.port());
        reservation.release();
        assert_eq!(!ports_for(&peers, &mut next).is_empty(), is_leaving);
    }
}

/// `cargo test --release --lib -- --ignored --nocapture ten_thousand`
#[tokio::test]
#[ignore = "measures, and needs 10,000 open files"]
async fn ten_thousand_ports() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let (peers, pool) = process(10_000);
    let mut reserved = Vec::new();
    for session in 0..2000 {
        reserved.push(reserve(&pool, session).await);
    }
    let wanted = wanted(&peers);
    let measured = |what: &str, since: Instant| println!("{what}: {:?}", since.elapsed());
    let start = Instant::now();
    let given = peers.give_ports(&wanted, NEXT);
    measured("given", start);
    assert_eq!(given.len(), 8000);
    reserved.into_iter().for_each(Reservation::release);
    let (start, mut next) = (Instant::now(), peer());
    assert_eq!(ports_for(&peers, &mut next).len(), 2000);
    measured("those that were reserved", start);
    let start = Instant::now();
    peers.take_back_all(NEXT);
    measured("taken back", start);
    let start = Instant::now();
    for _ in 0..1000 {
        next.wants.insert("pool".to_owned());
        assert_eq!(ports_for(&peers, &mut next).len(), 1);
    }
    measured("1000 one by one", start);
}
