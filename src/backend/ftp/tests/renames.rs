//! RNFR and RNTO, with and without overwriting.

use super::*;

#[tokio::test]
async fn renames_overwrite_or_refuse_as_requested() {
    for never_overwrites in [false, true] {
        let oddities = Oddities { never_overwrites, ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], oddities).await;
        let session = server.session().await;
        let rename = async |from: &str, to: &str, onto| {
            let operation = Operation::Rename { from: path(from), to: path(to), onto };
            perform(&*session, operation).await.map_err(|failure| failure.kind)
        };
        assert_eq!(
            rename("/a", "/b", Onto::Refused).await.unwrap_err(),
            FailureKind::AlreadyExists
        );
        assert_eq!(server.file("/b").unwrap(), b"b");
        assert_eq!(rename("/x", "/b", Onto::Replaced).await.unwrap_err(), FailureKind::NotFound);
        assert_eq!(server.file("/b").unwrap(), b"b");
        rename("/a", "/b", Onto::Replaced).await.unwrap();
        assert_eq!(server.seen().files.len(), 1);
        assert_eq!(server.file("/b").unwrap(), b"a");
        rename("/b", "/c", Onto::Refused).await.unwrap();
        assert_eq!(server.file("/c").unwrap(), b"a");
    }
}

#[tokio::test]
async fn a_file_that_was_renamed_away_is_renamed_back_over_a_new_login() {
    let oddities =
        Oddities { never_overwrites: true, drops_renaming_to: Some("/b"), ..Default::default() };
    let server = Server::start(&[("/a", b"a"), ("/b", b"b")], oddities).await;
    let session = server.session().await;
    let rename = Operation::Rename { from: path("/a"), to: path("/b"), onto: Onto::Replaced };
    perform(&*session, rename).await.unwrap_err();
    assert_eq!(server.file("/a").unwrap(), b"a");
    assert_eq!(server.file("/b").unwrap(), b"b");
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn a_folder_is_never_renamed_away_for_a_file() {
    for no_mlst in [true, false] {
        let oddities = Oddities { no_mlst, ..Default::default() };
        let server = Server::start(&[("/a", b"a")], oddities).await;
        server.seen().folders.insert("/d".into(), "/d#0".into());
        let session = server.session().await;
        let (from, to) = (path("/a"), path("/d"));
        let rename = Operation::Rename { from, to, onto: Onto::Replaced };
        let refused = perform(&*session, rename).await.unwrap_err();
        assert!(refused.message.contains("Rename failed"), "{refused}");
        assert_eq!((server.count("RNFR"), server.count("RNTO")), (1, 1));
        assert_eq!(server.file("/a").unwrap(), b"a");
        assert_eq!(server.seen().folders["/d"], "/d#0");
    }
}

#[tokio::test]
async fn a_plain_rename_does_not_overwrite_without_mlst_and_size() {
    let oddities = Oddities { no_mlst: true, no_size: true, ..Default::default() };
    let server = Server::start(&[("/a", b"a"), ("/b", b"b")], oddities).await;
    let session = server.session().await;
    let rename = |to| Operation::Rename { from: path("/a"), to: path(to), onto: Onto::Refused };
    let refused = perform(&*session, rename("/b")).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::AlreadyExists, "{refused}");
    assert_eq!(
        (server.file("/a").unwrap(), server.file("/b").unwrap()),
        (b"a".into(), b"b".into())
    );
    perform(&*session, rename("/c")).await.unwrap();
    assert_eq!(server.file("/c").unwrap(), b"a");
}
