//! Open modes, and what open files report.

use super::*;

#[tokio::test]
async fn open_modes_are_honoured_as_far_as_ftp_allows() {
    let server = Server::start(&[("/a", b"bytes")], Oddities::default()).await;
    let session = server.session().await;
    let kind = async |name: &str, mode: OpenMode| {
        open(&*session, name, mode).await.err().map(|failure| failure.kind)
    };
    let write = OpenMode { write: true, ..OpenMode::default() };
    let exclusive = OpenMode { exclusive: true, ..replacing() };
    let append = OpenMode { append: true, create: true, ..write };
    assert_eq!(kind("/absent", write).await, Some(FailureKind::NotFound));
    assert_eq!(
        kind("/absent", OpenMode { append: true, ..write }).await,
        Some(FailureKind::NotFound)
    );
    assert_eq!(kind("/a", exclusive).await, Some(FailureKind::AlreadyExists));
    assert_eq!(server.file("/a").unwrap(), b"bytes");
    assert_eq!(kind("/", reading()).await, Some(FailureKind::IsADirectory));

    let file = open(&*session, "/b", exclusive).await.unwrap();
    put(&*file, b"new").await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/b").unwrap(), b"new");

    let file = open(&*session, "/a", append).await.unwrap();
    file.write_at(0, Bytes::from_static(b" more")).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"bytes more");

    // sshfs truncates through the handle, then writes.
    let file = open(&*session, "/a", write).await.unwrap();
    file.set_attributes(&Changes { size: Some(0), ..Changes::default() }).await.unwrap();
    put(&*file, b"anew").await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"anew");

    // A file that is only created.
    let file = open(&*session, "/empty", continuing()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/empty").unwrap(), b"");
    let file = open(&*session, "/a", continuing()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"anew");
}

#[tokio::test]
async fn a_path_is_truncated_to_zero_only() {
    let server = Server::start(&[("/a", b"bytes")], Oddities::default()).await;
    let session = server.session().await;
    let truncate = async |size| {
        let changes = Changes { size: Some(size), ..Changes::default() };
        perform(&*session, Operation::SetAttributes { path: path("/a"), changes, follow: true })
            .await
    };
    assert_eq!(truncate(3).await.unwrap_err().kind, FailureKind::Unsupported);
    truncate(5).await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"bytes");
    truncate(0).await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"");
}

#[tokio::test]
async fn operations_that_ftp_lacks_are_refused() {
    let server = Server::start(&[("/a", b"a")], Oddities::default()).await;
    let session = server.session().await;
    for operation in [
        Operation::ReadLink(path("/a")),
        Operation::Symlink { target: b"a".to_vec(), link: path("/l") },
        Operation::HardLink { from: path("/a"), to: path("/l") },
        Operation::FileSystem(path("/")),
        Operation::AccountNames { users: vec![0], groups: vec![0] },
    ] {
        let refused = perform(&*session, operation).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
        assert!(refused.message.contains("FTP"), "{refused}");
    }
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(file.file_system().await.unwrap_err().kind, FailureKind::Unsupported);
}

#[tokio::test]
async fn stat_of_an_open_file_shows_changes_by_others() {
    let server = Server::start(&[("/a", b"four")], Oddities::default()).await;
    let session = server.session().await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(4));
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(4));
    server.seen().files.insert("/a".into(), bytes(10));
    perform(&*session, Operation::Remove(path("/b"))).await.unwrap_err();
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(10));
    // A reader that waits at the end for more.
    get(&*file).await.unwrap();
    server.seen().files.insert("/a".into(), bytes(20));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let entry = file.stat().await.unwrap();
    assert_eq!(entry.attributes.size, Some(20));
    assert!(entry.attributes.modified.is_some());
}

#[tokio::test]
async fn a_seek_fails_if_the_file_has_changed() {
    const LENGTH: usize = 12_000_000;
    for (later, modified, goes_on) in [
        (bytes(LENGTH - 1), None, false),
        (bytes(LENGTH), Some("20260102030406"), false),
        (bytes(LENGTH + 1000), Some("20260102030406"), true),
        (bytes(LENGTH), None, true),
    ] {
        let server = Server::start(&[("/a", &bytes(LENGTH))], Oddities::default()).await;
        let session = server.session().await;
        stat(&*session, "/a").await.unwrap();
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap(), bytes(1000));
        let length = later.len();
        server.seen().files.insert("/a".into(), later);
        server.seen().modified = modified;
        let read = file.read_at(10_000_000, 1000).await;
        if goes_on {
            assert!(read.unwrap().unwrap() == bytes(LENGTH)[10_000_000..10_001_000]);
        } else {
            let failure = read.unwrap_err();
            assert!(failure.message.contains("changed while it was read"), "{failure}");
        }
        assert_eq!(server.count("RETR"), if goes_on { 2 } else { 1 }, "{length} {modified:?}");
    }
}

#[tokio::test]
async fn stat_of_an_open_file_includes_all_earlier_writes() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    let file = open(&*session, "/new", replacing()).await.unwrap();
    let content = bytes(320_000);
    let blocks = content.chunks(32_000).enumerate();
    let writes: Vec<_> = blocks
        .map(|(i, block)| file.write_at(i as u64 * 32_000, Bytes::copy_from_slice(block)))
        .collect();
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(320_000));
    for written in join_all(writes).await {
        written.unwrap();
    }
    file.close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), content);
}

/// Like vsftpd.
#[tokio::test]
async fn a_550_without_a_reason_is_explained_by_what_exists_at_the_path() {
    use FailureKind as K;
    for no_mlst in [true, false] {
        let oddities = Oddities { no_mlst, unspecific: true, ..Default::default() };
        let server = Server::start(&[("/full/a", b"a"), ("/file", b"f")], oddities).await;
        for folder in ["/full", "/empty"] {
            server.seen().folders.insert(folder.into(), folder.into());
        }
        let session = server.session().await;
        let make = |name| Operation::MakeDirectory { path: path(name), permissions: None };
        let remove = |name| Operation::RemoveDirectory(path(name));
        for (operation, kind) in [
            (make("/full"), K::AlreadyExists),
            (make("/file"), K::AlreadyExists),
            (remove("/full"), K::Internal),
            (remove("/file"), K::NotADirectory),
            (remove("/absent"), K::NotFound),
        ] {
            let refused = perform(&*session, operation.clone()).await.unwrap_err();
            assert_eq!(refused.kind, kind, "{operation} {refused}");
            // FTP clients get the server's reply.
            assert!(refused.peer.is_some());
        }
        perform(&*session, remove("/empty")).await.unwrap();
        perform(&*session, make("/empty")).await.unwrap();
        assert_eq!(server.seen().connections, 1);
    }
}
