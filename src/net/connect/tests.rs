//! Connecting, to servers with a short backlog.

use std::io::Write;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::metrics::OfBackend;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn connector(addresses: &[String], at_once: usize) -> Connector {
    Connectors::for_test().connector("b", addresses, at_once)
}

/// As small as pure-ftpd's and embedded servers' backlogs.
fn small_backlog() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(5).unwrap()
}

/// The server's kernel would drop more connections at once than `at_once`.
#[tokio::test]
async fn a_burst_reaches_a_server_that_accepts_slowly() {
    let listener = small_backlog();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (tcp, _) = listener.accept().await.unwrap();
            let mut tcp = tcp.into_std().unwrap();
            tcp.write_all(b"220 ready\r\n").unwrap();
        }
    });
    let connector = connector(&[address], 5);
    // A dropped packet is sent again after a second.
    let limit = Duration::from_millis(500);
    let greeted = async || -> Result<(), String> {
        let (tcp, _) = connector.connect(limit).await?;
        let greeted = timeout(limit, tcp.readable()).await;
        greeted.map_err(|_| "not greeted")?.map_err(|e| e.to_string())
    };
    let results = join_all((0..200).map(|_| greeted())).await;
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
    let counts = || (connector.metrics.waiting.get(), connector.metrics.in_progress.get());
    let at_rest = async {
        while counts() != (0, 0) {
            tokio::task::yield_now().await;
        }
    };
    timeout(5 * SECOND, at_rest).await.unwrap();
}

#[tokio::test]
async fn a_slot_is_held_until_the_first_byte_or_for_one_second() {
    for sends in [true, false] {
        let listener = small_backlog();
        let connector = connector(&[listener.local_addr().unwrap().to_string()], 1);
        let (first, _) = connector.connect(SECOND).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let start = Instant::now();
        let second = connector.connect(5 * SECOND);
        tokio::pin!(second);
        assert!(timeout(Duration::from_millis(100), &mut second).await.is_err());
        let OfBackend { waiting, in_progress, .. } = &*connector.metrics;
        assert_eq!((waiting.get(), in_progress.get()), (1, 1));
        if sends {
            accepted.try_write(b"2").unwrap();
        }
        second.await.unwrap();
        let took = start.elapsed();
        assert_eq!(took < Duration::from_millis(600), sends, "{took:?}");
        // The byte is still there.
        let mut bytes = [0; 2];
        assert_eq!(first.try_read(&mut bytes).ok(), sends.then_some(1));
    }
}

#[tokio::test]
async fn a_cancelled_wait_leaves_the_queue() {
    let listener = small_backlog();
    let connector = connector(&[listener.local_addr().unwrap().to_string()], 1);
    let _first = connector.connect(SECOND).await.unwrap();
    let left = timeout(Duration::from_millis(100), connector.connect(5 * SECOND)).await;
    assert!(left.is_err());
    assert_eq!(connector.metrics.waiting.get(), 0);
}

/// The first server's backlog is full, and it accepts nothing.
#[tokio::test]
async fn a_burst_falls_back_to_the_next_address_when_the_first_is_dead() {
    let dead = TcpSocket::new_v4().unwrap();
    dead.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = dead.listen(0).unwrap();
    let address = dead.local_addr().unwrap();
    let mut fillers = Vec::new();
    let fill = || timeout(Duration::from_millis(200), TcpStream::connect(address));
    while let Ok(Ok(filler)) = fill().await {
        fillers.push(filler);
    }
    let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [address.to_string(), good.local_addr().unwrap().to_string()];
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = good.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut tcp, b"220\r\n").await.unwrap();
        }
    });
    let connector = connector(&addresses, 2);
    let start = Instant::now();
    let results = join_all((0..40).map(|_| connector.connect(SECOND))).await;
    assert!(results.iter().all(|r| r.as_ref().is_ok_and(|(_, at)| *at == addresses[1])));
    // Waiting in turn would take twenty rounds of one second.
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test]
async fn backends_share_the_queue_of_an_address() {
    let listener = small_backlog();
    let addresses = [listener.local_addr().unwrap().to_string()];
    let connectors = Connectors::for_test();
    let one = connectors.connector("one", &addresses, 8);
    let two = connectors.connector("two", &addresses, 1);
    let _first = one.connect(SECOND).await.unwrap();
    let second = timeout(Duration::from_millis(100), two.connect(5 * SECOND)).await;
    assert!(second.is_err(), "two at once");
    let limits = ["one", "two"].map(|name| (name.to_owned(), 1));
    assert_eq!(connectors.limits(), limits);
}

#[tokio::test]
async fn connections_are_timed_and_the_series_of_a_backend_end_with_it() {
    let registry = Registry::new();
    let connectors = Connectors::register(&registry).unwrap();
    let series = || {
        let families = registry.gather();
        let times = families.iter().find(|it| it.name().ends_with("_duration_seconds"));
        let metrics = times.map(|it| it.get_metric()).unwrap_or_default();
        let counts = metrics.iter().map(|it| it.get_histogram().get_sample_count());
        (families.len(), counts.collect::<Vec<_>>())
    };
    let connector = connectors.connector("b", &[], 1);
    connector.connecting().ended(ConnectEnd::Ok);
    drop(connector.connecting());
    // In the order of their labels: failed, given-up, ok, timeout, unreachable.
    assert_eq!(series(), (3, vec![0, 1, 1, 0, 0]));
    connectors.forget_ended();
    assert_eq!(series().0, 3);
    drop(connector);
    connectors.next().forget_ended();
    assert_eq!(series(), (0, vec![]));
}
