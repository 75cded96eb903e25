//! Uploads, and what becomes of partial files.

use super::*;
use crate::op::{Changes, OpenHandle};
use crate::wire::sftp::FileSystem;

#[tokio::test]
async fn a_small_put_is_open_then_write_and_close_in_one_flight() {
    let (server, mut peer) = connected().await;
    let operation = write(WriteMode::From { offset: 0 });
    let (transfer, request) = tokio::join!(upload::open(&server, &operation), peer.serve(handle()));
    let mut transfer = transfer.unwrap();
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    assert!(matches!(request, Q::Open { flags: f, .. } if f == flags), "{request:?}");
    let Sink::Writer(writer) = transfer.sink() else { panic!() };
    writer.write_all(b"content").await.unwrap();
    let finishing = tokio::spawn(transfer.finish());
    let (first, second) = (peer.request().await, peer.request().await);
    assert!(matches!(&first.body, Q::Write { offset: 0, data, .. } if data == "content"));
    assert!(matches!(second.body, Q::Close { .. }));
    peer.answer(second.id, ok()).await;
    peer.answer(first.id, ok()).await;
    finishing.await.unwrap().unwrap();
}

/// At a server that stores real files.
#[tokio::test]
async fn an_older_file_stays_unchanged_until_the_first_byte() {
    const FILES: &[(&str, &str)] = &[("fsync@openssh.com", "1")];
    let missing = || status(StatusCode::NO_SUCH_FILE, "");
    for partial in [PartialUploads::Keep, PartialUploads::Delete] {
        for (existing, is_truncated) in
            [(of_size(5), true), (of_size(0), false), (missing(), false)]
        {
            for has_bytes in [false, true] {
                let (server, mut peer) = connected_as(FILES, partial).await;
                let operation = write(WriteMode::From { offset: 0 });
                let script = async {
                    assert!(matches!(peer.serve(existing.clone()).await, Q::Stat { .. }));
                    let Q::Open { flags, .. } = peer.serve(handle()).await else { panic!() };
                    assert_eq!(flags, OpenFlags::WRITE | OpenFlags::CREATE);
                };
                let (transfer, ()) = tokio::join!(upload::open(&server, &operation), script);
                let mut transfer = transfer.unwrap();
                if !has_bytes {
                    let aborting = tokio::spawn(transfer.abort());
                    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
                    if partial == PartialUploads::Delete && !is_truncated {
                        assert!(matches!(peer.serve(of_size(0)).await, Q::LinkStat { .. }));
                        assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
                    }
                    assert!(aborting.await.unwrap().is_none());
                    peer.nothing().await;
                    continue;
                }
                let truncation = async {
                    if is_truncated {
                        let request = peer.serve(ok()).await;
                        let Q::FileSetStat { attributes, .. } = request else {
                            panic!("{request:?}")
                        };
                        assert_eq!(attributes.size, Some(0));
                    }
                };
                let (started, ()) = tokio::join!(transfer.begin(), truncation);
                started.unwrap();
                let finishing = tokio::spawn(transfer.finish());
                assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
                finishing.await.unwrap().unwrap();
                peer.nothing().await;
            }
        }
    }
}

#[tokio::test]
async fn a_refused_write_fails_the_upload_and_its_partial_file_is_deleted() {
    for last in [false, true] {
        let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
        let operation = write(WriteMode::From { offset: 0 });
        let (transfer, _) = tokio::join!(upload::open(&server, &operation), peer.serve(handle()));
        let mut transfer = transfer.unwrap();
        let Sink::Writer(writer) = transfer.sink() else { panic!() };
        writer.write_all(b"content").await.unwrap();
        writer.flush().await.unwrap();
        let full = status(StatusCode::FAILURE, "No space left on device");
        let failure = if last {
            let finishing = tokio::spawn(transfer.finish());
            peer.serve(full).await;
            assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
            assert!(matches!(peer.serve(of_size(7)).await, Q::LinkStat { .. }));
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
            finishing.await.unwrap().unwrap_err()
        } else {
            peer.serve(full).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(writer.flush().await.is_err());
            let aborting = tokio::spawn(transfer.abort());
            assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
            assert!(matches!(peer.serve(of_size(7)).await, Q::LinkStat { .. }));
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
            aborting.await.unwrap().unwrap()
        };
        assert_eq!(failure.kind, FailureKind::NoSpace, "{last}");
        peer.nothing().await;
    }
}

