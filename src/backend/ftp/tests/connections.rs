//! The control connections of a session.

use super::*;

#[tokio::test]
async fn a_lost_connection_fails_only_its_own_transfer() {
    let oddities = Oddities { drops_download_at: Some(100_000), ..Default::default() };
    let server = Server::start(&[("/a", &bytes(300_000)), ("/b", b"b")], oddities).await;
    let session = server.session().await;
    let writing = open(&*session, "/new", replacing()).await.unwrap();
    let file = open(&*session, "/a", reading()).await.unwrap();
    let failure = get(&*file).await.unwrap_err();
    assert_ne!(failure.kind, FailureKind::Unavailable, "{failure}");
    file.close().await.unwrap();
    put(&*writing, &bytes(50_000)).await.unwrap();
    writing.close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), bytes(50_000));
    assert_eq!(stat(&*session, "/b").await.unwrap().attributes.size, Some(1));
}

#[tokio::test]
async fn each_open_file_has_its_own_connection_up_to_the_limit() {
    let content = bytes(200_000);
    let server = Server::start(&[("/a", &content), ("/b", &content)], Oddities::default()).await;
    let session = login(&server.backend_with(|settings| settings.connections = 2)).await;
    let write = open(&*session, "/new", replacing()).await.unwrap();
    let other = open(&*session, "/other", replacing()).await.unwrap();
    let busy = open(&*session, "/c", replacing()).await.err().expect("too many");
    assert_eq!(busy.kind, FailureKind::Busy, "{busy}");
    other.close().await.unwrap();
    let read = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(read.read_at(0, 10).await.unwrap().unwrap(), content[..10]);
    // At the limit, an open file has no size rather than a wrong one.
    assert_eq!(read.stat().await.unwrap().attributes.size, None);
    put(&*write, &content).await.unwrap();
    assert_eq!(write.stat().await.unwrap().attributes.size, Some(200_000));
    write.close().await.unwrap();
    assert_eq!(read.stat().await.unwrap().attributes.size, Some(200_000));
    assert!(get(&*read).await.unwrap() == content);
    read.close().await.unwrap();
    assert_eq!(server.seen().connections, 2);
    session.close().await;
    server.until(|seen| seen.open == 0).await;
}

#[tokio::test]
async fn a_refused_additional_login_does_not_end_the_session() {
    let oddities = Oddities { logins_max: Some(1), ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], oddities).await;
    let session = server.session().await;
    let write = open(&*session, "/new", replacing()).await.unwrap();
    let busy = open(&*session, "/a", reading()).await.err().expect("too many");
    assert_eq!(busy.kind, FailureKind::Busy, "{busy}");
    put(&*write, b"new").await.unwrap();
    write.close().await.unwrap();
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(get(&*file).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn an_optional_operation_does_not_repeat_a_refused_login() {
    let oddities = Oddities { logins_max: Some(1), ..Default::default() };
    let server = Server::start(&[("/a", &bytes(5_000_000))], oddities).await;
    let session = server.session().await;
    let file = open(&*session, "/a", reading()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(file.stat().await.unwrap().attributes.size, None);
    }
    assert_eq!(server.count("USER"), 2);
    let write = open(&*session, "/new", replacing()).await;
    assert!(write.is_err());
    let users = server.count("USER");
    file.set_attributes(&Changes::permissions(0o600)).await.ok();
    assert!(server.count("USER") <= users + 1);
}

#[tokio::test]
async fn idle_open_files_release_their_connections() {
    let content = bytes(5_000_000);
    let server = Server::start(&[("/a", &content)], Oddities::default()).await;
    let session = login(&server.backend_with(|settings| settings.connections = 2)).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap(), content[..1000]);
        files.push(file);
    }
    let requests = std::time::Instant::now();
    perform(&*session, Operation::Size(path("/a"), Representation::Image)).await.unwrap();
    assert!(requests.elapsed() < Duration::from_secs(10), "{:?}", requests.elapsed());
    for file in files {
        assert_eq!(file.read_at(1000, 1000).await.unwrap().unwrap(), content[1000..2000]);
        file.close().await.unwrap();
    }
}
