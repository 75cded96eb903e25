//! Uploads that fail or are aborted, and their partial files (`partial_uploads`).

use super::*;

#[tokio::test]
async fn a_refused_upload_fails_the_close() {
    for refusal in ["552 no space left", "451 the disk is gone"] {
        let oddities = Oddities { refuses_uploads: Some(refusal), ..Default::default() };
        let server = Server::start(&[], oddities).await;
        let session = login(
            &server.backend_with(|settings| settings.partial_uploads = PartialUploads::Delete),
        )
        .await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, &bytes(1000)).await.unwrap();
        assert!(file.close().await.unwrap_err().message.contains(refusal));
        assert_eq!(server.file("/new"), None, "the part is deleted");
    }
}

#[tokio::test]
async fn partial_uploads_decides_about_an_aborted_upload() {
    for (policy, left) in [
        (PartialUploads::Keep, vec!["/new"]),
        (PartialUploads::Delete, vec![]),
        (PartialUploads::TemporaryName, vec![".part"]),
    ] {
        for drops in [false, true] {
            let server = Server::start(&[], Oddities::default()).await;
            let session =
                login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
            let file = open(&*session, "/new", replacing()).await.unwrap();
            put(&*file, &bytes(100_000)).await.unwrap();
            if drops {
                drop(file);
            } else {
                file.abort().await;
            }
            // Bounded by the timeout of the next operation.
            perform(&*session, Operation::Enter(path("/"))).await.unwrap();
            server.wait_until_idle().await;
            if policy == PartialUploads::Delete {
                server.until(|seen| !seen.files.contains_key("/new")).await;
            }
            let files: Vec<String> = server.seen().files.keys().cloned().collect();
            assert_eq!(files.len(), left.len(), "{policy:?} {files:?}");
            assert!(files.iter().zip(&left).all(|(file, end)| file.ends_with(end)), "{files:?}");
        }
    }
}

#[tokio::test]
async fn a_file_with_a_temporary_name_is_renamed_at_close() {
    for never_overwrites in [false, true] {
        let oddities = Oddities { never_overwrites, ..Default::default() };
        let server = Server::start(&[("/new", b"old")], oddities).await;
        let policy = PartialUploads::TemporaryName;
        let session =
            login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, b"new bytes").await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"old");
        file.set_attributes(&Changes::permissions(0o600)).await.unwrap();
        assert_eq!(server.count("SITE"), 0);
        file.close().await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"new bytes");
        assert_eq!(server.seen().files.len(), 1);
        assert!(server.lines().contains(&"SITE CHMOD 600 /new".to_owned()));
    }
}

#[tokio::test]
async fn an_abort_after_a_sync_leaves_no_complete_file() {
    for (policy, left) in [
        (PartialUploads::Keep, vec!["/new"]),
        (PartialUploads::Delete, vec![]),
        (PartialUploads::TemporaryName, vec![".part", "/new"]),
    ] {
        for more in [false, true] {
            let files: &[(&str, &[u8])] = match policy {
                PartialUploads::TemporaryName => &[("/new", b"the old one")],
                _ => &[],
            };
            let server = Server::start(files, Oddities::default()).await;
            let session =
                login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
            let file = open(&*session, "/new", replacing()).await.unwrap();
            put(&*file, &bytes(100_000)).await.unwrap();
            file.sync().await.unwrap();
            assert_eq!(file.stat().await.unwrap().attributes.size, Some(100_000));
            if more {
                file.write_at(100_000, Bytes::from_static(b"more")).await.unwrap();
            }
            file.abort().await;
            let files: Vec<String> = server.seen().files.keys().cloned().collect();
            assert_eq!(files.len(), left.len(), "{policy:?} {more} {files:?}");
            assert!(files.iter().zip(&left).all(|(file, end)| file.ends_with(end)), "{files:?}");
            if policy == PartialUploads::TemporaryName {
                assert_eq!(server.file("/new").unwrap(), b"the old one");
            }
        }
    }
}

#[tokio::test]
async fn a_synced_file_gets_its_final_name_at_close() {
    for more in [false, true] {
        let server = Server::start(&[("/new", b"old")], Oddities::default()).await;
        let policy = PartialUploads::TemporaryName;
        let session =
            login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, b"synced").await.unwrap();
        file.sync().await.unwrap();
        file.set_attributes(&Changes::permissions(0o600)).await.unwrap();
        if more {
            file.write_at(6, Bytes::from_static(b" more")).await.unwrap();
        }
        file.close().await.unwrap();
        let expected: &[u8] = if more { b"synced more" } else { b"synced" };
        assert_eq!(server.file("/new").unwrap(), expected);
        assert_eq!(server.seen().files.len(), 1);
        assert!(server.lines().contains(&"SITE CHMOD 600 /new".to_owned()));
    }
}

