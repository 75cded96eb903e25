//! Files that are opened only for reading: their start is prefetched.

use super::*;

fn only_read() -> OpenMode {
    OpenMode { read: true, ..OpenMode::default() }
}

fn end() -> ResponseBody {
    status(StatusCode::EOF, "End of file")
}

/// An open file, with the READ that is sent without a client's request.
async fn prefetching(server: &Arc<Server>, peer: &mut Peer) -> (Arc<dyn OpenFile>, Request) {
    let file = opened(server, peer, only_read()).await;
    let first = peer.request().await;
    assert!(matches!(first.body, Q::Read { offset: 0, length: 261_120, .. }), "{first:?}");
    (file, first)
}

/// A file of 4,096 bytes, whose end is known before the client reads.
async fn small(server: &Arc<Server>, peer: &mut Peer) -> Arc<dyn OpenFile> {
    let (file, first) = prefetching(server, peer).await;
    peer.answer(first.id, data(4096)).await;
    let second = peer.serve(end()).await;
    assert!(matches!(second, Q::Read { offset: 4096, length: 257_024, .. }), "{second:?}");
    file
}

#[tokio::test]
async fn a_small_file_is_prefetched_and_its_close_does_not_wait() {
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
async fn the_end_of_an_empty_file_is_served_from_memory_once() {
    let (server, mut peer) = connected().await;
    let (file, first) = prefetching(&server, &mut peer).await;
    peer.answer(first.id, end()).await;
    assert_eq!(file.read_at(0, 32_768).await.unwrap(), None);
    drop(file.read_at(0, 32_768));
    assert!(matches!(peer.request().await.body, Q::Read { offset: 0, length: 32_768, .. }));
}

#[tokio::test]
async fn a_growing_file_is_read_on_after_a_reported_end() {
    let (server, mut peer) = connected().await;
    let file = small(&server, &mut peer).await;
    assert_eq!(file.read_at(0, 32_768).await.unwrap().unwrap().len(), 4096);
    assert_eq!(file.read_at(4096, 32_768).await.unwrap(), None);
    for at in [4096, 4106] {
        let reading = tokio::spawn(file.read_at(at, 32_768));
        let request = peer.serve(data(10)).await;
        assert!(matches!(request, Q::Read { offset, length: 32_768, .. } if offset == at));
        assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 10);
    }
    let reading = tokio::spawn(file.read_at(4116, 32_768));
    assert!(matches!(peer.serve(end()).await, Q::Read { offset: 4116, .. }));
    assert_eq!(reading.await.unwrap().unwrap(), None);
    peer.nothing().await;
}

#[tokio::test]
async fn a_stat_discards_prefetched_data() {
    let (server, mut peer) = connected().await;
    let file = small(&server, &mut peer).await;
    let (entry, _) = tokio::join!(file.stat(), peer.serve(of_size(5000)));
    assert_eq!(entry.unwrap().attributes.size, Some(5000));
    for (at, length) in [(0, 4096), (4096, 904)] {
        let reading = tokio::spawn(file.read_at(at, 32_768));
        let request = peer.serve(data(length)).await;
        assert!(matches!(request, Q::Read { offset, .. } if offset == at), "{request:?}");
        assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), length);
    }
}

#[tokio::test]
async fn a_write_of_the_session_discards_prefetched_data() {
    let (server, mut peer) = connected().await;
    let file = small(&server, &mut peer).await;
    let other = opened(&server, &mut peer, read_write()).await;
    drop(other.write_at(0, Bytes::from_static(b"new")));
    assert!(matches!(peer.serve(ok()).await, Q::Write { .. }));
    drop(file.read_at(0, 32_768));
    assert!(matches!(peer.request().await.body, Q::Read { offset: 0, length: 32_768, .. }));
}

#[tokio::test]
async fn a_first_read_at_another_offset_is_sent_as_requested() {
    let (server, mut peer) = connected().await;
    let (file, first) = prefetching(&server, &mut peer).await;
    peer.answer(first.id, data(261_120)).await;
    for at in [1_000_000, 500_000, 0] {
        drop(file.read_at(at, 100));
        let request = peer.request().await;
        let Q::Read { offset, length: 100, .. } = request.body else { panic!("{request:?}") };
        assert_eq!(offset, at);
        peer.answer(request.id, data(100)).await;
    }
    peer.nothing().await;
}

