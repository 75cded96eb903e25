//! Changes of file attributes.

use super::*;

#[tokio::test]
async fn permissions_are_set_at_once_and_times_after_the_end() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    let file = open(&*session, "/new", replacing()).await.unwrap();
    put(&*file, b"bytes").await.unwrap();
    let changes = Changes {
        permissions: Some(0o640),
        modified: Some(1_700_000_000),
        accessed: Some(1_700_000_000),
        ..Changes::default()
    };
    file.set_attributes(&changes).await.unwrap();
    assert_eq!((server.count("SITE"), server.count("MFMT")), (1, 0));
    file.close().await.unwrap();
    assert_eq!((server.count("SITE"), server.count("MFMT")), (1, 1));
    // Unsupported changes are refused before anything is changed.
    let owner = Changes { owner: Some((1, 1)), ..changes };
    let accessed = Changes { modified: None, permissions: None, ..changes };
    for changes in [owner, accessed] {
        let operation = Operation::SetAttributes { path: path("/new"), changes, follow: true };
        let refused = perform(&*session, operation).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
    }
    assert_eq!((server.count("SITE"), server.count("MFMT")), (1, 1));
}

#[tokio::test]
async fn a_folder_gets_the_requested_permissions_or_is_removed() {
    for no_site in [false, true] {
        let oddities = Oddities { no_site, ..Default::default() };
        let server = Server::start(&[], oddities).await;
        let session = server.session().await;
        let make = |permissions| Operation::MakeDirectory { path: path("/new"), permissions };
        for usual in [None, Some(0o777), Some(0o755)] {
            perform(&*session, make(usual)).await.unwrap();
        }
        assert_eq!((server.count("MKD"), server.count("SITE")), (3, 0));
        let private = perform(&*session, make(Some(0o700))).await;
        assert!(server.lines().contains(&"SITE CHMOD 700 /new".to_owned()));
        assert_eq!(private.is_err(), no_site);
        assert_eq!(server.count("RMD"), usize::from(no_site));
    }
}

#[tokio::test]
async fn announced_mfmt_shows_in_the_abilities() {
    for no_mlst in [true, false] {
        let oddities = Oddities { no_mlst, ..Default::default() };
        let session = Server::start(&[], oddities).await.session().await;
        assert_eq!(session.abilities().modified, !no_mlst);
    }
}

async fn put_with(session: &dyn BackendSession, name: &str, permissions: Option<u32>) {
    let file = open(session, name, OpenMode { permissions, ..replacing() }).await.unwrap();
    put(&*file, b"bytes").await.unwrap();
    file.close().await.unwrap();
}

#[tokio::test]
async fn a_new_file_gets_restrictive_permissions_if_requested() {
    for no_site in [false, true] {
        let oddities = Oddities { no_site, ..Default::default() };
        let server = Server::start(&[("/old", b"old")], oddities).await;
        let session = server.session().await;
        for usual in [None, Some(0o644), Some(0o666), Some(0o777)] {
            put_with(&*session, "/new", usual).await;
        }
        // An existing file keeps its permissions.
        put_with(&*session, "/old", Some(0o600)).await;
        assert_eq!(server.count("SITE"), 0);
        // A server without CHMOD still stores the file.
        put_with(&*session, "/private", Some(0o600)).await;
        assert_eq!(server.file("/private").unwrap(), b"bytes");
        let chmod = "SITE CHMOD 600 /private".to_owned();
        assert_eq!((server.count("SITE"), server.lines().contains(&chmod)), (1, true));
        let exclusive = OpenMode { exclusive: true, permissions: Some(0o640), ..replacing() };
        open(&*session, "/mine", exclusive).await.unwrap().close().await.unwrap();
        assert!(server.lines().contains(&"SITE CHMOD 640 /mine".to_owned()));
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn a_later_chmod_overrides_the_mode_of_open() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    let mode = OpenMode { permissions: Some(0o600), ..replacing() };
    let file = open(&*session, "/new", mode).await.unwrap();
    put(&*file, b"bytes").await.unwrap();
    file.set_attributes(&Changes::permissions(0o664)).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.count("SITE"), 1);
    assert!(server.lines().contains(&"SITE CHMOD 664 /new".to_owned()));
}

#[tokio::test]
async fn permissions_are_set_although_the_time_cannot_be() {
    let changes = Changes { modified: Some(1), accessed: Some(1), ..Changes::permissions(0o600) };
    for policy in [PartialUploads::Keep, PartialUploads::TemporaryName] {
        let oddities =
            Oddities { no_mlst: true, sets_times_by: Some("none"), ..Default::default() };
        let server = Server::start(&[], oddities).await;
        let session = login_with(&server, policy).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, b"bytes").await.unwrap();
        let refused = file.set_attributes(&changes).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported, "{refused}");
        file.close().await.unwrap();
        let operation = Operation::SetAttributes { path: path("/new"), changes, follow: true };
        let refused = perform(&*session, operation).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported, "{refused}");
        let times = Changes { permissions: None, ..changes };
        let operation =
            Operation::SetAttributes { path: path("/new"), changes: times, follow: true };
        let refused = perform(&*session, operation).await.unwrap_err();
        assert!(refused.detail.as_deref().unwrap_or_default().contains("MFMT"), "{refused:?}");
        let chmod = server.lines().into_iter().filter(|line| line == "SITE CHMOD 600 /new");
        // An unsupported command is sent once.
        assert_eq!((chmod.count(), server.count("MFMT")), (2, 1));
    }
}

/// For SFTP clients; for FTP clients STAT is not sent.
#[tokio::test]
async fn without_mlst_the_mode_comes_from_stat() {
    for (no_stat, reported, requests) in [(false, Some(0o755), 2), (true, None, 1)] {
        let oddities = Oddities { no_mlst: true, no_stat, ..Default::default() };
        let server = Server::start(&[("/a", b"1"), ("/b", b"2"), ("/c*", b"3")], oddities).await;
        let mode = async |session: &dyn BackendSession, name: &str| {
            stat(session, name).await.unwrap().attributes.permissions
        };
        let session = server.session().await;
        assert_eq!(mode(&*session, "/a").await, None);
        assert_eq!(server.count("STAT"), 0);
        let session = server.session().await;
        session.expect_many();
        assert_eq!(mode(&*session, "/a").await, reported);
        // After a refusal it is not sent again.
        assert_eq!(mode(&*session, "/b").await, reported);
        // A pattern at some servers.
        assert_eq!(mode(&*session, "/c*").await, None);
        assert_eq!(server.count("STAT"), requests, "{:?}", server.lines());
    }
}