#[tokio::test]
async fn a_file_with_a_failed_write_is_not_renamed() {
    let extensions = &[("posix-rename@openssh.com", "1")];
    let (server, mut peer) = connected_as(extensions, PartialUploads::TemporaryName).await;
    let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
    let operation = OpenHandle { path: path("/f"), mode };
    let script = async {
        let missing = status(StatusCode::NO_SUCH_FILE, "");
        assert!(matches!(peer.serve(missing).await, Q::LinkStat { .. }));
        let Q::Open { path, flags, .. } = peer.serve(handle()).await else { panic!() };
        assert!(path.starts_with(b"/.lockgate-") && path.ends_with(b".part"));
        assert!(flags.contains(OpenFlags::EXCLUSIVE) && !flags.contains(OpenFlags::TRUNCATE));
    };
    let (file, ()) = tokio::join!(file::open(&server, &operation), script);
    let file = file.unwrap();
    // The write's response is not awaited.
    drop(file.write_at(0, Bytes::from_static(b"lost")));
    let closing = tokio::spawn(async move { file.close().await });
    peer.serve(status(StatusCode::FAILURE, "Input/output error")).await;
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    assert!(closing.await.unwrap().is_err());
    peer.nothing().await;
}

#[tokio::test]
async fn the_old_file_is_renamed_away_where_rename_does_not_replace() {
    let (server, mut peer) = connected_as(&[], PartialUploads::TemporaryName).await;
    let operation = write(WriteMode::From { offset: 0 });
    let script = async {
        peer.serve(A::Attributes(Attributes {
            permissions: Some(0o100_640),
            ..Attributes::default()
        }))
        .await;
        peer.serve(handle()).await;
        let Q::FileSetStat { attributes, .. } = peer.serve(ok()).await else { panic!() };
        assert_eq!(attributes.permissions, Some(0o640));
    };
    let (transfer, ()) = tokio::join!(upload::open(&server, &operation), script);
    let finishing = tokio::spawn(transfer.unwrap().finish());
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    let refused = status(StatusCode::FAILURE, "File exists");
    let Q::Rename { from: new, to } = peer.serve(refused).await else { panic!() };
    assert_eq!(to, "/f");
    let Q::Rename { from, to: backup } = peer.serve(ok()).await else { panic!() };
    assert_eq!(from, "/f");
    assert_eq!(peer.serve(ok()).await, Q::Rename { from: new, to });
    assert_eq!(peer.serve(ok()).await, Q::Remove { path: backup });
    finishing.await.unwrap().unwrap();
}

#[tokio::test]
async fn only_what_the_upload_wrote_is_deleted() {
    for (existing, is_deleted) in [
        (of_size(7), true),
        // Sent again over another connection, complete or partial.
        (of_size(9), false),
        (of_size(6), false),
        (A::Attributes(Attributes::default()), false),
        (status(StatusCode::NO_SUCH_FILE, ""), false),
    ] {
        let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
        let file = started_upload(&mut peer, &server).await;
        let aborting = tokio::spawn(async move { file.abort().await });
        assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
        assert!(matches!(peer.serve(existing.clone()).await, Q::LinkStat { .. }));
        if is_deleted {
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
        }
        aborting.await.unwrap();
        assert!(timeout(Duration::from_millis(50), peer.request()).await.is_err(), "{existing:?}");
    }
}

fn symlink() -> ResponseBody {
    let attributes =
        Attributes { size: Some(6), permissions: Some(0o120_777), ..Attributes::default() };
    A::Attributes(attributes)
}

#[tokio::test]
async fn the_partial_file_at_a_symlinks_target_is_deleted_and_the_link_stays() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
    let file = started_upload(&mut peer, &server).await;
    let aborting = tokio::spawn(async move { file.abort().await });
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    assert!(matches!(peer.serve(symlink()).await, Q::LinkStat { .. }));
    assert_eq!(peer.serve(names(&["/d/target"])).await, Q::RealPath { path: "/f".into() });
    assert_eq!(peer.serve(of_size(7)).await, Q::LinkStat { path: "/d/target".into() });
    assert_eq!(peer.serve(ok()).await, Q::Remove { path: "/d/target".into() });
    aborting.await.unwrap();
    peer.nothing().await;
}

