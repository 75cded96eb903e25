//! Tests with real sockets and TLS.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::data::metrics::WaitEnd;
use crate::data::{Pool, PoolMetrics, PoolSettings, Pools, Ports};
use crate::net::tls::{
    CertificateAndKey, ClientTls, ControlTls, DataHandshake, Direction, ServerTls, SessionReuse,
};
use crate::net::{self, Sockets};
use crate::task::poll_once;

const LOCALHOST: &str = "127.0.0.1";

fn pool(ports: u16) -> Pool {
    let metrics = PoolMetrics::register(&prometheus::Registry::new()).unwrap();
    let settings = PoolSettings {
        name: "test".into(),
        ports: Ports::Ephemeral(ports),
        listen: vec![LOCALHOST.parse().unwrap()],
        advertise: vec![],
        client_match: ClientMatch::Address,
        reservations_per_address: 10,
        wait: Duration::from_millis(200),
        proxy_protocol: vec![],
    };
    let pool = Pool::bind(settings, &metrics).unwrap();
    pool.serve(&CancellationToken::new(), &CancellationToken::new());
    pool
}

fn request(client: &str, session: u64) -> PortRequest<'static> {
    PortRequest {
        client: client.parse().unwrap(),
        session,
        tls: None,
        must_resume: true,
        connect_within: Duration::from_secs(10),
        wait: Duration::from_millis(200),
    }
}

async fn connect(from: &str, port: u16) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(SocketAddr::new(LOCALHOST.parse().unwrap(), port)).await.unwrap()
}

async fn is_closed(mut tcp: TcpStream) -> bool {
    tcp.read(&mut [0]).await.map_or(true, |read| read == 0)
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_counted_as_such_and_an_idle_pool_is_empty() {
    let pool = pool(2);
    assert_eq!(pool.fullness(), 0.0);
    let first = pool.reserve(request("127.0.0.2", 1)).await.unwrap();
    assert_eq!(pool.fullness(), 0.5);
    let second = pool.reserve(request("127.0.0.2", 2)).await.unwrap();
    let waiting = pool.reserve(request("127.0.0.2", 3));
    assert!(timeout(Duration::from_millis(20), waiting).await.is_err());
    let waits = |end| pool.rendezvous.metrics.waits.count(end);
    assert_eq!([WaitEnd::Ok, WaitEnd::Timeout, WaitEnd::Left].map(waits), [2, 0, 1]);
    // A late connection may still come to one that was not connected.
    drop(first);
    second.release();
    assert_eq!(pool.fullness(), 0.5);
}

#[tokio::test]
async fn one_port_serves_many_addresses_and_strays_use_up_nothing() {
    let pool = pool(1);
    let mut first = pool.reserve(request("127.0.0.2", 1)).await.unwrap();
    let mut second = pool.reserve(request("127.0.0.3", 2)).await.unwrap();
    assert_eq!(first.port(), second.port());
    let refused = pool.reserve(request("127.0.0.2", 3)).await.err().unwrap();
    assert!(matches!(refused, Exhausted::NotInTime { ports: 1, .. }), "{refused}");
    let waits = |end| pool.rendezvous.metrics.waits.count(end);
    assert_eq!([WaitEnd::Ok, WaitEnd::Timeout, WaitEnd::Left].map(waits), [2, 1, 0]);
    // Whoever comes from another address still gets the port.
    assert_eq!(pool.fullness(), 1.0);

    assert!(is_closed(connect("127.0.0.9", first.port()).await).await);
    let mut of_second = connect("127.0.0.3", first.port()).await;
    let mut of_first = connect("127.0.0.2", first.port()).await;
    of_first.write_all(b"1").await.unwrap();
    of_second.write_all(b"2").await.unwrap();
    for (reservation, expected) in [(&mut first, b"1"), (&mut second, b"2")] {
        let mut arrived = reservation.arrived().await.unwrap();
        let mut byte = [0];
        arrived.tcp.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, expected);
    }
    let stray = pool.view().ports[0].last_stray.unwrap();
    assert_eq!(stray.from.ip().to_string(), "127.0.0.9");
    let metrics = &pool.rendezvous.metrics;
    assert_eq!((metrics.stray.get(), metrics.exhausted.get()), (1, 1));
    let active = first.activate();
    assert_eq!(metrics.active.get(), 1);
    let seen = pool.view().ports.remove(0);
    assert_eq!((seen.reserved, seen.active, seen.owners[0].session), (0, 1, 1));
    drop(active);
    assert_eq!(metrics.active.get(), 0);
}

