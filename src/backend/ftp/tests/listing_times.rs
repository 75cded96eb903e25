//! Times to the second in listings (MDTM).

use super::*;

/// All entries of `/`, listed as by the SFTP front.
async fn listed(session: &dyn BackendSession) -> Vec<crate::op::Entry> {
    let mut listing = session.list(&target(ListDirectory { path: path("/") })).await.unwrap();
    let mut all = Vec::new();
    while let Some(entries) = listing.next().await.unwrap() {
        all.extend(entries);
    }
    all
}

#[tokio::test]
async fn a_small_folder_is_listed_with_times_to_the_second_for_sftp() {
    let oddities = Oddities { no_mlst: true, ..Default::default() };
    let names: Vec<String> = (0..100).map(|i| format!("/file{i}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
    let server = Server::start(&files, oddities).await;
    let requests =
        |server: &Server| server.lines().iter().filter(|line| line.starts_with("MDTM ")).count();
    // FTP clients that send LIST get the server's times.
    let session = server.session().await;
    listed(&*session).await;
    assert_eq!(requests(&server), 0);
    session.expect_many();
    let exact = crate::op::Timestamp::exact(1_767_323_045);
    for entry in listed(&*session).await {
        assert_eq!(entry.attributes.modified, Some(exact), "{entry:?}");
    }
    assert_eq!(requests(&server), 100);
    assert_eq!(stat(&*session, "/file7").await.unwrap().attributes.modified, Some(exact));
    assert_eq!(requests(&server), 100);
}

#[tokio::test]
async fn a_large_folder_keeps_the_times_of_its_listing() {
    let oddities = Oddities { no_mlst: true, ..Default::default() };
    let names: Vec<String> = (0..1500).map(|i| format!("/file{i}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
    let server = Server::start(&files, oddities).await;
    let session = server.session().await;
    session.expect_many();
    assert_eq!(listed(&*session).await.len(), 1500);
    assert!(!server.lines().iter().any(|line| line.starts_with("MDTM ")));
}

#[tokio::test]
async fn refused_mdtm_is_pipelined_once_only() {
    let oddities = Oddities { no_mlst: true, ..Default::default() };
    let names: Vec<String> = (0..100).map(|i| format!("/file{i}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
    let server = Server::start(&files, oddities).await;
    server.seen().replies.insert("MDTM", "502 not here");
    let session = server.session().await;
    session.expect_many();
    assert_eq!(listed(&*session).await.len(), 100);
    assert_eq!(listed(&*session).await.len(), 100);
    let requests = server.lines().iter().filter(|line| line.starts_with("MDTM ")).count();
    assert_eq!(requests, 32);
}

#[tokio::test]
async fn pipelined_mdtm_that_fails_is_not_repeated() {
    for answer in [
        "226 of something before",
        "421 enough",
        "213 20260102030405\r\n213 20200102030405",
        // No reply: a timeout.
        "",
    ] {
        let oddities = Oddities { no_mlst: true, ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], oddities).await;
        server.seen().replies.insert("MDTM", answer);
        let session = server.session().await;
        session.expect_many();
        for _ in 0..2 {
            let entries = listed(&*session).await;
            assert_eq!(entries.len(), 2, "{answer}");
            let exact = |entry: &crate::op::Entry| {
                entry
                    .attributes
                    .modified
                    .is_some_and(|it| it.precision == crate::op::Precision::Second)
            };
            assert!(!entries.iter().any(exact), "{answer}: {entries:?}");
        }
        let requests = server.lines().iter().filter(|line| line.starts_with("MDTM ")).count();
        assert!(requests <= 2 && server.seen().connections == 2, "{answer}: {requests}");
    }
}

/// Clients use several connections, and check in one what they did in another.
#[tokio::test]
async fn a_change_by_another_session_invalidates_the_cache() {
    let server = Server::start(&[("/file", b"four")], Oddities::default()).await;
    let backend = server.backend_with(|_| {});
    let login = crate::backend::Login::Unverified(testing::credentials());
    let one = backend.login(&login, Origin::ANY).await.unwrap();
    let other = backend.login(&login, Origin::ANY).await.unwrap();
    one.expect_many();
    assert_eq!(listed(&*one).await.len(), 1);
    let changes = Changes { modified: Some(1_000_000_000), ..Changes::default() };
    let set = Operation::SetAttributes { path: path("/file"), changes, follow: true };
    perform(&*other, set).await.unwrap();
    let reported = stat(&*one, "/file").await.unwrap().attributes.modified;
    assert_eq!(reported.map(|reported| reported.seconds), Some(1_000_000_000));
}
