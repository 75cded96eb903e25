//! Folders.

use super::*;

#[tokio::test]
async fn a_listing_keeps_requests_under_way_and_ends_with_the_servers_word() {
    let (server, mut peer) = connected().await;
    let operation = ListFolder { path: path("/d") };
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

/// As asyncssh has it.
#[tokio::test]
async fn what_turns_out_to_be_no_folder_cannot_be_opened() {
    let (server, mut peer) = connected().await;
    let operation = ListFolder { path: path("/f") };
    let script = async {
        peer.serve(handle()).await;
        peer.serve(status(StatusCode::FAILURE, "Not a directory")).await;
    };
    let (listing, ()) = tokio::join!(listing::open(&server, &operation), script);
    assert_eq!(listing.err().unwrap().kind, FailureKind::NotADirectory);
    while !matches!(peer.request().await.body, Q::Close { .. }) {}
}

#[tokio::test]
async fn names_beside_the_end_belong_to_the_folder() {
    let (server, mut peer) = connected().await;
    let operation = ListFolder { path: path("/d") };
    let script = async {
        peer.serve(handle()).await;
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(peer.request().await.id);
        }
        peer.answer(asked[0], status(StatusCode::EOF, "")).await;
        peer.answer(asked[1], status(StatusCode::EOF, "")).await;
        peer.answer(asked[3], status(StatusCode::FAILURE, "behind the end")).await;
        peer.answer(asked[2], names(&["last"])).await;
    };
    let (listing, ()) = tokio::join!(listing::open(&server, &operation), script);
    let mut listing = listing.unwrap();
    assert_eq!(listing.next().await.unwrap().unwrap()[0].name, b"last");
    assert!(listing.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_folder_without_names_and_without_an_end_is_given_up() {
    let (server, mut peer) = connected().await;
    let operation = ListFolder { path: path("/d") };
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

/// Some servers tell no mode: whether such a thing is a folder, only opening it says.
#[tokio::test]
async fn what_is_entered_is_opened_where_the_server_tells_no_kind() {
    let kindless = || A::Attributes(Attributes::default());
    let plain =
        || A::Attributes(Attributes { permissions: Some(0o100_644), ..Attributes::default() });
    let no_folder = || status(StatusCode::FAILURE, "Not a directory");
    let cases = [
        (vec![kindless(), handle(), status(StatusCode::OK, "")], None),
        (vec![kindless(), no_folder()], Some(FailureKind::NotADirectory)),
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