#[tokio::test]
async fn a_port_is_in_quarantine_for_other_sessions_after_an_unused_reservation() {
    let pool = pool(1);
    drop(pool.reserve(request(LOCALHOST, 1)).await.unwrap());
    assert!(pool.reserve(request(LOCALHOST, 2)).await.is_err());
    // A late connection would be the session's own.
    let again = pool.reserve(request(LOCALHOST, 1)).await.unwrap();
    assert_eq!(pool.rendezvous.metrics.reserved.get(), 1);
    drop(again);
    assert_eq!(pool.rendezvous.metrics.reserved.get(), 0);
}

#[tokio::test]
async fn all_ports_of_a_pool_are_used() {
    let pool = pool(5);
    let mut ports = Vec::new();
    let mut all = Vec::new();
    for session in 0..5 {
        let reservation = pool.reserve(request(LOCALHOST, session)).await.unwrap();
        ports.push(reservation.port());
        all.push(reservation);
    }
    ports.sort_unstable();
    assert_eq!(ports, pool.ports);
}

#[tokio::test]
async fn queued_requests_get_a_free_port_in_their_order() {
    let pool = Arc::new(pool(1));
    let first = pool.reserve(request(LOCALHOST, 1)).await.unwrap();
    let port = first.port();
    let reserve = |session| {
        let pool = pool.clone();
        let wait = Duration::from_secs(20);
        tokio::spawn(async move {
            pool.reserve(PortRequest { wait, ..request(LOCALHOST, session) }).await
        })
    };
    let queued = async |count| {
        while pool.rendezvous.metrics.queued.get() != count {
            tokio::task::yield_now().await;
        }
    };
    let second = reserve(2);
    queued(1).await;
    let third = reserve(3);
    queued(2).await;
    let aborted = reserve(4);
    queued(3).await;
    aborted.abort();
    let _connected = connect(LOCALHOST, port).await;
    let second = second.await.unwrap().unwrap();
    assert!(!third.is_finished());
    let _connected = connect(LOCALHOST, port).await;
    let third = third.await.unwrap().unwrap();
    drop((first, second, third));
    assert_eq!(pool.rendezvous.metrics.reserved.get(), 0);
}

#[tokio::test]
async fn the_limit_of_one_address_does_not_affect_others() {
    let pool = pool(11);
    let mut held = Vec::new();
    for session in 0..10 {
        held.push(pool.reserve(request("127.0.0.2", session)).await.unwrap());
    }
    let refused = pool.reserve(request("127.0.0.2", 11)).await.err().unwrap();
    assert!(matches!(refused, Exhausted::AddressLimit { limit: 10, .. }), "{refused}");
    assert!(pool.reserve(request("127.0.0.3", 12)).await.is_ok());
}

#[tokio::test]
async fn a_reservation_expires_unless_it_is_renewed() {
    let pool = pool(2);
    let connect_within = Duration::from_millis(100);
    let short = |session| PortRequest { connect_within, ..request(LOCALHOST, session) };
    let mut late = pool.reserve(short(1)).await.unwrap();
    let renewed = pool.reserve(short(2)).await.unwrap();
    renewed.renew(Duration::from_secs(60));
    assert!(late.arrived().await.is_none());
    assert!(is_closed(connect(LOCALHOST, late.port()).await).await);
    let metrics = &pool.rendezvous.metrics;
    assert_eq!((metrics.expired.get(), metrics.reserved.get()), (1, 1));
}

/// One listener's TLS, and clients that know its certificate.
struct Tls {
    server: ServerTls,
    roots: rustls::RootCertStore,
}

impl Tls {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let certificate = CertificateAndKey::load(&chain, &key).unwrap();
        Self { server: ServerTls::new(certificate, None).unwrap(), roots }
    }

    /// A control connection, and the client's TLS state that its data connections use.
    async fn session(&self, tls13: bool) -> (ControlTls, ClientTls) {
        let control = self.server.control_session();
        control.note_handshake_allowed();
        self.log_in(control, tls13).await
    }

    /// Two whose handshakes overlap.
    async fn sessions_at_once(&self, tls13: bool) -> [(ControlTls, ClientTls); 2] {
        let (one, two) = (self.server.control_session(), self.server.control_session());
        one.note_handshake_allowed();
        two.note_handshake_allowed();
        [self.log_in(one, tls13).await, self.log_in(two, tls13).await]
    }

    async fn log_in(&self, control: ControlTls, tls13: bool) -> (ControlTls, ClientTls) {
        let roots = Some(self.roots.clone());
        let client = ClientTls::new("localhost", roots, true, SessionReuse::Auto).unwrap();
        let client = client.session(tls13);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let (near, far) = tokio::join!(client.connect(near), control.accept_control(far));
        let (mut near, mut far) = (near.unwrap(), far.unwrap().unwrap());
        // The tickets arrive with the first bytes.
        far.write_all(b"220").await.unwrap();
        far.flush().await.unwrap();
        near.read_exact(&mut [0; 3]).await.unwrap();
        control.note_command();
        control.note_command();
        (control, client)
    }
}

