//! Requests and their responses.

use futures_util::FutureExt;

use super::*;
use crate::backend::Home;

#[tokio::test]
async fn home_and_limits_are_requested_in_one_flight() {
    let (server, _peer) = connected().await;
    assert_eq!(server.home, Home::At(path("/home/me")));
    assert_eq!((server.largest_read, server.largest_write), (261_120, 261_120));
    assert!(!server.abilities().sync && server.abilities().replacing_rename);
    let (server, _peer) = connected_as(&[], PartialUploads::Keep).await;
    assert!(!server.abilities().replacing_rename);
    assert_eq!(server.largest_read, 32_768);
}

#[tokio::test]
async fn responses_may_arrive_in_any_order() {
    let (server, mut peer) = connected().await;
    let stat = |name: &str| Operation::Size(path(name), Representation::Image);
    let (a, b, c) = (stat("/1"), stat("/2"), stat("/3"));
    let asking = join_all([&a, &b, &c].map(|operation| operations::perform(&server, operation)));
    let answering = async {
        let requests = [peer.request().await, peer.request().await, peer.request().await];
        for Request { id, body } in requests.iter().rev() {
            let Q::Stat { path } = body else { panic!("{body:?}") };
            let size = u64::from(path[1] - b'0');
            peer.answer(*id, of_size(size)).await;
        }
    };
    let (answers, ()) = tokio::join!(asking, answering);
    let answers: Vec<_> = answers.into_iter().map(|a| format!("{:?}", a.unwrap())).collect();
    assert_eq!(answers, ["Size(1)", "Size(2)", "Size(3)"]);
}

#[tokio::test]
async fn requests_are_sent_in_the_order_of_the_calls() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    let first = file.read_at(5, 10);
    let second = file.write_at(5, Bytes::from_static(b"abc"));
    let third = file.read_at(7, 10);
    // None was polled yet.
    assert!(matches!(peer.serve(data(10)).await, Q::Read { offset: 5, length: 10, .. }));
    let Q::Write { offset: 5, data: written, .. } = peer.serve(ok()).await else { panic!() };
    assert_eq!(written, "abc");
    assert!(matches!(peer.serve(data(3)).await, Q::Read { offset: 7, length: 10, .. }));
    assert_eq!(third.await.unwrap().unwrap().len(), 3);
    second.await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().len(), 10);
}

#[tokio::test]
async fn reads_and_writes_over_the_limits_are_split() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Keep).await;
    let file = opened(&server, &mut peer, read_write()).await;
    let reading = file.read_at(10, 100_000);
    let content: Bytes = (0..100_000usize).map(|n| (n * 7) as u8).collect();
    let mut at = 0;
    for length in [32_768usize, 32_768, 32_768, 1696] {
        let request = peer.serve(A::Data(content.slice(at..at + length))).await;
        assert!(
            matches!(request, Q::Read { offset, length: l, .. } if offset == 10 + at as u64 && l as usize == length)
        );
        at += length;
    }
    assert!(reading.await.unwrap().unwrap() == content);
    let writing = file.write_at(10, content.clone());
    let mut received = Vec::new();
    while received.len() < content.len() {
        let Q::Write { offset, data, .. } = peer.serve(ok()).await else { panic!() };
        assert_eq!(offset, 10 + received.len() as u64);
        assert!(data.len() <= 32_768);
        received.extend_from_slice(&data);
    }
    writing.await.unwrap();
    assert!(received == content);
}

