//! Listing directories.

use super::*;

#[tokio::test]
async fn a_listing_keeps_reads_in_flight_and_returns_the_servers_error() {
    let (server, mut peer) = connected().await;
    let operation = ListDirectory { path: path("/d") };
    let script = async {
        peer.serve(handle()).await;
        let first = [peer.request().await, peer.request().await];
        assert!(first.iter().all(|r| matches!(r.body, Q::ReadDir { .. })));
        peer.answer(first[0].id, names(&[".", "..", "a", "b/c"])).await;
        first
    };
    let (listing, first) = tokio::join!(listing::open(&server, &operation), script);
    let mut listing = listing.unwrap();
    let batch = listing.next().await.unwrap().unwrap();
    assert_eq!(batch.iter().map(|e| &e.name[..]).collect::<Vec<_>>(), [&b"."[..], b"..", b"a"]);
    peer.answer(first[1].id, status(StatusCode::PERMISSION_DENIED, "")).await;
    assert_eq!(listing.next().await.unwrap_err().kind, FailureKind::PermissionDenied);
}

/// As asyncssh behaves.
#[tokio::test]
async fn listing_a_file_fails_where_only_readdir_is_refused() {
    let (server, mut peer) = connected().await;
    let operation = ListDirectory { path: path("/f") };
    let script = async {
        peer.serve(handle()).await;
        peer.serve(status(StatusCode::FAILURE, "Not a directory")).await;
    };
    let (listing, ()) = tokio::join!(listing::open(&server, &operation), script);
    assert_eq!(listing.err().unwrap().kind, FailureKind::NotADirectory);
    while !matches!(peer.request().await.body, Q::Close { .. }) {}
}

#[tokio::test]
async fn names_received_after_the_end_are_listed() {
    let (server, mut peer) = connected().await;
    let operation = ListDirectory { path: path("/d") };
    let script = async {
        peer.serve(handle()).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(peer.request().await.id);
        }
        peer.answer(ids[0], status(StatusCode::EOF, "")).await;
        peer.answer(ids[1], status(StatusCode::EOF, "")).await;
        peer.answer(ids[3], status(StatusCode::FAILURE, "after the end")).await;
        peer.answer(ids[2], names(&["last"])).await;
    };
    let (listing, ()) = tokio::join!(listing::open(&server, &operation), script);
    let mut listing = listing.unwrap();
    assert_eq!(listing.next().await.unwrap().unwrap()[0].name, b"last");
    assert!(listing.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_listing_without_names_and_without_an_end_fails() {
    let (server, mut peer) = connected().await;
    let operation = ListDirectory { path: path("/d") };
    let listing = async {
        let mut listing = listing::open(&server, &operation).await?;
        listing.next().await.map(drop)
    };
    let script = async {
        peer.serve(handle()).await;
        while let Q::ReadDir { .. } = peer.serve(names(&["."])).await {}
    };
    let (listed, ()) = tokio::join!(listing, script);
    assert_eq!(listed.unwrap_err().kind, FailureKind::Internal);
}

/// Some servers report no mode: only OPENDIR shows whether the path is a directory.
#[tokio::test]
async fn enter_opens_the_directory_where_the_server_reports_no_kind() {
    let kindless = || A::Attributes(Attributes::default());
    let plain =
        || A::Attributes(Attributes { permissions: Some(0o100_644), ..Attributes::default() });
    let no_directory = || status(StatusCode::FAILURE, "Not a directory");
    let cases = [
        (vec![kindless(), handle(), status(StatusCode::OK, "")], None),
        (vec![kindless(), no_directory()], Some(FailureKind::NotADirectory)),
        (vec![plain()], Some(FailureKind::NotADirectory)),
    ];
    for (answers, expected) in cases {
        let (server, mut peer) = connected().await;
        let operation = Operation::Enter(path("/d"));
        let script = async {
            for answer in answers {
                peer.serve(answer).await;
            }
        };
        let (entered, ()) = tokio::join!(operations::perform(&server, &operation), script);
        assert_eq!(entered.err().map(|failure| failure.kind), expected);
    }
}
