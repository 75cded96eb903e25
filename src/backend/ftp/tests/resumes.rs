//! What is remembered, and that nothing is written behind a size that is only that.

use super::*;
use crate::op::{WriteFile, WriteMode};

#[tokio::test]
async fn what_is_remembered_is_two_seconds_old_at_most_and_never_the_base_of_a_resume() {
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
    // While something is written nothing is remembered.
    stat(&*session, "/a").await.unwrap();
    let asked = server.count("MLST");
    stat(&*session, "/a").await.unwrap();
    assert_eq!(server.count("MLST"), asked + 1);
    file.close().await.unwrap();
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(11));
    server.seen().files.insert("/a".into(), bytes(20));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(20));
}

#[tokio::test]
async fn nothing_is_appended_behind_a_size_that_is_none_any_more() {
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

/// What the client is told from memory, while the file has grown.
async fn told_wrongly(server: &Server, session: &dyn BackendSession) {
    server.seen().files.insert("/a".into(), b"four".to_vec());
    names(session, "/").await.unwrap();
    server.seen().files.insert("/a".into(), b"longer".to_vec());
    let asked = server.count("MLST");
    assert_eq!(stat(session, "/a").await.unwrap().attributes.size, Some(4));
    assert_eq!(server.count("MLST"), asked, "from memory");
}

#[tokio::test]
async fn ftp_clients_write_nothing_behind_a_size_that_is_none_any_more() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    for mode in [WriteMode::Append, WriteMode::From { offset: 4 }] {
        told_wrongly(&server, &*session).await;
        // Until it has asked.
        for _ in 0..2 {
            let refused = write(&*session, mode).await.err().expect("a refusal");
            assert!(refused.message.contains("6 bytes, not 4"), "{refused}");
        }
        assert_eq!(server.count("APPE") + server.count("STOR"), 0);
    }
    // It knows better, or relies on nothing of it.
    perform(&*session, Operation::Size(path("/a"), Representation::Image)).await.unwrap();
    drop(write(&*session, WriteMode::Append).await.unwrap());
    for (mode, asks_again) in [
        (WriteMode::Append, true),
        (WriteMode::From { offset: 2 }, false),
        (WriteMode::From { offset: 0 }, false),
    ] {
        let session = server.session().await;
        told_wrongly(&server, &*session).await;
        if asks_again {
            names(&*session, "/").await.unwrap();
        }
        drop(write(&*session, mode).await.unwrap());
    }
}

#[tokio::test]
async fn other_changes_do_not_make_a_told_size_true() {
    let append = OpenMode { write: true, create: true, append: true, ..OpenMode::default() };
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    let changes = Changes::permissions(0o600);
    for operation in [
        Operation::MakeDirectory { path: path("/x"), permissions: None },
        Operation::SetAttributes { path: path("/a"), changes, follow: true },
        Operation::RemoveDirectory(path("/x")),
    ] {
        told_wrongly(&server, &*session).await;
        perform(&*session, operation).await.unwrap();
        let refused = open(&*session, "/a", append).await.err().expect("a refusal");
        assert!(refused.message.contains("6 bytes, not 4"), "{refused}");
    }
    // The client's own.
    for operation in [
        Operation::Remove(path("/a")),
        Operation::Rename { from: path("/a"), to: path("/b"), onto: Onto::Replaced },
    ] {
        told_wrongly(&server, &*session).await;
        perform(&*session, operation).await.unwrap();
        let file = open(&*session, "/a", append).await.unwrap();
        file.write_at(0, Bytes::from_static(b"new")).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(server.file("/a").unwrap(), b"new");
    }
}