#[tokio::test]
async fn the_end_of_the_channel_fails_all_requests() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    let waiting = [file.read_at(0, 10), file.read_at(10, 10)];
    peer.request().await;
    drop(peer);
    for reading in waiting {
        assert_eq!(reading.await.unwrap_err().kind, FailureKind::Unavailable);
    }
    let later = operations::perform(&server, &Operation::Stat(path("/x"))).await.unwrap_err();
    assert_eq!(later.kind, FailureKind::Unavailable);
    assert_eq!(file.close().await.unwrap_err().kind, FailureKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out_and_a_slow_one_does_not() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    // Eight responses, each within the limit of ten seconds, sixty-four seconds in all.
    let queue = tokio::spawn(join_all((0..8).map(|n| file.read_at(n * 10_000, 10))));
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(8)).await;
        peer.serve(data(10)).await;
    }
    assert!(queue.await.unwrap().iter().all(Result::is_ok));
    let started = tokio::time::Instant::now();
    let silent = file.read_at(1_000_000, 10).await.unwrap_err();
    assert_eq!(silent.kind, FailureKind::Unavailable);
    assert!((10..=21).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_dropped() {
    for broken in [
        &b"\0\0\0\x05\x65\0\0\x27\x0f"[..],
        b"\0\0\0\x01\x65",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x09\x68\0\0\0\x02\xff\xff\xff\xff",
    ] {
        let (server, mut peer) = connected().await;
        let operation = Operation::Stat(path("/x"));
        let asking = operations::perform(&server, &operation);
        let breaking = async {
            peer.request().await;
            peer.to.send(Bytes::from_static(broken)).await.unwrap();
        };
        let (answer, ()) = tokio::join!(asking, breaking);
        assert_eq!(answer.unwrap_err().kind, FailureKind::Unavailable, "{broken:?}");
    }
}

#[tokio::test]
async fn the_handle_of_a_dropped_open_is_closed() {
    let (server, mut peer) = connected().await;
    let open = || Q::OpenDir { path: Bytes::from_static(b"/") };
    let answer = server.requests.send(open());
    let request = peer.request().await;
    drop(answer);
    peer.answer(request.id, handle()).await;
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
    // Answered, but not received yet.
    let answer = server.requests.send(open());
    peer.serve(handle()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(answer);
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
}

#[tokio::test]
async fn extensions_that_the_server_does_not_offer_are_unsupported() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Keep).await;
    let rename = |onto| Operation::Rename { from: path("/a"), to: path("/b"), onto };
    for operation in [
        rename(Onto::Replaced),
        Operation::HardLink { from: path("/a"), to: path("/b") },
        Operation::FileSystem(path("/")),
        Operation::AccountNames { users: vec![1], groups: vec![] },
    ] {
        let refused: Failure = operations::perform(&server, &operation).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported, "{operation}");
    }
    let operation = rename(Onto::AsBackend);
    let (renamed, request) =
        tokio::join!(operations::perform(&server, &operation), peer.serve(ok()));
    assert!(renamed.is_ok() && matches!(request, Q::Rename { .. }));
}

#[tokio::test]
async fn the_servers_limits_are_applied() {
    let extensions = &[("limits@openssh.com", "1")];
    for (packet, read, largest) in [
        (0, 16_384, 16_384),
        (17_408, 16_384, 16_384),
        (17_408, 261_120, 16_384),
        (17_408, 0, 16_384),
        (100_000, 261_120, 98_976),
        // Values that make no sense.
        (262_144, 1, 4096),
        (1, 261_120, 4096),
        (u64::MAX, u64::MAX, 261_120),
        (0, 0, 32_768),
    ] {
        let limits = Limits { packet, read, write: read, open_handles: 0 };
        let (server, _peer) = connected_to(extensions, limits, PartialUploads::Keep).await;
        assert_eq!((server.largest_read, server.largest_write), (largest, largest), "{packet}");
    }
}