#[tokio::test]
async fn a_partial_file_that_another_session_has_started_again_is_kept() {
    let [(first, mut first_peer), (second, mut second_peer)] =
        two_connected(PartialUploads::Delete).await;
    let file = started_upload(&mut first_peer, &first).await;
    let again = started_upload(&mut second_peer, &second).await;
    let closing = tokio::spawn(async move { again.close().await });
    assert!(matches!(second_peer.serve(ok()).await, Q::Close { .. }));
    closing.await.unwrap().unwrap();
    let aborting = tokio::spawn(async move { file.abort().await });
    assert!(matches!(first_peer.serve(ok()).await, Q::Close { .. }));
    aborting.await.unwrap();
    first_peer.nothing().await;
}

/// Three WRITEs, of which the second is refused.
#[tokio::test]
async fn a_kept_partial_file_is_truncated_at_the_refused_write() {
    const WRITE: u64 = 261_120;
    for (mode, start, size) in [
        (WriteMode::From { offset: 0 }, 0, 3 * WRITE),
        (WriteMode::From { offset: 1000 }, 1000, 1000 + 3 * WRITE),
        // The server appends what follows the refused WRITE in its place.
        (WriteMode::Append, 1000, 1000 + 2 * WRITE),
    ] {
        let (server, mut peer) = connected().await;
        let operation = write(mode);
        let script = async {
            if mode == WriteMode::Append {
                assert!(matches!(peer.serve(of_size(start)).await, Q::Stat { .. }));
            }
            peer.serve(handle()).await;
            if start > 0 {
                assert!(matches!(peer.serve(of_size(start)).await, Q::FileStat { .. }));
            }
        };
        let (transfer, ()) = tokio::join!(upload::open(&server, &operation), script);
        let mut transfer = transfer.unwrap();
        transfer.begin().await.unwrap();
        let Sink::Writer(writer) = transfer.sink() else { panic!() };
        writer.write_all(&vec![7; 3 * WRITE as usize]).await.unwrap();
        let finishing = tokio::spawn(transfer.finish());
        let full = status(StatusCode::FAILURE, "No space left on device");
        for answer in [ok(), full, ok()] {
            assert!(matches!(peer.serve(answer).await, Q::Write { .. }));
        }
        assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
        assert!(matches!(peer.serve(of_size(size)).await, Q::LinkStat { .. }));
        let Q::SetStat { path, attributes } = peer.serve(ok()).await else { panic!() };
        assert_eq!((&path[..], attributes.size), (&b"/f"[..], Some(start + WRITE)), "{mode:?}");
        assert_eq!(finishing.await.unwrap().unwrap_err().kind, FailureKind::NoSpace);
        peer.nothing().await;
    }
}

#[tokio::test]
async fn an_abort_continues_without_a_waiter_and_before_the_session_ends() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
    let file = started_upload(&mut peer, &server).await;
    let aborting = tokio::spawn(async move { file.abort().await });
    let close = peer.request().await;
    aborting.abort();
    assert!(aborting.await.unwrap_err().is_cancelled());
    let session = SftpSession { server };
    let ending = tokio::spawn(async move { session.close().await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    peer.answer(close.id, ok()).await;
    assert!(matches!(peer.serve(of_size(7)).await, Q::LinkStat { .. }));
    assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
    ending.await.unwrap();
}

#[tokio::test]
async fn a_refused_truncate_does_not_fail_the_upload() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
    let file = started_upload(&mut peer, &server).await;
    let changes = Changes { size: Some(1 << 40), ..Changes::default() };
    let full = status(StatusCode::FAILURE, "No space left on device");
    let (refused, _) = tokio::join!(file.set_attributes(&changes), peer.serve(full));
    assert_eq!(refused.unwrap_err().kind, FailureKind::NoSpace);
    let (closed, _) = tokio::join!(file.close(), peer.serve(ok()));
    closed.unwrap();
    peer.nothing().await;
}

