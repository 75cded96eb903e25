//! The cache, and that no data is appended after an outdated size.

use super::*;
use crate::op::{WriteFile, WriteMode};

#[tokio::test]
async fn cached_entries_expire_and_are_never_the_base_of_a_resume() {
    let server = Server::start(&[("/a", b"four")], Oddities::default()).await;
    let session = server.session().await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(4));
    server.seen().files.insert("/a".into(), bytes(10));
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(4), "remembered");
    let size = perform(&*session, Operation::Size(path("/a"), Representation::Image)).await;
    assert!(matches!(size, Ok(Answer::Size(10))), "{size:?}");
    let file = open(&*session, "/a", continuing()).await.unwrap();
    assert!(file.write_at(4, Bytes::from_static(b"x")).await.is_err());
    file.write_at(10, Bytes::from_static(b"x")).await.unwrap();
    // Nothing is cached during a write.
    stat(&*session, "/a").await.unwrap();
    let requests = server.count("MLST");
    stat(&*session, "/a").await.unwrap();
    assert_eq!(server.count("MLST"), requests + 1);
    file.close().await.unwrap();
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(11));
    server.seen().files.insert("/a".into(), bytes(20));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(20));
}

#[tokio::test]
async fn an_append_after_an_outdated_size_is_refused() {
    let append = OpenMode { write: true, create: true, append: true, ..OpenMode::default() };
    for changes in [true, false] {
        let server = Server::start(&[("/a", b"four")], Oddities::default()).await;
        let session = server.session().await;
        for _ in 0..2 {
            assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(4));
        }
        assert_eq!(server.count("MLST"), 1, "the second time from memory");
        if changes {
            server.seen().files.insert("/a".into(), b"longer".to_vec());
            let refused = open(&*session, "/a", append).await.err().expect("a refusal");
            assert!(refused.message.contains("6 bytes, not 4"), "{refused}");
            assert_eq!(server.count("APPE"), 0);
            continue;
        }
        let file = open(&*session, "/a", append).await.unwrap();
        file.write_at(0, Bytes::from_static(b"teen")).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(server.file("/a").unwrap(), b"fourteen");
    }
}

async fn write(
    session: &dyn BackendSession,
    mode: WriteMode,
) -> Result<Box<dyn crate::backend::WriteTransfer>, Failure> {
    let representation = Representation::Image;
    session.open_write(&target(WriteFile { path: path("/a"), mode, representation })).await
}

/// Gives the client a size from the cache after the file has grown.
async fn serve_outdated_size(server: &Server, session: &dyn BackendSession) {
    server.seen().files.insert("/a".into(), b"four".to_vec());
    names(session, "/").await.unwrap();
    server.seen().files.insert("/a".into(), b"longer".to_vec());
    let requests = server.count("MLST");
    assert_eq!(stat(session, "/a").await.unwrap().attributes.size, Some(4));
    assert_eq!(server.count("MLST"), requests, "from memory");
}

#[tokio::test]
async fn ftp_clients_do_not_append_after_an_outdated_size() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    for mode in [WriteMode::Append, WriteMode::From { offset: 4 }] {
        serve_outdated_size(&server, &*session).await;
        // Until the client has got the size from the server.
        for _ in 0..2 {
            let refused = write(&*session, mode).await.err().expect("a refusal");
            assert!(refused.message.contains("6 bytes, not 4"), "{refused}");
        }
        assert_eq!(server.count("APPE") + server.count("STOR"), 0);
    }
    // The client has got the size from the server, or does not rely on it.
    perform(&*session, Operation::Size(path("/a"), Representation::Image)).await.unwrap();
    drop(write(&*session, WriteMode::Append).await.unwrap());
    for (mode, asks_again) in [
        (WriteMode::Append, true),
        (WriteMode::From { offset: 2 }, false),
        (WriteMode::From { offset: 0 }, false),
    ] {
        let session = server.session().await;
        serve_outdated_size(&server, &*session).await;
        if asks_again {
            names(&*session, "/").await.unwrap();
        }
        drop(write(&*session, mode).await.unwrap());
    }
}

#[tokio::test]
async fn unrelated_changes_do_not_validate_an_outdated_size() {
    let append = OpenMode { write: true, create: true, append: true, ..OpenMode::default() };
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    let changes = Changes::permissions(0o600);
    for operation in [
        Operation::MakeDirectory { path: path("/x"), permissions: None },
        Operation::SetAttributes { path: path("/a"), changes, follow: true },
        Operation::RemoveDirectory(path("/x")),
    ] {
        serve_outdated_size(&server, &*session).await;
        perform(&*session, operation).await.unwrap();
        let refused = open(&*session, "/a", append).await.err().expect("a refusal");
        assert!(refused.message.contains("6 bytes, not 4"), "{refused}");
    }
    // Changes by the client itself.
    for operation in [
        Operation::Remove(path("/a")),
        Operation::Rename { from: path("/a"), to: path("/b"), onto: Onto::Replaced },
    ] {
        serve_outdated_size(&server, &*session).await;
        perform(&*session, operation).await.unwrap();
        let file = open(&*session, "/a", append).await.unwrap();
        file.write_at(0, Bytes::from_static(b"new")).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(server.file("/a").unwrap(), b"new");
    }
}
