//! Uploads that are cut, and the next ones of the same name.

use super::*;

#[tokio::test]
async fn what_is_not_on_its_way_of_a_cut_upload_is_not_sent() {
    for partial in [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName] {
        let (server, mut peer) = connected_as(&[], partial).await;
        let operation = Operation::Open { path: path("/f"), mode: begins() };
        let script = async {
            if partial == PartialUploads::TemporaryName {
                peer.serve(status(StatusCode::NO_SUCH_FILE, "")).await;
            }
            peer.serve(handle()).await;
        };
        let (file, ()) = tokio::join!(file::open(&server, &operation), script);
        let file = file.unwrap();
        // More than the channel to the server takes.
        let block = Bytes::from(vec![7; 100_000]);
        let writing: Vec<_> = (0..200).map(|n| file.write_at(n * 100_000, block.clone())).collect();
        let first = peer.request().await;
        let aborting = tokio::spawn(async move { file.abort().await });
        // It has marked the rest before it sends CLOSE.
        while !server.cleanups.is_closed() && server.cleanups.is_empty() {
            tokio::task::yield_now().await;
        }
        peer.answer(first.id, ok()).await;
        let mut written = 1;
        let close = loop {
            let asked = peer.request().await;
            let Q::Write { .. } = asked.body else { break asked };
            written += 1;
            peer.answer(asked.id, ok()).await;
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
        // The session goes on.
        let stat = Operation::Stat(path("/f"));
        let (there, _) = tokio::join!(operations::perform(&server, &stat), peer.serve(of_size(1)));
        there.unwrap();
    }
}

/// How the upload of a session ends that its client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Abort,
    Drop,
    Close,
}

#[tokio::test]
async fn the_next_upload_of_a_name_waits_until_the_one_before_it_is_over() {
    let stream = |mode| write(mode);
    let open = Operation::Open { path: path("/f"), mode: begins() };
    let random = Operation::Open { path: path("/f"), mode: both() };
    for partial in [PartialUploads::Keep, PartialUploads::Delete] {
        for first in [
            stream(WriteMode::From { offset: 0 }),
            stream(WriteMode::Append),
            open.clone(),
            random.clone(),
        ] {
            for end in [End::Abort, End::Drop, End::Close] {
                let [(one, mut broken), (two, mut back)] = two_connected(partial).await;
                let appends = matches!(first, Operation::Write { mode: WriteMode::Append, .. });
                let script = async {
                    if appends {
                        broken.serve(of_size(7)).await;
                    }
                    broken.serve(handle()).await;
                    if appends {
                        broken.serve(of_size(7)).await;
                    }
                };
                let ending = match &first {
                    Operation::Write { .. } => {
                        let (upload, ()) = tokio::join!(upload::open(&one, &first), script);
                        let upload = upload.unwrap();
                        tokio::spawn(async move {
                            match end {
                                End::Abort => drop(upload.abort().await),
                                End::Drop => drop(upload),
                                End::Close => drop(upload.finish().await),
                            }
                        })
                    }
                    _ => {
                        let (file, ()) = tokio::join!(file::open(&one, &first), script);
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
                let close = broken.request().await;
                assert!(matches!(close.body, Q::Close { .. }));
                let again = stream(WriteMode::From { offset: 0 });
                let beginning =
                    tokio::spawn(async move { upload::open(&two, &again).await.map(drop) });
                back.nothing().await;
                broken.answer(close.id, ok()).await;
                if partial == PartialUploads::Delete
                    && end != End::Close
                    && first != random
                    && !appends
                {
                    // Nor does it begin what is deleted then.
                    let look = broken.request().await;
                    back.nothing().await;
                    broken.answer(look.id, of_size(0)).await;
                    assert!(matches!(broken.serve(ok()).await, Q::Remove { .. }));
                }
                let opened = back.serve(handle()).await;
                assert!(matches!(opened, Q::Open { .. }), "{partial:?} {first} {end:?}");
                beginning.await.unwrap().unwrap();
                ending.await.unwrap();
            }
        }
    }
}

/// As long as the server takes what was sent, nobody else begins the name, whatever became of the
/// session.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_leaves_its_connection_to_what_is_still_written() {
    let [(one, mut broken), (two, mut back)] = two_connected(PartialUploads::Keep).await;
    let file = opened(&one, &mut broken, begins()).await;
    drop((file.write_at(0, Bytes::from_static(b"a")), file.write_at(1, Bytes::from_static(b"b"))));
    let writes = [broken.request().await, broken.request().await];
    drop(file);
    let close = broken.request().await;
    let started = tokio::time::Instant::now();
    SftpSession { server: one }.close().await;
    assert!(started.elapsed() <= Duration::from_secs(11));
    let beginning = tokio::spawn(async move {
        upload::open(&two, &write(WriteMode::From { offset: 0 })).await.map(drop)
    });
    for request in writes {
        broken.answer(request.id, ok()).await;
        back.nothing().await;
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    broken.answer(close.id, ok()).await;
    assert!(matches!(back.serve(handle()).await, Q::Open { .. }));
    beginning.await.unwrap().unwrap();
    // And then it ends.
    assert!(broken.from.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_too_long_for_a_name_is_told_why() {
    let [(one, mut broken), (two, mut back)] = two_connected(PartialUploads::Keep).await;
    let file = opened(&one, &mut broken, begins()).await;
    let writing: Vec<_> = (0..9).map(|n| file.write_at(n, Bytes::from_static(b"x"))).collect();
    let mut on_their_way = Vec::new();
    for _ in 0..9 {
        on_their_way.push(broken.request().await);
    }
    drop(file);
    let script = async {
        // Slow, and not dead.
        for request in on_their_way.drain(..7) {
            tokio::time::sleep(Duration::from_secs(6)).await;
            broken.answer(request.id, ok()).await;
        }
    };
    let again = write(WriteMode::From { offset: 0 });
    let (refused, ()) = tokio::join!(upload::open(&two, &again), script);
    assert_eq!(refused.err().unwrap().kind, FailureKind::Busy);
    back.nothing().await;
    drop(writing);
}

#[tokio::test]
async fn an_upload_without_a_byte_leaves_no_temporary_file() {
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
            match dropped {
                true => drop(transfer),
                false => drop(transfer.abort().await),
            }
        });
        assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
        assert_eq!(peer.serve(ok()).await, Q::Remove { path: temporary });
        aborting.await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_an_append_has_made_is_its_part() {
    let nothing = || status(StatusCode::NO_SUCH_FILE, "");
    for (there, goes) in [(nothing(), true), (of_size(0), false)] {
        let (server, mut peer) = connected_as(&[], PartialUploads::Delete).await;
        let operation = write(WriteMode::Append);
        let script = async {
            assert!(matches!(peer.serve(there).await, Q::Stat { .. }));
            assert!(matches!(peer.serve(handle()).await, Q::Open { .. }));
            assert!(matches!(peer.serve(of_size(0)).await, Q::FileStat { .. }));
        };
        let (transfer, ()) = tokio::join!(upload::open(&server, &operation), script);
        let aborting = tokio::spawn(transfer.unwrap().abort());
        assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
        if goes {
            assert!(matches!(peer.serve(of_size(0)).await, Q::LinkStat { .. }));
            assert!(matches!(peer.serve(ok()).await, Q::Remove { .. }));
        }
        aborting.await.unwrap();
        peer.nothing().await;
    }
}
