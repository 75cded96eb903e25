//! Aborted uploads, and the next uploads of the same path.

use super::*;

#[tokio::test]
async fn unsent_writes_of_an_aborted_upload_are_dropped() {
    for partial in [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName] {
        let (server, mut peer) = connected_as(&[], partial).await;
        let operation = OpenHandle { path: path("/f"), mode: new_file() };
        let script = async {
            if partial == PartialUploads::TemporaryName {
                peer.serve(status(StatusCode::NO_SUCH_FILE, "")).await;
            }
            peer.serve(handle()).await;
        };
        let (file, ()) = tokio::join!(file::open(&server, &operation), script);
        let file = file.unwrap();
        // More than the channel to the server takes at once.
        let block = Bytes::from(vec![7; 100_000]);
        let writing: Vec<_> = (0..200).map(|n| file.write_at(n * 100_000, block.clone())).collect();
        let first = peer.request().await;
        let aborting = tokio::spawn(async move { file.abort().await });
        // It has cancelled the rest before it sends CLOSE.
        while !server.cleanups.is_closed() && server.cleanups.is_empty() {
            tokio::task::yield_now().await;
        }
        peer.answer(first.id, ok()).await;
        let mut written = 1;
        let close = loop {
            let request = peer.request().await;
            let Q::Write { .. } = request.body else { break request };
            written += 1;
            peer.answer(request.id, ok()).await;
        };
        assert!(matches!(close.body, Q::Close { .. }));
        assert!(written < 800, "all of it was sent");
        peer.answer(close.id, ok()).await;
        if partial == PartialUploads::Delete {
            assert!(matches!(peer.serve(of_size(written * 32_768)).await, Q::LinkStat { .. }));
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
        }
        aborting.await.unwrap();
        let outcomes = join_all(writing).await;
        assert!(outcomes[0].is_ok());
        assert_eq!(outcomes[199].as_ref().unwrap_err().kind, FailureKind::Aborted);
        peer.nothing().await;
        // The session stays usable.
        let stat = Operation::Stat(path("/f"));
        let (entry, _) = tokio::join!(operations::perform(&server, &stat), peer.serve(of_size(1)));
        entry.unwrap();
    }
}

/// How the upload ends after its client has disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Abort,
    Drop,
    Close,
}

#[tokio::test]
async fn the_next_upload_of_a_path_waits_for_the_close_of_the_previous_one() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum First {
        Stream(WriteMode),
        File(OpenMode),
    }
    for partial in [PartialUploads::Keep, PartialUploads::Delete] {
        for first in [
            First::Stream(WriteMode::From { offset: 0 }),
            First::Stream(WriteMode::Append),
            First::File(new_file()),
            First::File(read_write()),
        ] {
            for end in [End::Abort, End::Drop, End::Close] {
                let [(one, mut first_peer), (two, mut second_peer)] = two_connected(partial).await;
                let appends = matches!(first, First::Stream(WriteMode::Append));
                let script = async {
                    if appends {
                        first_peer.serve(of_size(7)).await;
                    }
                    first_peer.serve(handle()).await;
                    if appends {
                        first_peer.serve(of_size(7)).await;
                    }
                };
                let ending = match first {
                    First::Stream(mode) => {
                        let action = write(mode);
                        let (upload, ()) = tokio::join!(upload::open(&one, &action), script);
                        let upload = upload.unwrap();
                        tokio::spawn(async move {
                            match end {
                                End::Abort => drop(upload.abort().await),
                                End::Drop => drop(upload),
                                End::Close => drop(upload.finish().await),
                            }
                        })
                    }
                    First::File(mode) => {
                        let action = OpenHandle { path: path("/f"), mode };
                        let (file, ()) = tokio::join!(file::open(&one, &action), script);
                        let file = file.unwrap();
                        tokio::spawn(async move {
                            match end {
                                End::Abort => file.abort().await,
                                End::Drop => drop(file),
                                End::Close => drop(file.close().await),
                            }
                        })
                    }
                };
                let close = first_peer.request().await;
                assert!(matches!(close.body, Q::Close { .. }));
                let again = write(WriteMode::From { offset: 0 });
                let starting =
                    tokio::spawn(async move { upload::open(&two, &again).await.map(drop) });
                second_peer.nothing().await;
                first_peer.answer(close.id, ok()).await;
                if partial == PartialUploads::Delete
                    && end != End::Close
                    && first != First::File(read_write())
                    && !appends
                {
                    // The path is free only after the partial file is deleted.
                    let lstat = first_peer.request().await;
                    second_peer.nothing().await;
                    first_peer.answer(lstat.id, of_size(0)).await;
                    assert!(matches!(first_peer.serve(ok()).await, Q::Remove { .. }));
                }
                let opened = second_peer.serve(handle()).await;
                assert!(matches!(opened, Q::Open { .. }), "{partial:?} {first:?} {end:?}");
                starting.await.unwrap().unwrap();
                ending.await.unwrap();
            }
        }
    }
}