/// OpenSSH answers with a bare FAILURE.
#[tokio::test]
async fn a_full_disk_is_recognised_by_statvfs() {
    const STATVFS: &[(&str, &str)] = &[("statvfs@openssh.com", "2")];
    let free_blocks = |f_bavail| {
        let file_system = FileSystem { f_frsize: 4096, f_bavail, ..FileSystem::default() };
        A::Extended(file_system.encode())
    };
    for (left, kind) in [(0, FailureKind::NoSpace), (1000, FailureKind::Internal)] {
        for last in [false, true] {
            let (server, mut peer) = connected_as(STATVFS, PartialUploads::Keep).await;
            let operation = write(WriteMode::From { offset: 0 });
            let (transfer, _) =
                tokio::join!(upload::open(&server, &operation), peer.serve(handle()));
            let mut transfer = transfer.unwrap();
            let Sink::Writer(writer) = transfer.sink() else { panic!() };
            writer.write_all(b"content").await.unwrap();
            writer.flush().await.unwrap();
            let refusal = status(StatusCode::FAILURE, "Failure");
            let script = async |peer: &mut Peer| {
                let Q::Extended(Extension::StatVfs { path }) = peer.serve(free_blocks(left)).await
                else {
                    panic!()
                };
                assert_eq!(path, "/f");
            };
            let failure = if last {
                let finishing = tokio::spawn(transfer.finish());
                peer.serve(refusal).await;
                assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
                script(&mut peer).await;
                assert!(matches!(peer.serve(of_size(0)).await, Q::LinkStat { .. }));
                finishing.await.unwrap().unwrap_err()
            } else {
                let refused = async { while writer.write_all(&[7; 300_000]).await.is_ok() {} };
                tokio::join!(refused, peer.serve(refusal));
                let aborting = tokio::spawn(transfer.abort());
                let mut request = peer.request().await;
                while let Q::Write { .. } = request.body {
                    peer.answer(request.id, ok()).await;
                    request = peer.request().await;
                }
                assert!(matches!(request.body, Q::Extended(Extension::StatVfs { .. })));
                peer.answer(request.id, free_blocks(left)).await;
                assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
                assert!(matches!(peer.serve(of_size(0)).await, Q::LinkStat { .. }));
                aborting.await.unwrap().unwrap()
            };
            assert_eq!(failure.kind, kind, "{failure} {last}");
        }
    }
}

/// `internal-sftp -P setstat,fsetstat`.
#[tokio::test]
async fn an_older_file_is_truncated_by_open_where_setstat_is_denied() {
    const FILES: &[(&str, &str)] = &[("fsync@openssh.com", "1")];
    for (size, is_truncated) in [(0, true), (5, false)] {
        let (server, mut peer) = connected_as(FILES, PartialUploads::Keep).await;
        let operation = write(WriteMode::From { offset: 0 });
        let script = async {
            assert!(matches!(peer.serve(of_size(5)).await, Q::Stat { .. }));
            assert!(matches!(peer.serve(handle()).await, Q::Open { .. }));
        };
        let (transfer, ()) = tokio::join!(upload::open(&server, &operation), script);
        let mut transfer = transfer.unwrap();
        let script = async {
            let denied = status(StatusCode::PERMISSION_DENIED, "Permission denied");
            assert!(matches!(peer.serve(denied).await, Q::FileSetStat { .. }));
            let again = A::Handle(Bytes::from_static(b"again"));
            let Q::Open { path, flags, .. } = peer.serve(again).await else { panic!() };
            assert_eq!((&path[..], flags), (&b"/f"[..], OpenFlags::WRITE | OpenFlags::TRUNCATE));
            assert_eq!(peer.serve(ok()).await, Q::Close { handle: "again".into() });
            assert!(matches!(peer.serve(of_size(size)).await, Q::FileStat { .. }));
        };
        let (started, ()) = tokio::join!(transfer.begin(), script);
        if is_truncated {
            started.unwrap();
        } else {
            // Another file was truncated.
            assert_eq!(started.unwrap_err().kind, FailureKind::PermissionDenied);
        }
    }
}

/// A partial upload is not mistaken for the finished file.
#[tokio::test]
async fn a_unique_file_has_a_temporary_name_until_it_is_whole() {
    let (server, mut peer) = connected_as(&[], PartialUploads::TemporaryName).await;
    let operation = write(WriteMode::Unique);
    let (transfer, open) = tokio::join!(upload::open(&server, &operation), peer.serve(handle()));
    let transfer = transfer.unwrap();
    let Q::Open { path: temporary, flags, .. } = open else { panic!() };
    assert!(temporary.starts_with(b"/f/.lockgate-") && temporary.ends_with(b".part"));
    assert!(flags.contains(OpenFlags::EXCLUSIVE));
    let name = transfer.path().to_string();
    assert!(name.starts_with("/f/upload-"), "{name}");
    let finishing = tokio::spawn(transfer.finish());
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    let Q::Rename { from, to } = peer.serve(ok()).await else { panic!() };
    assert_eq!((from, &to[..]), (temporary, name.as_bytes()));
    finishing.await.unwrap().unwrap();
}
