//! Copies by the server.

use super::*;

const COPIES: &[(&str, &str)] = &[("copy-data", "1"), ("posix-rename@openssh.com", "1")];

async fn open_named(
    server: &Arc<Server>,
    peer: &mut Peer,
    name: &str,
    mode: OpenMode,
    handle: &'static [u8],
) -> Arc<dyn OpenFile> {
    let operation = OpenHandle { path: path(name), mode };
    let script = async {
        if server.settings.partial_uploads == PartialUploads::TemporaryName && mode.create {
            let missing = status(StatusCode::NO_SUCH_FILE, "");
            assert!(matches!(peer.serve(missing).await, Q::LinkStat { .. }));
        }
        peer.serve(A::Handle(Bytes::from_static(handle))).await
    };
    let (file, _) = tokio::join!(file::open(server, &operation), script);
    file.unwrap()
}

#[tokio::test]
async fn requests_after_a_copy_wait_until_it_is_finished() {
    const STEP: u64 = 64 * 1024 * 1024;
    let (server, mut peer) = connected_as(COPIES, PartialUploads::Keep).await;
    let from = open_named(&server, &mut peer, "/from", read_write(), b"from").await;
    let to = open_named(&server, &mut peer, "/to", read_write(), b"to").await;
    let copying = from.copy_data(0, 0, &to, 0);
    tokio::pin!(copying);
    // The first poll sends it.
    assert!(crate::task::poll_once(copying.as_mut()).is_none());
    let writing = to.write_at(0, Bytes::from_static(b"new"));
    let reading = from.read_at(0, 10);
    // None of these is polled before the copy has finished.
    let again = from.copy_data(0, 1, &to, 0);
    tokio::pin!(again);
    assert!(crate::task::poll_once(again.as_mut()).is_none());
    let (from_closing, to_closing) = (from.close(), to.close());
    tokio::pin!(from_closing, to_closing);
    assert!(crate::task::poll_once(from_closing.as_mut()).is_none());
    assert!(crate::task::poll_once(to_closing.as_mut()).is_none());
    let script = async {
        assert_eq!(peer.serve(of_size(STEP + 1)).await, Q::FileStat { handle: "from".into() });
        for length in [STEP, 0] {
            let request = peer.request().await;
            peer.nothing().await;
            assert!(
                matches!(request.body, Q::Extended(Extension::CopyData { length: l, .. }) if l == length)
            );
            peer.answer(request.id, ok()).await;
        }
    };
    let (copied, ()) = tokio::join!(copying, script);
    copied.unwrap();
    let script = async {
        let mut after = [peer.request().await, peer.request().await];
        after.sort_by_key(|request| matches!(request.body, Q::Read { .. }));
        assert!(matches!(&after[0].body, Q::Write { data, .. } if data == "new"));
        peer.answer(after[0].id, ok()).await;
        peer.answer(after[1].id, data(10)).await;
        let request = peer.serve(ok()).await;
        assert!(matches!(request, Q::Extended(Extension::CopyData { length: 1, .. })));
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

/// It must not block the files for ever.
#[tokio::test]
async fn an_aborted_copy_ends_after_its_current_step() {
    let (server, mut peer) = connected_as(COPIES, PartialUploads::Keep).await;
    let from = open_named(&server, &mut peer, "/from", read_write(), b"from").await;
    let to = open_named(&server, &mut peer, "/to", read_write(), b"to").await;
    let (source, target) = (from.clone(), to.clone());
    let copying = tokio::spawn(async move { source.copy_data(0, 1 << 40, &target, 0).await });
    let step = peer.request().await;
    let aborting = tokio::spawn(async move { to.abort().await });
    peer.nothing().await;
    peer.answer(step.id, ok()).await;
    assert_eq!(copying.await.unwrap().unwrap_err().kind, FailureKind::Aborted);
    assert_eq!(peer.serve(ok()).await, Q::Close { handle: "to".into() });
    aborting.await.unwrap();
    drop(from.read_at(0, 1));
    assert!(matches!(peer.request().await.body, Q::Read { .. }));
}

#[tokio::test]
async fn a_copy_refused_before_any_change_does_not_fail_the_upload() {
    let end = || status(StatusCode::EOF, "End of file");
    let refusal = || status(StatusCode::FAILURE, "Failure");
    for partial in [PartialUploads::Delete, PartialUploads::TemporaryName] {
        for (source, response, kind, fails_upload) in [
            ("/from", end(), FailureKind::EndOfFile, false),
            ("/f", refusal(), FailureKind::InvalidArgument, false),
            ("/from", refusal(), FailureKind::Internal, true),
        ] {
            let (server, mut peer) = connected_as(COPIES, partial).await;
            let from = open_named(&server, &mut peer, source, read_write(), b"from").await;
            let to = open_named(&server, &mut peer, "/f", new_file(), b"to").await;
            let (copied, _) =
                tokio::join!(from.copy_data(0, 9, &to, 0), peer.serve(response.clone()));
            let refused = copied.unwrap_err();
            assert_eq!(refused.kind, kind);
            let A::Status { code, .. } = response else { panic!() };
            assert_eq!(refused.status.unwrap().code, code.0);
            let closing = tokio::spawn(async move { to.close().await });
            assert_eq!(peer.serve(ok()).await, Q::Close { handle: "to".into() });
            if fails_upload {
                if partial == PartialUploads::Delete {
                    assert!(matches!(peer.serve(of_size(9)).await, Q::LinkStat { .. }));
                    assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
                }
                assert!(closing.await.unwrap().is_err());
            } else {
                if partial == PartialUploads::TemporaryName {
                    let request = peer.serve(ok()).await;
                    assert!(matches!(request, Q::Extended(Extension::PosixRename { .. })));
                }
                closing.await.unwrap().unwrap();
            }
            peer.nothing().await;
        }
    }
}
