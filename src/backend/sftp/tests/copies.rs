//! Copies that the server makes.

use super::*;

const COPIES: &[(&str, &str)] = &[("copy-data", "1"), ("posix-rename@openssh.com", "1")];

async fn named(
    server: &Arc<Server>,
    peer: &mut Peer,
    name: &str,
    mode: OpenMode,
    handle: &'static [u8],
) -> Arc<dyn OpenFile> {
    let operation = OpenHandle { path: path(name), mode };
    let script = async {
        if server.settings.partial_uploads == PartialUploads::TemporaryName && mode.create {
            let nothing = status(StatusCode::NO_SUCH_FILE, "");
            assert!(matches!(peer.serve(nothing).await, Q::LinkStat { .. }));
        }
        peer.serve(A::Handle(Bytes::from_static(handle))).await
    };
    let (file, _) = tokio::join!(file::open(server, &operation), script);
    file.unwrap()
}

#[tokio::test]
async fn nothing_overtakes_a_copy() {
    const PIECE: u64 = 64 * 1024 * 1024;
    let (server, mut peer) = connected_as(COPIES, PartialUploads::Keep).await;
    let from = named(&server, &mut peer, "/from", both(), b"from").await;
    let to = named(&server, &mut peer, "/to", both(), b"to").await;
    let copying = from.copy_data(0, 0, &to, 0);
    tokio::pin!(copying);
    // It is asked for with the first poll.
    assert!(crate::net::poll_once(copying.as_mut()).is_none());
    let writing = to.write_at(0, Bytes::from_static(b"new"));
    let reading = from.read_at(0, 10);
    // None is polled before the copy is over.
    let again = from.copy_data(0, 1, &to, 0);
    tokio::pin!(again);
    assert!(crate::net::poll_once(again.as_mut()).is_none());
    let (from_closing, to_closing) = (from.close(), to.close());
    tokio::pin!(from_closing, to_closing);
    assert!(crate::net::poll_once(from_closing.as_mut()).is_none());
    assert!(crate::net::poll_once(to_closing.as_mut()).is_none());
    let script = async {
        assert_eq!(peer.serve(of_size(PIECE + 1)).await, Q::FileStat { handle: "from".into() });
        for length in [PIECE, 0] {
            let asked = peer.request().await;
            peer.nothing().await;
            assert!(
                matches!(asked.body, Q::Extended(Extension::CopyData { length: l, .. }) if l == length)
            );
            peer.answer(asked.id, ok()).await;
        }
    };
    let (copied, ()) = tokio::join!(copying, script);
    copied.unwrap();
    let script = async {
        let mut behind = [peer.request().await, peer.request().await];
        behind.sort_by_key(|request| matches!(request.body, Q::Read { .. }));
        assert!(matches!(&behind[0].body, Q::Write { data, .. } if data == "new"));
        peer.answer(behind[0].id, ok()).await;
        peer.answer(behind[1].id, data(10)).await;
        let asked = peer.serve(ok()).await;
        assert!(matches!(asked, Q::Extended(Extension::CopyData { length: 1, .. })));
    };
    let (copied, ()) = tokio::join!(again, script);
    copied.unwrap();
    writing.await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap().len(), 10);
    let script = async {
        for _ in 0..2 {
            assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
        }
    };
    let (first, second, ()) = tokio::join!(from_closing, to_closing, script);
    first.and(second).unwrap();
}

/// Nor does one that nobody waits for any more hold up the files for ever.
#[tokio::test]
async fn a_copy_that_is_cut_ends_with_its_piece() {
    let (server, mut peer) = connected_as(COPIES, PartialUploads::Keep).await;
    let from = named(&server, &mut peer, "/from", both(), b"from").await;
    let to = named(&server, &mut peer, "/to", both(), b"to").await;
    let (source, target) = (from.clone(), to.clone());
    let copying = tokio::spawn(async move { source.copy_data(0, 1 << 40, &target, 0).await });
    let piece = peer.request().await;
    let aborting = tokio::spawn(async move { to.abort().await });
    peer.nothing().await;
    peer.answer(piece.id, ok()).await;
    assert_eq!(copying.await.unwrap().unwrap_err().kind, FailureKind::Aborted);
    assert_eq!(peer.serve(ok()).await, Q::Close { handle: "to".into() });
    aborting.await.unwrap();
    drop(from.read_at(0, 1));
    assert!(matches!(peer.request().await.body, Q::Read { .. }));
}

#[tokio::test]
async fn a_copy_that_is_refused_before_it_changes_anything_does_not_spoil_the_file() {
    let end = || status(StatusCode::EOF, "End of file");
    let refusal = || status(StatusCode::FAILURE, "Failure");
    for partial in [PartialUploads::Delete, PartialUploads::TemporaryName] {
        for (source, said, kind, spoils) in [
            ("/from", end(), FailureKind::EndOfFile, false),
            ("/f", refusal(), FailureKind::InvalidArgument, false),
            ("/from", refusal(), FailureKind::Internal, true),
        ] {
            let (server, mut peer) = connected_as(COPIES, partial).await;
            let from = named(&server, &mut peer, source, both(), b"from").await;
            let to = named(&server, &mut peer, "/f", begins(), b"to").await;
            let (copied, _) = tokio::join!(from.copy_data(0, 9, &to, 0), peer.serve(said.clone()));
            let refused = copied.unwrap_err();
            assert_eq!(refused.kind, kind);
            let A::Status { code, .. } = said else { panic!() };
            assert_eq!(refused.status.unwrap().code, code.0);
            let closing = tokio::spawn(async move { to.close().await });
            assert_eq!(peer.serve(ok()).await, Q::Close { handle: "to".into() });
            if spoils {
                if partial == PartialUploads::Delete {
                    assert!(matches!(peer.serve(of_size(9)).await, Q::LinkStat { .. }));
                    assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
                }
                assert!(closing.await.unwrap().is_err());
            } else {
                if partial == PartialUploads::TemporaryName {
                    let asked = peer.serve(ok()).await;
                    assert!(matches!(asked, Q::Extended(Extension::PosixRename { .. })));
                }
                closing.await.unwrap().unwrap();
            }
            peer.nothing().await;
        }
    }
}
