//! Files that are opened for nothing but reading: their begin is asked for ahead of the client.

use super::*;

fn only_read() -> OpenMode {
    OpenMode { read: true, ..OpenMode::default() }
}

fn end() -> ResponseBody {
    status(StatusCode::EOF, "End of file")
}

/// Open, with the READ that is sent by itself.
async fn begun(server: &Arc<Server>, peer: &mut Peer) -> (Arc<dyn OpenFile>, Request) {
    let file = opened(server, peer, only_read()).await;
    let first = peer.request().await;
    assert!(matches!(first.body, Q::Read { offset: 0, length: 261_120, .. }), "{first:?}");
    (file, first)
}

/// A file of 4,096 bytes, whose end is known before the client reads.
async fn small(server: &Arc<Server>, peer: &mut Peer) -> Arc<dyn OpenFile> {
    let (file, first) = begun(server, peer).await;
    peer.answer(first.id, data(4096)).await;
    let behind = peer.serve(end()).await;
    assert!(matches!(behind, Q::Read { offset: 4096, length: 257_024, .. }), "{behind:?}");
    file
}

#[tokio::test]
async fn a_small_file_is_there_before_it_is_asked_for_and_its_close_is_not_waited_for() {
    let (server, mut peer) = connected().await;
    let file = small(&server, &mut peer).await;
    // None of these waits for the server.
    assert_eq!(file.read_at(0, 261_120).await.unwrap().unwrap().len(), 4096);
    assert_eq!(file.read_at(4096, 257_024).await.unwrap(), None);
    file.close().await.unwrap();
    let close = peer.request().await;
    assert!(matches!(close.body, Q::Close { .. }), "{close:?}");
    assert!(file.close().await.is_err(), "closed twice");
    drop(file);
    peer.nothing().await;
    assert_eq!(server.cleanups.len(), 1);
    peer.answer(close.id, status(StatusCode::FAILURE, "no")).await;
    server.cleanups.close();
    timeout(Duration::from_secs(10), server.cleanups.wait()).await.unwrap();
}

#[tokio::test]
async fn a_file_without_a_byte_is_known_as_such() {
    let (server, mut peer) = connected().await;
    let (file, first) = begun(&server, &mut peer).await;
    peer.answer(first.id, end()).await;
    assert_eq!(file.read_at(0, 32_768).await.unwrap(), None);
    drop(file.read_at(0, 32_768));
    assert!(matches!(peer.request().await.body, Q::Read { offset: 0, length: 32_768, .. }));
}

#[tokio::test]
async fn a_file_that_grows_is_read_on_behind_an_end_that_was_told() {
    let (server, mut peer) = connected().await;
    let file = small(&server, &mut peer).await;
    assert_eq!(file.read_at(0, 32_768).await.unwrap().unwrap().len(), 4096);
    assert_eq!(file.read_at(4096, 32_768).await.unwrap(), None);
    for at in [4096, 4106] {
        let reading = tokio::spawn(file.read_at(at, 32_768));
        let asked = peer.serve(data(10)).await;
        assert!(matches!(asked, Q::Read { offset, length: 32_768, .. } if offset == at));
        assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 10);
    }
    let reading = tokio::spawn(file.read_at(4116, 32_768));
    assert!(matches!(peer.serve(end()).await, Q::Read { offset: 4116, .. }));
    assert_eq!(reading.await.unwrap().unwrap(), None);
    peer.nothing().await;
}

#[tokio::test]
async fn what_is_read_is_no_older_than_what_the_client_was_told_of_the_file() {
    let (server, mut peer) = connected().await;
    let file = small(&server, &mut peer).await;
    let (told, _) = tokio::join!(file.stat(), peer.serve(of_size(5000)));
    assert_eq!(told.unwrap().attributes.size, Some(5000));
    for (at, length) in [(0, 4096), (4096, 904)] {
        let reading = tokio::spawn(file.read_at(at, 32_768));
        let asked = peer.serve(data(length)).await;
        assert!(matches!(asked, Q::Read { offset, .. } if offset == at), "{asked:?}");
        assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), length);
    }
}

#[tokio::test]
async fn what_the_session_writes_after_the_open_is_read() {
    let (server, mut peer) = connected().await;
    let file = small(&server, &mut peer).await;
    let other = opened(&server, &mut peer, both()).await;
    drop(other.write_at(0, Bytes::from_static(b"new")));
    assert!(matches!(peer.serve(ok()).await, Q::Write { .. }));
    drop(file.read_at(0, 32_768));
    assert!(matches!(peer.request().await.body, Q::Read { offset: 0, length: 32_768, .. }));
}

