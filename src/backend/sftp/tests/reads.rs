//! Downloads and reads of open files.

use super::*;

#[tokio::test]
async fn a_short_read_is_returned_and_the_end_is_none() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    let reading = tokio::spawn(file.read_at(100, 1000));
    assert!(matches!(peer.serve(data(300)).await, Q::Read { offset: 100, length: 1000, .. }));
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 300);
    let reading = tokio::spawn(file.read_at(5000, 1000));
    peer.serve(status(StatusCode::EOF, "End of file")).await;
    assert!(reading.await.unwrap().unwrap().is_none());
    let reading = tokio::spawn(file.read_at(0, 10));
    peer.serve(data(11)).await;
    assert_eq!(reading.await.unwrap().unwrap_err().kind, FailureKind::Internal);
}

#[tokio::test]
async fn a_small_get_sends_two_reads_at_once_and_does_not_wait_for_close() {
    let (server, mut peer) = connected().await;
    let mut transfer = open_read(&server, &mut peer).await;
    let requests = [peer.request().await, peer.request().await, peer.request().await];
    assert!(matches!(requests[0].body, Q::FileStat { .. }));
    assert!(matches!(requests[1].body, Q::Read { offset: 0, length: 261_120, .. }));
    assert!(matches!(requests[2].body, Q::Read { offset: 261_120, .. }));
    peer.nothing().await;
    peer.answer(requests[2].id, status(StatusCode::EOF, "")).await;
    peer.answer(requests[0].id, of_size(4096)).await;
    peer.answer(requests[1].id, data(4096)).await;
    let Source::Reader(reader) = transfer.source() else { panic!() };
    let mut content = Vec::new();
    reader.read_to_end(&mut content).await.unwrap();
    assert_eq!(content.len(), 4096);
    transfer.finish().await.unwrap();
    assert!(matches!(peer.request().await.body, Q::Close { .. }));
}

#[tokio::test]
async fn the_rest_after_a_short_response_is_requested() {
    let (server, mut peer) = connected().await;
    let mut transfer = open_read(&server, &mut peer).await;
    peer.serve(of_size(1000)).await;
    peer.serve(data(300)).await;
    peer.serve(status(StatusCode::EOF, "")).await;
    let Source::Reader(reader) = transfer.source() else { panic!() };
    let reading = async {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).await.unwrap();
        content
    };
    let script = async {
        assert!(matches!(peer.serve(data(1)).await, Q::Read { offset: 300, length: 260_820, .. }));
        assert!(matches!(peer.serve(data(699)).await, Q::Read { offset: 301, .. }));
        let end = status(StatusCode::EOF, "");
        assert!(matches!(peer.serve(end).await, Q::Read { offset: 1000, .. }));
    };
    let (content, ()) = tokio::join!(reading, script);
    assert_eq!(content.len(), 1000);
}

#[tokio::test]
async fn sequential_reads_start_reading_ahead_and_a_write_discards_it() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    for n in 0..4 {
        let reading = tokio::spawn(file.read_at(n * 32_768, 32_768));
        assert!(matches!(peer.serve(data(32_768)).await, Q::Read { length: 32_768, .. }));
        reading.await.unwrap().unwrap();
    }
    let ahead = [peer.request().await, peer.request().await];
    assert!(matches!(ahead[0].body, Q::Read { offset: 131_072, length: 229_376, .. }));
    assert!(matches!(ahead[1].body, Q::Read { offset: 360_448, length: 229_376, .. }));
    peer.answer(ahead[0].id, data(229_376)).await;
    let served = file.read_at(131_072, 32_768).await.unwrap().unwrap();
    assert_eq!(served.len(), 32_768);
    while timeout(Duration::from_millis(50), peer.request()).await.is_ok() {}
    drop(file.write_at(200_000, Bytes::from_static(b"new")));
    drop(file.read_at(163_840, 32_768));
    assert!(matches!(peer.serve(ok()).await, Q::Write { .. }));
    assert!(matches!(peer.serve(data(1)).await, Q::Read { offset: 163_840, length: 32_768, .. }));
}

#[tokio::test]
async fn a_file_that_is_longer_than_its_size_is_read_to_its_end() {
    for reported in [0, 100] {
        let (server, mut peer) = connected().await;
        let mut transfer = open_read(&server, &mut peer).await;
        peer.serve(of_size(reported)).await;
        peer.serve(data(4096)).await;
        peer.serve(status(StatusCode::EOF, "")).await;
        let Source::Reader(reader) = transfer.source() else { panic!() };
        let mut content = Vec::new();
        let script = async {
            assert!(matches!(peer.serve(data(10)).await, Q::Read { offset: 4096, .. }));
            let end = status(StatusCode::EOF, "");
            assert!(matches!(peer.serve(end).await, Q::Read { offset: 4106, .. }));
        };
        let reading = timeout(Duration::from_secs(10), reader.read_to_end(&mut content));
        let (read, ()) = tokio::join!(reading, script);
        assert_eq!(read.unwrap().unwrap(), 4106, "{reported}");
    }
}