#[tokio::test]
async fn prefetching_costs_a_large_file_at_most_one_read() {
    let (server, mut peer) = connected().await;
    let (file, first) = prefetching(&server, &mut peer).await;
    peer.answer(first.id, data(261_120)).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 1000);
    peer.nothing().await;
    file.close().await.unwrap();
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    let (unread, _) = prefetching(&server, &mut peer).await;
    unread.close().await.unwrap();
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    peer.nothing().await;
}

#[tokio::test]
async fn sequential_reads_continue_after_the_prefetched_chunk() {
    let (server, mut peer) = connected().await;
    let (file, first) = prefetching(&server, &mut peer).await;
    peer.answer(first.id, data(261_120)).await;
    for n in 0..4 {
        let read = file.read_at(n * 32_768, 32_768).await.unwrap().unwrap();
        assert_eq!(read.len(), 32_768);
    }
    // Seven times the client's reads, so that none spans two chunks.
    assert!(matches!(peer.request().await.body, Q::Read { offset: 229_376, length: 229_376, .. }));
}

#[tokio::test]
async fn a_short_response_is_not_the_end() {
    let (server, mut peer) = connected().await;
    let (file, first) = prefetching(&server, &mut peer).await;
    peer.answer(first.id, data(100)).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 100);
    let reading = tokio::spawn(file.read_at(100, 900));
    // The READ that follows is for the rest of the chunk, not of the client's read.
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
async fn a_failed_prefetch_is_repeated_by_the_clients_read() {
    let (server, mut peer) = connected().await;
    let (file, first) = prefetching(&server, &mut peer).await;
    peer.answer(first.id, status(StatusCode::FAILURE, "a bad block")).await;
    let reading = tokio::spawn(file.read_at(0, 10));
    assert!(matches!(peer.serve(data(10)).await, Q::Read { offset: 0, length: 10, .. }));
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 10);
    // The same for the READ that follows a short response.
    let (file, first) = prefetching(&server, &mut peer).await;
    peer.answer(first.id, data(10)).await;
    peer.serve(status(StatusCode::FAILURE, "a bad block")).await;
    assert_eq!(file.read_at(0, 100).await.unwrap().unwrap().len(), 10);
    let reading = tokio::spawn(file.read_at(10, 90));
    let refusal = status(StatusCode::FAILURE, "a bad block");
    assert!(matches!(peer.serve(refusal).await, Q::Read { offset: 10, length: 90, .. }));
    assert!(reading.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn unread_prefetched_data_is_dropped_after_two_seconds() {
    let (server, mut peer) = connected().await;
    let free = server.read_ahead.held();
    let file = small(&server, &mut peer).await;
    assert_eq!(server.read_ahead.held() - free, 261_120);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.read_ahead.held(), free);
    drop(file.read_at(0, 32_768));
    assert!(matches!(peer.request().await.body, Q::Read { offset: 0, length: 32_768, .. }));
}

#[tokio::test]
async fn prefetched_files_share_the_sessions_budget() {
    let (server, mut peer) = connected().await;
    let mut files = Vec::new();
    let max = super::super::server::READ_AHEAD_MAX / 261_120;
    for _ in 0..max {
        files.push(prefetching(&server, &mut peer).await);
    }
    files.push((opened(&server, &mut peer, only_read()).await, files[0].1.clone()));
    peer.nothing().await;
    drop(files);
    assert_eq!(server.read_ahead.held(), 0);
}

#[tokio::test]
async fn a_writable_file_is_not_prefetched_and_its_close_waits() {
    let (server, mut peer) = connected().await;
    for mode in [read_write(), OpenMode { read: true, create: true, ..OpenMode::default() }] {
        let file = opened(&server, &mut peer, mode).await;
        peer.nothing().await;
        let closing = tokio::spawn(async move { file.close().await });
        let refusal = status(StatusCode::FAILURE, "disk full");
        assert!(matches!(peer.serve(refusal).await, Q::Close { .. }));
        assert!(closing.await.unwrap().is_err());
    }
}
