//! Requests and their answers.

use futures_util::FutureExt;

use super::*;
use crate::backend::Home;

#[tokio::test]
async fn home_and_limits_are_asked_for_in_one_flight() {
    let (server, _peer) = connected().await;
    assert_eq!(server.home, Home::At(path("/home/me")));
    assert_eq!((server.largest_read, server.largest_write), (261_120, 261_120));
    assert!(!server.abilities().sync && server.abilities().replacing_rename);
    let (server, _peer) = connected_as(&[], PartialUploads::Keep).await;
    assert!(!server.abilities().replacing_rename);
    assert_eq!(server.largest_read, 32_768);
}

#[tokio::test]
async fn answers_in_any_order() {
    let (server, mut peer) = connected().await;
    let stat = |name: &str| Operation::Size(path(name), Representation::Image);
    let (a, b, c) = (stat("/1"), stat("/2"), stat("/3"));
    let asking = join_all([&a, &b, &c].map(|operation| operations::perform(&server, operation)));
    let answering = async {
        let asked = [peer.request().await, peer.request().await, peer.request().await];
        for Request { id, body } in asked.iter().rev() {
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
async fn requests_go_out_in_the_order_of_the_calls() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    let first = file.read_at(5, 10);
    let second = file.write_at(5, Bytes::from_static(b"abc"));
    let third = file.read_at(7, 10);
    // None was polled.
    assert!(matches!(peer.serve(data(10)).await, Q::Read { offset: 5, length: 10, .. }));
    let Q::Write { offset: 5, data: written, .. } = peer.serve(ok()).await else { panic!() };
    assert_eq!(written, "abc");
    assert!(matches!(peer.serve(data(3)).await, Q::Read { offset: 7, length: 10, .. }));
    assert_eq!(third.await.unwrap().unwrap().len(), 3);
    second.await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().len(), 10);
}

#[tokio::test]
async fn what_is_over_the_limits_is_split() {
    let (server, mut peer) = connected_as(&[], PartialUploads::Keep).await;
    let file = opened(&server, &mut peer, both()).await;
    let reading = file.read_at(10, 100_000);
    let content: Bytes = (0..100_000usize).map(|n| (n * 7) as u8).collect();
    let mut at = 0;
    for length in [32_768usize, 32_768, 32_768, 1696] {
        let asked = peer.serve(A::Data(content.slice(at..at + length))).await;
        assert!(
            matches!(asked, Q::Read { offset, length: l, .. } if offset == 10 + at as u64 && l as usize == length)
        );
        at += length;
    }
    assert!(reading.await.unwrap().unwrap() == content);
    let writing = file.write_at(10, content.clone());
    let mut got = Vec::new();
    while got.len() < content.len() {
        let Q::Write { offset, data, .. } = peer.serve(ok()).await else { panic!() };
        assert_eq!(offset, 10 + got.len() as u64);
        assert!(data.len() <= 32_768);
        got.extend_from_slice(&data);
    }
    writing.await.unwrap();
    assert!(got == content);
}

#[tokio::test]
async fn the_end_of_the_channel_is_told_to_all() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
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
async fn silence_is_bounded_and_progress_is_no_silence() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    // Eight answers, each within the limit of ten seconds, sixty-four in all.
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
async fn who_breaks_the_protocol_is_dropped() {
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
async fn an_open_that_was_given_up_leaves_no_handle() {
    let (server, mut peer) = connected().await;
    let open = || Q::OpenDir { path: Bytes::from_static(b"/") };
    let answer = server.requests.ask(open());
    let request = peer.request().await;
    drop(answer);
    peer.answer(request.id, handle()).await;
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
    // Answered, but not yet taken.
    let answer = server.requests.ask(open());
    peer.serve(handle()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(answer);
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
}

#[tokio::test]
async fn what_the_server_does_not_offer_is_unsupported() {
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
    let (renamed, asked) = tokio::join!(operations::perform(&server, &operation), peer.serve(ok()));
    assert!(renamed.is_ok() && matches!(asked, Q::Rename { .. }));
}

#[tokio::test]
async fn limits_are_what_the_server_says() {
    let extensions = &[("limits@openssh.com", "1")];
    for (packet, read, largest) in [
        (0, 16_384, 16_384),
        (17_408, 16_384, 16_384),
        (17_408, 261_120, 16_384),
        (17_408, 0, 16_384),
        (100_000, 261_120, 98_976),
        // Nobody means that.
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
async fn a_server_that_answers_what_it_has_not_got_is_dropped() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, both()).await;
    // More than the channel to the server takes.
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
async fn a_handle_of_any_length_is_not_taken() {
    for (length, taken) in [(256, true), (257, false)] {
        let (server, mut peer) = connected().await;
        let asking = server.requests.ask(Q::OpenDir { path: Bytes::from_static(b"/") });
        peer.serve(A::Handle(Bytes::from(vec![7; length]))).await;
        assert_eq!(asking.await.is_ok(), taken);
    }
}

#[tokio::test]
async fn a_close_is_sent_however_much_is_under_way() {
    let (server, mut peer) = connected().await;
    let handle = Bytes::from_static(b"h");
    let read = || Q::Read { handle: handle.clone(), offset: 0, length: 1 };
    let mut under_way = Vec::new();
    loop {
        let mut answer = server.requests.ask(read());
        if let Some(Err(refused)) = (&mut answer).now_or_never() {
            assert_eq!(refused.kind, FailureKind::Busy);
            break;
        }
        under_way.push(answer);
    }
    server.requests.tell(Q::Close { handle: handle.clone() });
    for _ in &under_way {
        assert!(matches!(peer.request().await.body, Q::Read { .. }));
    }
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_moves_a_file_may_take_longer_and_not_for_ever() {
    let extensions = &[("fsync@openssh.com", "1"), ("copy-data", "1")];
    let (server, mut peer) = connected_as(extensions, PartialUploads::Keep).await;
    let file = opened(&server, &mut peer, both()).await;
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
async fn a_copy_is_asked_for_in_pieces() {
    const MIB: u64 = 1024 * 1024;
    let (server, mut peer) = connected_as(&[("copy-data", "1")], PartialUploads::Keep).await;
    let file = opened(&server, &mut peer, both()).await;
    let to = opened(&server, &mut peer, both()).await;
    for (length, size, pieces) in [
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
        for piece in pieces {
            let Q::Extended(Extension::CopyData { from_offset, length, to_offset, .. }) =
                peer.serve(ok()).await
            else {
                panic!()
            };
            assert_eq!((from_offset, length, to_offset), (1000 + done, *piece, 7 + done));
            done += piece;
        }
        copying.await.unwrap().unwrap();
        peer.nothing().await;
    }
}

#[tokio::test]
async fn a_folder_is_made_with_its_permissions() {
    let (server, mut peer) = connected().await;
    for permissions in [Some(0o700), None] {
        let made = Operation::MakeDirectory { path: path("/new"), permissions };
        let script = async {
            let asked = peer.request().await;
            let attributes = Attributes { permissions, ..Attributes::default() };
            assert_eq!(asked.body, Q::MakeDir { path: "/new".into(), attributes });
            peer.answer(asked.id, ok()).await;
        };
        let (made, ()) = tokio::join!(operations::perform(&server, &made), script);
        made.unwrap();
    }
}