#[tokio::test]
async fn only_the_uploads_own_partial_file_is_deleted() {
    // The old file exists until the end, or another client has stored the file meanwhile.
    for comes_back in [false, true] {
        let oddities = Oddities { shows_uploads_at_end: true, ..Default::default() };
        let server = Server::start(&[("/new", b"the old one")], oddities).await;
        let policy = PartialUploads::Delete;
        let session =
            login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, &bytes(1000)).await.unwrap();
        if comes_back {
            server.seen().files.insert("/new".into(), bytes(5000));
        }
        file.abort().await;
        let expected = if comes_back { bytes(5000) } else { b"the old one".to_vec() };
        assert_eq!(server.file("/new"), Some(expected));
    }
    // The same for FTP clients, whose bytes are counted elsewhere.
    let oddities = Oddities { shows_uploads_at_end: true, ..Default::default() };
    let server = Server::start(&[], oddities).await;
    let policy = PartialUploads::Delete;
    let session = login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
    let write = WriteFile {
        path: path("/new"),
        mode: crate::op::WriteMode::From { offset: 0 },
        representation: Representation::Image,
    };
    let mut transfer = session.open_write(&target(write)).await.unwrap();
    server.seen().files.insert("/new".into(), bytes(5000));
    transfer.sent(1000);
    transfer.abort().await;
    assert_eq!(server.file("/new"), Some(bytes(5000)));
}

#[tokio::test]
async fn an_aborted_upload_does_not_delete_the_file_of_a_later_upload() {
    let server = Server::start(&[], Oddities::default()).await;
    let policy = PartialUploads::Delete;
    let backend = server.backend_with(|settings| settings.partial_uploads = policy);
    let (first, second) = (login(&backend).await, login(&backend).await);
    let cut = open(&*first, "/new", replacing()).await.unwrap();
    put(&*cut, &bytes(1000)).await.unwrap();
    let again = open(&*second, "/new", replacing()).await.unwrap();
    put(&*again, &bytes(10)).await.unwrap();
    cut.abort().await;
    perform(&*first, Operation::Enter(path("/"))).await.unwrap();
    assert_eq!(server.count("DELE"), 0);
    again.close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), bytes(10));
}

#[tokio::test]
async fn a_partial_file_is_deleted_over_a_new_login() {
    let oddities = Oddities { drops_upload_at: Some(1000), ..Default::default() };
    let server = Server::start(&[], oddities).await;
    let session = login_with(&server, PartialUploads::Delete).await;
    let file = open(&*session, "/new", replacing()).await.unwrap();
    server.until(|seen| seen.files.contains_key("/new")).await;
    let _ = put(&*file, &bytes(1000)).await;
    assert!(file.close().await.is_err());
    file.abort().await;
    server.until(|seen| !seen.files.contains_key("/new")).await;
    assert_eq!((server.count("USER"), server.count("DELE")), (2, 1));
}

#[tokio::test]
async fn of_two_exclusive_creates_the_first_to_close_succeeds() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = login_with(&server, PartialUploads::TemporaryName).await;
    let mode = OpenMode { exclusive: true, ..replacing() };
    let first = open(&*session, "/new", mode).await.unwrap();
    let second = open(&*session, "/new", mode).await.unwrap();
    put(&*second, b"second").await.unwrap();
    put(&*first, b"first").await.unwrap();
    first.close().await.unwrap();
    let refused = second.close().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::AlreadyExists, "{refused}");
    assert_eq!(server.file("/new").unwrap(), b"first");
}

/// Both ends of a TLS connection.
async fn tls_pair() -> (crate::net::Stream, crate::net::Stream) {
    use crate::net::tls::{CertificateAndKey, ClientTls, Direction, ServerTls, SessionReuse};
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server =
        ServerTls::new(CertificateAndKey::load(&certificate, &key).unwrap(), None).unwrap();
    let client = ClientTls::new("localhost", None, false, SessionReuse::None).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let control = server.control_session();
    let (near, far) = tokio::join!(
        client.connect_data(near),
        control.accept_data((far, Vec::new()), std::time::Instant::now(), Direction::Upload)
    );
    (near.unwrap(), far.unwrap().stream)
}

#[tokio::test]
async fn an_upload_whose_end_could_not_be_sent_fails_despite_a_success_reply() {
    use crate::data::Sink;
    use tokio::io::AsyncWriteExt;
    let server = Server::start(&[], Oddities::default()).await;
    let backend =
        server.backend_with(|settings| settings.reply_timeout = Duration::from_millis(500));
    let (settings, shared) = (backend.settings.clone(), backend.shared.clone());
    let account = (&Arc::default(), testing::credentials());
    let pool = Pool::login(settings, shared, None, account, Origin::ANY).await.unwrap();
    let write_guard = Arc::<Cache>::default().write_guard();
    let mode = crate::op::WriteMode::From { offset: 0 };
    let guard = pool.acquire(OPEN_TIMEOUT).await.unwrap();
    let started =
        upload::start(guard, write_guard, &path("/new"), mode, Representation::Image, None).await;
    let mut write = Box::new(started.unwrap());
    // Over TLS to a peer that stops reading, while the server sees an end of data.
    let (mut near, _far) = tls_pair().await;
    near.reset_on_drop();
    while tokio::time::timeout(Duration::from_millis(200), near.write_all(&[7; 16 * 1024]))
        .await
        .is_ok()
    {}
    let Sink::Socket(plain) = std::mem::replace(write.sink(), Sink::Socket(near)) else {
        panic!("no socket")
    };
    plain.complete(Duration::from_secs(1)).await.unwrap();
    let failure = write.end(true).await.expect_err("the end was never sent");
    assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
}