/// A data connection of a client, and whether it resumed the session as it must.
async fn transfer(reservation: &mut Reservation, control: &ControlTls, client: &ClientTls) -> bool {
    let tcp = connect(LOCALHOST, reservation.port()).await;
    let client = client.clone();
    let near = tokio::spawn(async move { client.connect_data(tcp).await });
    let (since, arrived) = (reservation.since(), reservation.arrived().await);
    let Arrived { tcp, read, .. } = arrived.unwrap();
    let accepted = control.accept_data((tcp, read), since, Direction::Upload).await;
    near.await.unwrap().unwrap();
    accepted.unwrap().resumed
}

/// One client may use one store for both.
#[tokio::test]
async fn sessions_with_possibly_one_store_share_a_port_only_after_each_was_resumed() {
    for used_up in [false, true] {
        let (pool, tls) = (pool(1), Tls::new());
        let [one, two] = if used_up {
            // The first session's tickets may be used up when the second logs in.
            let one = tls.session(true).await;
            one.0.note_data_requested();
            [one, tls.session(true).await]
        } else {
            tls.sessions_at_once(false).await
        };
        let ask = |session: u64| {
            let tls = Some(if session == 1 { &one.0 } else { &two.0 });
            pool.reserve(PortRequest { tls, ..request(LOCALHOST, session) })
        };
        let first = ask(1).await.unwrap();
        assert!(ask(2).await.is_err());
        first.release();
        for (session, (control, client)) in [(1, &one), (2, &two)] {
            let mut reservation = ask(session).await.unwrap();
            assert!(transfer(&mut reservation, control, client).await);
            reservation.activate();
        }
        let (mut first, mut second) = (ask(1).await.unwrap(), ask(2).await.unwrap());
        assert_eq!(first.port(), second.port());
        assert!(transfer(&mut second, &two.0, &two.1).await);
        assert!(transfer(&mut first, &one.0, &one.1).await);
    }
}

/// With one store for two sessions, every connection resumes the session that was stored last.
#[tokio::test]
async fn a_connection_that_resumes_another_session_is_refused_and_reveals_the_shared_store() {
    let (pool, tls) = (pool(1), Tls::new());
    let [one, two] = tls.sessions_at_once(true).await;
    let ask = |tls, session| PortRequest { tls: Some(tls), ..request(LOCALHOST, session) };
    let mut first = pool.reserve(ask(&one.0, 1)).await.unwrap();
    // For the first, with the second's ticket.
    let tcp = connect(LOCALHOST, first.port()).await;
    assert!(two.1.connect_data(tcp).await.is_err());
    assert!(poll_once(first.arrived()).is_none());
    // Now the shared store is known.
    assert!(one.0.resumption_evidence().shares_store && two.0.resumption_evidence().shares_store);
    assert!(pool.reserve(ask(&two.0, 2)).await.is_err());
}

/// Where resumption is optional, a client with one store may resume any of its sessions.
#[tokio::test]
async fn with_optional_resumption_a_connection_goes_to_the_only_reservation() {
    let (pool, tls) = (pool(1), Tls::new());
    let [one, two] = tls.sessions_at_once(true).await;
    let ask = PortRequest { tls: Some(&one.0), must_resume: false, ..request(LOCALHOST, 1) };
    let mut reservation = pool.reserve(ask).await.unwrap();
    assert!(!transfer(&mut reservation, &one.0, &two.1).await);
}