#[tokio::test]
async fn a_response_without_data_is_an_error() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    let reading = tokio::spawn(file.read_at(5, 10));
    peer.serve(data(0)).await;
    assert_eq!(reading.await.unwrap().unwrap_err().kind, FailureKind::Internal);
}

/// Four sequential reads, then the two READs that are sent ahead of the client.
async fn read_ahead(peer: &mut Peer, file: &Arc<dyn OpenFile>) -> [Request; 2] {
    for n in 0..4 {
        let reading = tokio::spawn(file.read_at(n * 32_768, 32_768));
        peer.serve(data(32_768)).await;
        reading.await.unwrap().unwrap();
    }
    [peer.request().await, peer.request().await]
}

#[tokio::test]
async fn a_failed_read_ahead_is_repeated_as_the_client_requested() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    let ahead = read_ahead(&mut peer, &file).await;
    let reading = tokio::spawn(file.read_at(131_072, 32_768));
    while timeout(Duration::from_millis(50), peer.request()).await.is_ok() {}
    peer.answer(ahead[0].id, status(StatusCode::FAILURE, "a bad block")).await;
    let request = peer.serve(data(32_768)).await;
    assert!(matches!(request, Q::Read { offset: 131_072, length: 32_768, .. }), "{request:?}");
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 32_768);
}

#[tokio::test(start_paused = true)]
async fn read_ahead_data_expires_two_seconds_after_its_response() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    let ahead = read_ahead(&mut peer, &file).await;
    // A slow response does not expire.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let reading = tokio::spawn(file.read_at(131_072, 32_768));
    while timeout(Duration::from_millis(50), peer.request()).await.is_ok() {}
    peer.answer(ahead[0].id, data(229_376)).await;
    assert_eq!(reading.await.unwrap().unwrap().unwrap().len(), 32_768);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(file.read_at(163_840, 32_768).await.unwrap().unwrap().len(), 32_768);
    while timeout(Duration::from_millis(50), peer.request()).await.is_ok() {}
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(file.read_at(196_608, 32_768));
    let request = peer.request().await.body;
    assert!(matches!(request, Q::Read { offset: 196_608, length: 32_768, .. }), "{request:?}");
}

#[tokio::test]
async fn closing_a_written_file_discards_read_ahead_under_its_other_names() {
    let (server, mut peer) = connected().await;
    let file = opened(&server, &mut peer, read_write()).await;
    let ahead = read_ahead(&mut peer, &file).await;
    peer.answer(ahead[0].id, data(229_376)).await;
    let operation = OpenHandle { path: path("/link"), mode: read_write() };
    while timeout(Duration::from_millis(50), peer.request()).await.is_ok() {}
    let (link, _) = tokio::join!(file::open(&server, &operation), peer.serve(handle()));
    let link = link.unwrap();
    drop(link.write_at(131_072, Bytes::from_static(b"new")));
    let closing = tokio::spawn(async move { link.close().await });
    assert!(matches!(peer.serve(ok()).await, Q::Write { .. }));
    assert!(matches!(peer.serve(ok()).await, Q::Close { .. }));
    closing.await.unwrap().unwrap();
    drop(file.read_at(131_072, 32_768));
    let request = peer.request().await.body;
    assert!(matches!(request, Q::Read { offset: 131_072, length: 32_768, .. }), "{request:?}");
}

fn of_mode(mode: u32) -> ResponseBody {
    A::Attributes(Attributes { size: Some(0), permissions: Some(mode), ..Attributes::default() })
}

#[tokio::test]
async fn a_directory_or_pipe_is_refused_before_the_first_read() {
    for (mode, kind) in
        [(0o040_755, FailureKind::IsADirectory), (0o010_644, FailureKind::PermissionDenied)]
    {
        let (server, mut peer) = connected().await;
        let operation = read();
        let script = async {
            assert!(matches!(peer.serve(of_mode(mode)).await, Q::Stat { .. }));
            // The OPEN of a pipe is not answered for now.
            peer.request().await
        };
        let (refused, open) = tokio::join!(transfer::open(&server, &operation), script);
        let refused = refused.err().unwrap();
        assert_eq!(refused.kind, kind, "{refused}");
        assert!(matches!(open.body, Q::Open { .. }));
        peer.answer(open.id, handle()).await;
        assert!(matches!(peer.request().await.body, Q::Close { .. }));
        // SIZE does not even open it.
        let size = Operation::Size(path("/f"), Representation::Ascii);
        let (refused, _) =
            tokio::join!(operations::perform(&server, &size), peer.serve(of_mode(mode)));
        assert_eq!(refused.unwrap_err().kind, kind);
        peer.nothing().await;
    }
}
