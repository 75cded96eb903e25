//! What it costs to reserve a data port and give it back, with so many reservations live: by clients
//! of as many addresses, and by TLS sessions that share one port and one address; and to see how full the pool
//! is, as a scrape of the metrics does.

#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lockgate::data::{
    ClientMatch, Pool, PoolMetrics, PoolSettings, PortRequest, Ports, Reservation,
};
use lockgate::net::tls::{CertificateAndKey, ControlTls, ServerTls};
use tokio::runtime::Runtime;

const LIVE: [u32; 3] = [10, 1_000, 100_000];

fn pool(ports: u16) -> Pool {
    let metrics = PoolMetrics::register(&prometheus::Registry::new()).expect("metrics");
    let settings = PoolSettings {
        name: "bench".into(),
        ports: Ports::Ephemeral(ports),
        listen: vec![Ipv4Addr::LOCALHOST.into()],
        advertise: vec![],
        proxy_protocol: vec![],
        client_match: ClientMatch::Address,
        reservations_per_address: usize::MAX,
        wait: Duration::ZERO,
    };
    Pool::bind(settings, &metrics).expect("free ports")
}

fn request(client: IpAddr, tls: Option<&ControlTls>) -> PortRequest<'_> {
    let connect_within = Duration::from_secs(3600);
    PortRequest { client, session: 0, tls, must_resume: true, connect_within, wait: Duration::ZERO }
}

fn reserve(runtime: &Runtime, pool: &Pool, request: PortRequest<'_>) -> Reservation {
    runtime.block_on(pool.reserve(request)).expect("a free port")
}

fn listener() -> ServerTls {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
    std::fs::write(&chain, made.cert.pem()).expect("writing");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("writing");
    let certificate = CertificateAndKey::load(&chain, &key).expect("the certificate");
    ServerTls::new(certificate, None).expect("a TLS listener")
}

fn by_address(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    let mut group = criterion.benchmark_group("reserve, by address");
    for live in LIVE {
        let pool = pool(50);
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
        let held = (0..live).map(|number| reserve(&runtime, &pool, request(address(number), None)));
        let held: Vec<_> = held.collect();
        let client = address(live);
        group.bench_function(BenchmarkId::from_parameter(live), |bencher| {
            bencher.iter(|| drop(black_box(reserve(&runtime, &pool, request(client, None)))));
        });
        group.bench_function(BenchmarkId::new("fullness", live), |bencher| {
            bencher.iter(|| black_box(pool.fullness()));
        });
        drop(held);
    }
}

fn by_session(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    let (listener, client) = (listener(), IpAddr::from([192, 0, 2, 1]));
    let mut group = criterion.benchmark_group("reserve, TLS sessions at one port");
    for live in LIVE {
        let pool = pool(1);
        let sessions: Vec<_> = (0..=live)
            .map(|_| {
                let session = listener.control_session();
                session.note_handshake_allowed();
                session.note_command();
                session.note_command();
                session
            })
            .collect();
        let (own, others) = sessions.split_last().expect("sessions");
        let held = others.iter().map(|tls| reserve(&runtime, &pool, request(client, Some(tls))));
        let held: Vec<_> = held.collect();
        group.bench_function(BenchmarkId::from_parameter(live), |bencher| {
            bencher.iter(|| drop(black_box(reserve(&runtime, &pool, request(client, Some(own))))));
        });
        drop(held);
    }
}

criterion_group!(benches, by_address, by_session);
criterion_main!(benches);