#[tokio::test]
async fn tls_sessions_of_one_address_share_a_port_and_get_their_own_connections() {
    const SESSIONS: usize = 20;
    let (pool, tls) = (pool(1), Tls::new());
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let (control, client) = tls.session(number % 2 == 0).await;
        let mine = PortRequest { tls: Some(&control), ..request(LOCALHOST, number as u64) };
        let reservation =
            pool.reserve(PortRequest { client: "::ffff:127.0.0.1".parse().unwrap(), ..mine });
        sessions.push((reservation.await, control, client));
    }
    let (first, rest) = sessions.split_at_mut(10);
    // An address may have ten.
    assert!(rest.iter().all(|(reservation, ..)| reservation.is_err()));
    let port = first[0].0.as_ref().unwrap().port();
    let plain = PortRequest { wait: Duration::ZERO, ..request("127.0.0.1", 99) };
    assert!(pool.reserve(plain).await.is_err(), "a plain reservation cannot share");

    // Strays: no ticket where several reservations wait, no TLS, a ticket of a session without a
    // reservation.
    let (_, stranger) = tls.session(true).await;
    let tcp = connect(LOCALHOST, port).await;
    assert!(stranger.connect_data(tcp).await.is_err());
    let mut plain = connect(LOCALHOST, port).await;
    plain.write_all(b"USER stranger\r\n").await.unwrap();
    assert!(is_closed(plain).await);

    // In another order than the reservations.
    let mut clients = Vec::new();
    for (number, (_, _, client)) in first.iter().enumerate().rev() {
        let tcp = connect(LOCALHOST, port).await;
        let client = client.clone();
        clients.push(tokio::spawn(async move {
            let mut stream = client.connect_data(tcp).await.unwrap();
            stream.write_all(&[number as u8]).await.unwrap();
            stream.flush().await.unwrap();
            stream
        }));
    }
    for (number, (reservation, control, _)) in first.iter_mut().enumerate() {
        let reservation = reservation.as_mut().unwrap();
        let Arrived { tcp, read, .. } = reservation.arrived().await.unwrap();
        let accepted = control.accept_data((tcp, read), Instant::now(), Direction::Upload).await;
        let DataHandshake { mut stream, resumed, .. } = accepted.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        assert_eq!((resumed, byte[0]), (true, number as u8));
    }
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_port_is_shared_only_when_none_is_free() {
    let (pool, tls) = (pool(2), Tls::new());
    let sessions =
        [tls.session(true).await.0, tls.session(true).await.0, tls.session(true).await.0];
    let ask = |number: usize| PortRequest {
        tls: Some(&sessions[number]),
        ..request(LOCALHOST, number as u64)
    };
    for _ in 0..20 {
        let first = pool.reserve(ask(0)).await.unwrap();
        let second = pool.reserve(ask(1)).await.unwrap();
        assert_ne!(first.port(), second.port());
        assert!(pool.reserve(ask(2)).await.is_ok());
    }
}

/// Its sessions are still told of the address that the next configuration does not have.
#[tokio::test]
async fn a_port_of_a_removed_address_stays_open_for_its_sessions() {
    let (sockets, stop) = (Sockets::default(), CancellationToken::new());
    let pools = Pools::new(PoolMetrics::register(&prometheus::Registry::new()).unwrap());
    let settings = |listen: &[&str], port| PoolSettings {
        name: "pool".into(),
        ports: Ports::Range(port..=port),
        listen: listen.iter().map(|ip| ip.parse().unwrap()).collect(),
        advertise: vec![],
        client_match: ClientMatch::Address,
        reservations_per_address: 10,
        wait: Duration::from_millis(200),
        proxy_protocol: vec![],
    };
    let free = net::listen("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap().port();
    let replaced = CancellationToken::new();
    let first = pools.open(settings(&["127.0.0.1", "127.0.0.9"], free), &sockets).unwrap();
    first.serve(&replaced, &stop);
    let mut old = first.reserve(request("127.0.0.2", 1)).await.unwrap();
    let next = pools.open(settings(&["127.0.0.1"], free), &sockets).unwrap();
    next.serve(&CancellationToken::new(), &stop);
    replaced.cancel();
    let to = |ip: &str| -> SocketAddr { format!("{ip}:{free}").parse().unwrap() };
    let from = |to| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(to).await
    };
    let _tcp = from(to("127.0.0.9")).await.unwrap();
    assert!(old.arrived().await.is_some());
    drop((old, first));
    // Nobody is told of it any more: it is closed within seconds.
    let closed = async {
        while from(to("127.0.0.9")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed).await.unwrap();
    let mut new = next.reserve(request("127.0.0.2", 2)).await.unwrap();
    let _tcp = from(to("127.0.0.1")).await.unwrap();
    assert!(new.arrived().await.is_some());
}