#[tokio::test]
async fn a_file_that_is_read_elsewhere_first_is_read_as_asked() {
    let (server, mut peer) = connected().await;
    let (file, first) = begun(&server, &mut peer).await;
    peer.answer(first.id, data(261_120)).await;
    for at in [1_000_000, 500_000, 0] {
        drop(file.read_at(at, 100));
        let asked = peer.request().await;
        let Q::Read { offset, length: 100, .. } = asked.body else { panic!("{asked:?}") };
        assert_eq!(offset, at);
        peer.answer(asked.id, data(100)).await;
    }
    peer.nothing().await;
}

#[tokio::test]
async fn a_large_file_costs_one_read_more_at_most() {
    let (server, mut peer) = connected().await;
    let (file, first) = begun(&server, &mut peer).await;
    peer.answer(first.id, data(261_120)).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 1000);
    peer.nothing().await;
    file.close().await.unwrap();
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    let (unread, _) = begun(&server, &mut peer).await;
    unread.close().await.unwrap();
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    peer.nothing().await;
}

#[tokio::test]
async fn reads_go_on_ahead_from_the_first_piece() {
    let (server, mut peer) = connected().await;
    let (file, first) = begun(&server, &mut peer).await;
    peer.answer(first.id, data(261_120)).await;
    for n in 0..4 {
        let read = file.read_at(n * 32_768, 32_768).await.unwrap().unwrap();
        assert_eq!(read.len(), 32_768);
    }
    // As long as seven of the client's reads, so that none lies in two pieces.
    assert!(matches!(peer.request().await.body, Q::Read { offset: 229_376, length: 229_376, .. }));
}

#[tokio::test]
async fn a_short_answer_is_no_end() {
    let (server, mut peer) = connected().await;
    let (file, first) = begun(&server, &mut peer).await;
    peer.answer(first.id, data(100)).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 100);
    let reading = tokio::spawn(file.read_at(100, 900));
    // Wanted are the client's bytes, whatever the server's pieces are.
    assert!(matches!(peer.serve(data(50)).await, Q::Read { offset: 100, .. }));
    assert!(matches!(peer.serve(data(850)).await, Q::Read { offset: 150, .. }));
    assert!(matches!(peer.serve(end()).await, Q::Read { offset: 1000, .. }));
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 900);
    assert_eq!(file.read_at(1000, 1000).await.unwrap(), None);
    let reading = tokio::spawn(file.read_at(1000, 1000));
    assert!(matches!(peer.serve(end()).await, Q::Read { offset: 1000, length: 1000, .. }));
    assert_eq!(reading.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn a_read_that_nobody_asked_for_fails_in_silence() {
    let (server, mut peer) = connected().await;
    let (file, first) = begun(&server, &mut peer).await;
    peer.answer(first.id, status(StatusCode::FAILURE, "a bad block")).await;
    let reading = tokio::spawn(file.read_at(0, 10));
    assert!(matches!(peer.serve(data(10)).await, Q::Read { offset: 0, length: 10, .. }));
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 10);
    // Nor does the one behind a short answer.
    let (file, first) = begun(&server, &mut peer).await;
    peer.answer(first.id, data(10)).await;
    peer.serve(status(StatusCode::FAILURE, "a bad block")).await;
    assert_eq!(file.read_at(0, 100).await.unwrap().unwrap().len(), 10);
    let reading = tokio::spawn(file.read_at(10, 90));
    let refusal = status(StatusCode::FAILURE, "a bad block");
    assert!(matches!(peer.serve(refusal).await, Q::Read { offset: 10, length: 90, .. }));
    assert!(reading.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_soon_is_given_up() {
    let (server, mut peer) = connected().await;
    let free = server.ahead.held();
    let file = small(&server, &mut peer).await;
    assert_eq!(server.ahead.held() - free, 261_120);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.ahead.held(), free);
    drop(file.read_at(0, 32_768));
    assert!(matches!(peer.request().await.body, Q::Read { offset: 0, length: 32_768, .. }));
}

#[tokio::test]
async fn files_that_wait_to_be_read_take_no_more_than_the_sessions_share() {
    let (server, mut peer) = connected().await;
    let mut files = Vec::new();
    let most = crate::data::MOST_AHEAD / 261_120;
    for _ in 0..most {
        files.push(begun(&server, &mut peer).await);
    }
    files.push((opened(&server, &mut peer, only_read()).await, files[0].1.clone()));
    peer.nothing().await;
    drop(files);
    assert_eq!(server.ahead.held(), 0);
}

#[tokio::test]
async fn a_file_that_may_be_written_is_not_read_by_itself_and_its_close_is_waited_for() {
    let (server, mut peer) = connected().await;
    for mode in [both(), OpenMode { read: true, create: true, ..OpenMode::default() }] {
        let file = opened(&server, &mut peer, mode).await;
        peer.nothing().await;
        let closing = tokio::spawn(async move { file.close().await });
        let refusal = status(StatusCode::FAILURE, "disk full");
        assert!(matches!(peer.serve(refusal).await, Q::Close { .. }));
        assert!(closing.await.unwrap().is_err());
    }
}
