//! Transfers, their round trips and their data connections.

use super::*;

/// The round trips of a transfer from `open` to `close`.
async fn round_trips(
    server: &Server,
    session: &dyn BackendSession,
    put_bytes: Option<&[u8]>,
) -> usize {
    server.take_round_trips().await;
    match put_bytes {
        Some(bytes) => {
            let file = open(session, "/new", replacing()).await.unwrap();
            put(&*file, bytes).await.unwrap();
            file.close().await.unwrap();
        }
        None => {
            let file = open(session, "/a", reading()).await.unwrap();
            assert_eq!(get(&*file).await.unwrap(), server.file("/a").unwrap());
            file.close().await.unwrap();
        }
    }
    // The first command's wait was counted before; the next one's is counted now.
    server.take_round_trips().await
}

#[tokio::test]
async fn small_files_take_two_and_three_round_trips() {
    let server = Server::start(&[("/a", &bytes(4096))], Oddities::default()).await;
    let session = server.session().await;
    // Once per server, the marker verifies that nothing follows the end of an upload.
    assert_eq!(round_trips(&server, &*session, Some(&bytes(1))).await, 4);
    for _ in 0..3 {
        assert_eq!(round_trips(&server, &*session, None).await, 2);
        assert_eq!(round_trips(&server, &*session, Some(&bytes(4096))).await, 3);
        assert_eq!(server.file("/new").unwrap(), bytes(4096));
    }
    assert_eq!(server.seen().connections, 1);
    // FTP clients' transfers take the same.
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!(server.take_round_trips().await, 2);
}

#[tokio::test]
async fn an_expected_transfer_takes_one_round_trip() {
    let server = Server::start(&[("/a", &bytes(4096))], Oddities::default()).await;
    let session = server.session().await;
    for transfers in 1..4 {
        prepare_transfer(&server, &*session).await;
        server.take_round_trips().await;
        assert_eq!(download(&*session).await, bytes(4096));
        assert_eq!(server.take_round_trips().await, 1);
        assert_eq!(server.count("EPSV"), transfers);
    }
    // A transfer that does not wait for the connection waits for the port only.
    session.expect_transfer();
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!((server.count("EPSV"), server.seen().connections), (4, 1));
}

#[tokio::test]
async fn a_lost_prepared_connection_is_replaced() {
    let oddities = Oddities { closes_ports: 1, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(4096))], oddities).await;
    let session = server.session().await;
    for ports in [2, 3] {
        if ports == 2 {
            prepare_transfer(&server, &*session).await;
        }
        assert_eq!(download(&*session).await, bytes(4096));
        assert_eq!((server.count("EPSV"), server.count("RETR")), (ports, ports - 1));
    }
    // Nor does an unreachable port harm the next operation.
    let server =
        Server::start(&[("/a", b"")], Oddities { dead_ports: true, ..Default::default() }).await;
    let session = server.session().await;
    prepare_transfer(&server, &*session).await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(0));
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_refused_prepared_connection_is_replaced() {
    let oddities = Oddities { refuses_transfers: 1, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(4096))], oddities).await;
    let session = server.session().await;
    prepare_transfer(&server, &*session).await;
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!((server.count("EPSV"), server.count("RETR")), (2, 2));
}

#[tokio::test]
async fn a_distant_server_gets_the_command_while_a_prepared_connection_is_established() {
    let oddities = Oddities { distant: true, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(4096))], oddities).await;
    let session = server.session().await;
    prepare_transfer(&server, &*session).await;
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!((server.count("EPSV"), server.seen().early_transfers), (1, 1));
}

#[tokio::test]
async fn no_port_is_prepared_during_a_transfer_or_in_active_mode() {
    let server = Server::start(&[("/a", &bytes(10))], Oddities::default()).await;
    let session = server.session().await;
    let read = ReadFile { path: path("/a"), offset: 0, representation: Representation::Image };
    let transfer = session.open_read(&target(read)).await.unwrap();
    let requests = server.lines().len();
    session.expect_transfer();
    let active = login(&server.backend_with(|s| s.data_mode = DataMode::Active)).await;
    let logged_in = server.lines().len();
    active.expect_transfer();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.lines().len(), logged_in);
    assert!(!server.lines()[requests..].iter().any(|line| line == "EPSV"));
    drop(transfer);
}