/// While the server still takes what was sent, no other upload of the path starts, even after the session
/// was closed.
#[tokio::test(start_paused = true)]
async fn a_closed_session_keeps_its_connection_until_sent_writes_are_answered() {
    let [(one, mut first_peer), (two, mut second_peer)] = two_connected(PartialUploads::Keep).await;
    let file = opened(&one, &mut first_peer, new_file()).await;
    drop((file.write_at(0, Bytes::from_static(b"a")), file.write_at(1, Bytes::from_static(b"b"))));
    let writes = [first_peer.request().await, first_peer.request().await];
    drop(file);
    let close = first_peer.request().await;
    let started = tokio::time::Instant::now();
    SftpSession { server: one }.close().await;
    assert!(started.elapsed() <= Duration::from_secs(11));
    let starting = tokio::spawn(async move {
        upload::open(&two, &write(WriteMode::From { offset: 0 })).await.map(drop)
    });
    for request in writes {
        first_peer.answer(request.id, ok()).await;
        second_peer.nothing().await;
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    first_peer.answer(close.id, ok()).await;
    assert!(matches!(second_peer.serve(handle()).await, Q::Open { .. }));
    starting.await.unwrap().unwrap();
    // Then the connection ends.
    assert!(first_peer.from.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_too_long_for_an_earlier_one_fails_as_busy() {
    let [(one, mut first_peer), (two, mut second_peer)] = two_connected(PartialUploads::Keep).await;
    let file = opened(&one, &mut first_peer, new_file()).await;
    let writing: Vec<_> = (0..9).map(|n| file.write_at(n, Bytes::from_static(b"x"))).collect();
    let mut in_flight = Vec::new();
    for _ in 0..9 {
        in_flight.push(first_peer.request().await);
    }
    drop(file);
    let script = async {
        // Slow, but not dead.
        for request in in_flight.drain(..7) {
            tokio::time::sleep(Duration::from_secs(6)).await;
            first_peer.answer(request.id, ok()).await;
        }
    };
    let again = write(WriteMode::From { offset: 0 });
    let (refused, ()) = tokio::join!(upload::open(&two, &again), script);
    assert_eq!(refused.err().unwrap().kind, FailureKind::Busy);
    second_peer.nothing().await;
    drop(writing);
}

#[tokio::test]
async fn an_empty_aborted_upload_leaves_no_temporary_file() {
    for dropped in [false, true] {
        let (server, mut peer) = connected_as(&[], PartialUploads::TemporaryName).await;
        let operation = write(WriteMode::From { offset: 0 });
        let script = async {
            peer.serve(status(StatusCode::NO_SUCH_FILE, "")).await;
            peer.serve(handle()).await
        };
        let (transfer, open) = tokio::join!(upload::open(&server, &operation), script);
        let Q::Open { path: temporary, .. } = open else { panic!() };
        let transfer = transfer.unwrap();
        let aborting = tokio::spawn(async move {
            if dropped {
                drop(transfer);
            } else {
                drop(transfer.abort().await);
            }
        });
        assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
        assert_eq!(peer.serve(ok()).await, Q::Remove { path: temporary });
        aborting.await.unwrap();
    }
}

#[tokio::test]
async fn an_aborted_append_deletes_only_a_file_that_it_created() {
    let missing = || status(StatusCode::NO_SUCH_FILE, "");
    for (existing, is_deleted) in [(missing(), true), (of_size(0), false)] {
        let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
        let operation = write(WriteMode::Append);
        let script = async {
            assert!(matches!(peer.serve(existing).await, Q::Stat { .. }));
            assert!(matches!(peer.serve(handle()).await, Q::Open { .. }));
            assert!(matches!(peer.serve(of_size(0)).await, Q::FileStat { .. }));
        };
        let (transfer, ()) = tokio::join!(upload::open(&server, &operation), script);
        let aborting = tokio::spawn(transfer.unwrap().abort());
        assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
        if is_deleted {
            assert!(matches!(peer.serve(of_size(0)).await, Q::LinkStat { .. }));
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
        }
        aborting.await.unwrap();
        peer.nothing().await;
    }
}