#[tokio::test]
async fn a_server_that_answers_an_unsent_request_is_dropped() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    // More than the channel to the server takes at once.
    let block = Bytes::from(vec![7; 100_000]);
    let writing: Vec<_> = (0..200).map(|n| file.write_at(n * 100_000, block.clone())).collect();
    let first = peer.request().await.id;
    peer.answer(first, ok()).await;
    peer.answer(first + 199, ok()).await;
    let written = timeout(Duration::from_secs(10), join_all(writing)).await.unwrap();
    assert!(written[0].is_ok());
    assert_eq!(written[199].as_ref().unwrap_err().kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn a_handle_over_256_bytes_is_refused() {
    for (length, is_accepted) in [(256, true), (257, false)] {
        let (server, mut peer) = connected().await;
        let asking = server.requests.send(Q::OpenDir { path: Bytes::from_static(b"/") });
        peer.serve(A::Handle(Bytes::from(vec![7; length]))).await;
        assert_eq!(asking.await.is_ok(), is_accepted);
    }
}

#[tokio::test]
async fn close_is_sent_even_when_the_request_limit_is_reached() {
    let (server, mut peer) = connected().await;
    let handle = Bytes::from_static(b"h");
    let read = || Q::Read { handle: handle.clone(), offset: 0, length: 1 };
    let mut in_flight = Vec::new();
    loop {
        let mut answer = server.requests.send(read());
        if let Some(Err(refused)) = (&mut answer).now_or_never() {
            assert_eq!(refused.kind, FailureKind::Busy);
            break;
        }
        in_flight.push(answer);
    }
    server.requests.send_and_forget(Q::Close { handle: handle.clone() });
    for _ in &in_flight {
        assert!(matches!(peer.request().await.body, Q::Read { .. }));
    }
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
}

#[tokio::test(start_paused = true)]
async fn fsync_may_take_ten_times_the_reply_timeout_and_no_longer() {
    let extensions = &[("fsync@openssh.com", "1"), ("copy-data", "1")];
    let (server, mut peer) = connected_as(extensions, PartialUploads::Keep).await;
    let file = opened(&server, &mut peer, read_write()).await;
    let syncing = file.clone();
    let syncing = tokio::spawn(async move { syncing.sync().await });
    let request = peer.request().await;
    // The limit is ten seconds.
    tokio::time::sleep(Duration::from_secs(60)).await;
    peer.answer(request.id, ok()).await;
    syncing.await.unwrap().unwrap();
    let stuck = timeout(Duration::from_secs(121), file.sync()).await.unwrap();
    assert_eq!(stuck.unwrap_err().kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn a_large_copy_is_requested_in_steps() {
    const MIB: u64 = 1024 * 1024;
    let (server, mut peer) = connected_as(&[("copy-data", "1")], PartialUploads::Keep).await;
    let file = opened(&server, &mut peer, read_write()).await;
    let to = opened(&server, &mut peer, read_write()).await;
    for (length, size, steps) in [
        (5, None, &[5][..]),
        (130 * MIB, None, &[64 * MIB, 64 * MIB, 2 * MIB]),
        (0, Some(100 * MIB + 1000), &[64 * MIB, 0]),
        (0, Some(0), &[0]),
    ] {
        let (from, to) = (file.clone(), to.clone());
        let copying = tokio::spawn(async move { from.copy_data(1000, length, &to, 7).await });
        if let Some(size) = size {
            assert!(matches!(peer.serve(of_size(size)).await, Q::FileStat { .. }));
        }
        let mut done = 0;
        for step in steps {
            let Q::Extended(Extension::CopyData { from_offset, length, to_offset, .. }) =
                peer.serve(ok()).await
            else {
                panic!()
            };
            assert_eq!((from_offset, length, to_offset), (1000 + done, *step, 7 + done));
            done += step;
        }
        copying.await.unwrap().unwrap();
        peer.nothing().await;
    }
}

#[tokio::test]
async fn mkdir_applies_the_requested_permissions() {
    let (server, mut peer) = connected().await;
    for permissions in [Some(0o700), None] {
        let made = Operation::MakeDirectory { path: path("/new"), permissions };
        let script = async {
            let request = peer.request().await;
            let attributes = Attributes { permissions, ..Attributes::default() };
            assert_eq!(request.body, Q::MakeDir { path: "/new".into(), attributes });
            peer.answer(request.id, ok()).await;
        };
        let (made, ()) = tokio::join!(operations::perform(&server, &made), script);
        made.unwrap();
    }
}