#[tokio::test]
async fn a_large_file_is_transferred_completely_in_both_directions() {
    let content = bytes(20_000_000);
    let server = Server::start(&[("/a", &content)], Oddities::default()).await;
    let session = server.session().await;
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert!(get(&*file).await.unwrap() == content);
    file.close().await.unwrap();
    assert_eq!((server.count("RETR"), server.count("REST")), (1, 0));
    let file = open(&*session, "/new", replacing()).await.unwrap();
    put(&*file, &content).await.unwrap();
    file.close().await.unwrap();
    assert!(server.file("/new").unwrap() == content);
    assert_eq!((server.count("STOR"), server.count("APPE")), (1, 0));
    // A seek.
    let file = open(&*session, "/a", reading()).await.unwrap();
    let read = file.read_at(15_000_000, 1000).await.unwrap().unwrap();
    assert!(read == content[15_000_000..15_001_000]);
    assert_eq!(server.count("REST"), 1);
    file.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_refuses_early_commands_with_425_gets_its_connection_first() {
    let oddities = Oddities { distant: true, impatient: true, ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], oddities).await;
    let session = server.session().await;
    for transfers in [2, 3] {
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(get(&*file).await.unwrap(), b"bytes");
        file.close().await.unwrap();
        assert_eq!(server.count("RETR"), transfers);
    }
    assert_eq!(server.seen().connections, 1);
    assert_eq!(server.seen().early_transfers, 1);
}

#[tokio::test]
async fn a_distant_server_gets_the_command_while_the_data_connection_is_established() {
    let oddities = Oddities { distant: true, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(300_000))], oddities).await;
    let session = server.session().await;
    // A refusal arrives then, too, and leaves the connection in sync.
    let refused = open(&*session, "/absent", reading()).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::NotFound);
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert!(get(&*file).await.unwrap() == bytes(300_000));
    file.close().await.unwrap();
    let file = open(&*session, "/new", replacing()).await.unwrap();
    put(&*file, &bytes(100_000)).await.unwrap();
    file.close().await.unwrap();
    assert!(server.file("/new").unwrap() == bytes(100_000));
    assert_eq!(server.seen().early_transfers, 3);
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_data_connection_to_a_distant_server_that_fails_is_reported() {
    let oddities = Oddities { distant: true, dead_ports: true, ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], oddities).await;
    let backend = server.backend_with(|settings| {
        settings.connect_timeout = Duration::from_millis(500);
    });
    let session = login(&backend).await;
    let refused = open(&*session, "/a", reading()).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::DataConnection, "{refused}");
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(5));
}

#[tokio::test]
async fn a_refused_transfer_leaves_the_connection_in_sync() {
    let server = Server::start(&[("/a", b"bytes")], Oddities::default()).await;
    let session = server.session().await;
    for _ in 0..3 {
        let refused = open(&*session, "/absent", reading()).await.err().expect("a refusal");
        assert_eq!(refused.kind, FailureKind::NotFound);
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(get(&*file).await.unwrap(), b"bytes");
        file.close().await.unwrap();
    }
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_failed_data_connection_is_reported_and_the_session_continues() {
    let oddities = Oddities { dead_ports: true, ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], oddities).await;
    let session = server.session().await;
    let refused = open(&*session, "/a", reading()).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::DataConnection, "{refused}");
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(5));
}

#[tokio::test]
async fn a_cut_download_never_ends_in_success() {
    for last in ["426 cut", "451 the disk is gone", "550 gone"] {
        let oddities = Oddities { cuts_downloads_at: Some((100_000, last)), ..Default::default() };
        let server = Server::start(&[("/a", &bytes(300_000))], oddities).await;
        let session = server.session().await;
        let file = open(&*session, "/a", reading()).await.unwrap();
        let failure = get(&*file).await.unwrap_err();
        assert!(failure.message.contains(last), "{failure}");
        assert!(file.read_at(300_000, 10).await.is_err());
        file.close().await.unwrap();
        // The connection is in sync.
        stat(&*session, "/a").await.unwrap();
        assert_eq!(server.seen().connections, 1);
    }
}
