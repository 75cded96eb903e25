//! Reads at any offset, served by one transfer.

use super::*;

#[tokio::test]
async fn only_a_seek_beyond_the_window_restarts_the_transfer() {
    let content = bytes(12_000_000);
    let fake = Arc::new(Fake { chunk: 200_000, ..Fake::with(content.clone()) });
    let file = open(&fake, READ).await;
    let check = async |offset: usize, length: usize| {
        let read = file.read_at(offset as u64, length as u32).await.unwrap().unwrap();
        assert!(read == content[offset..offset + read.len()] && !read.is_empty());
    };
    check(0, 32_768).await;
    // A little ahead, then back to skipped bytes.
    check(3_000_000, 1234).await;
    check(40_000, 10_000).await;
    assert_eq!(fake.count("read"), 1, "{:?}", fake.logged());
    check(9_000_000, 1000).await;
    check(100, 1000).await;
    check(1100, 1000).await;
    let reads: Vec<_> = fake.logged();
    assert_eq!(reads, ["read 0", "abort", "read 9000000", "abort", "read 100"]);
}

#[tokio::test]
async fn two_distant_readers_do_not_restart_the_transfer_for_each_read() {
    let content = bytes(16_000_000);
    let fake = Arc::new(Fake { chunk: 200_000, ..Fake::with(content.clone()) });
    let file = open(&fake, READ).await;
    let offsets = (0..64).map(|i| (i % 2) * 10_000_000 + (i / 2) * 32_768);
    let reads = join_all(offsets.clone().map(|at| file.read_at(at as u64, 32_768))).await;
    for (at, read) in offsets.zip(reads) {
        assert!(read.unwrap().unwrap() == content[at..at + 32_768]);
    }
    assert_eq!(fake.count("read"), 2, "{:?}", fake.logged());
}

#[tokio::test]
async fn a_cut_transfer_is_not_reported_as_end_of_file() {
    for refused in [false, true] {
        let content = bytes(100_000);
        let cut_at = Mutex::new(Some(60_000));
        let fake = Arc::new(Fake { cut_at, refused, ..Fake::with(content.clone()) });
        let file = open(&fake, READ).await;
        let offsets = [0, 20_000, 40_000, 60_000, 80_000, 100_000, 120_000];
        let reads = join_all(offsets.map(|at| file.read_at(at, 20_000))).await;
        for (at, read) in offsets.into_iter().zip(reads) {
            match read {
                Ok(bytes) if at < 60_000 => {
                    assert!(bytes.unwrap() == content[at as usize..][..20_000]);
                }
                Ok(bytes) => panic!("at {at}: {:?}", bytes.map(|b| b.len())),
                Err(failure) => {
                    assert!(at >= 60_000, "{failure}");
                    assert_eq!(failure.kind, FailureKind::TransferCut);
                }
            }
        }
        assert!(file.read_at(60_000, 10).await.is_err());
        assert!(file.read_at(100_000, 10).await.is_err());
        // A read that the cut shortens fails, too.
        let fake =
            Arc::new(Fake { cut_at: Mutex::new(Some(60_000)), refused, ..Fake::with(content) });
        let file = open(&fake, READ).await;
        assert!(file.read_at(50_000, 20_000).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_fails_after_a_long_idle_time_is_restarted() {
    let content = bytes(100_000);
    let fake = Arc::new(Fake::with(content.clone()));
    let file = open(&fake, READ).await;
    assert!(file.read_at(0, 20_000).await.unwrap().unwrap() == content[..20_000]);
    *fake.cut_at.lock().unwrap() = Some(0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let reading = file.read_at(20_000, 20_000);
    let heal = async {
        // The first transfer is dead; the server works.
        while fake.count("abort") == 0 {
            tokio::task::yield_now().await;
        }
        *fake.cut_at.lock().unwrap() = None;
    };
    let (read, ()) = tokio::join!(reading, heal);
    assert!(read.unwrap().unwrap() == content[20_000..40_000]);
    assert_eq!(fake.logged(), ["read 0", "abort", "read 20000"]);
}

#[tokio::test(start_paused = true)]
async fn new_bytes_of_a_growing_file_are_read() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 2000).await.unwrap().unwrap().len(), 1000);
    assert_eq!(file.size(), Some(1000));
    assert_eq!(file.read_at(1000, 2000).await.unwrap(), None);
    assert_eq!(fake.logged(), ["read 0", "finish"]);
    fake.content.lock().unwrap().extend(bytes(500));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(file.read_at(1000, 2000).await.unwrap().unwrap().len(), 500);
}

#[tokio::test]
async fn a_read_far_after_the_end_returns_end_of_file() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(90_000_000, 2000).await.unwrap(), None);
    assert_eq!(file.read_at(u64::MAX, 2000).await.unwrap(), None);
    assert_eq!(file.read_at(0, 2000).await.unwrap().unwrap().len(), 1000);
}

#[tokio::test]
async fn close_finishes_a_transfer_that_was_read_completely() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 1000);
    file.close().await.unwrap();
    file.abort().await;
    assert_eq!(fake.logged(), ["read 0", "finish"]);
    let fake = Arc::new(Fake::with(bytes(100_000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap().len(), 1000);
    file.close().await.unwrap();
    file.abort().await;
    assert_eq!(fake.logged(), ["read 0", "abort"]);
}

#[tokio::test(start_paused = true)]
async fn distant_readers_are_all_served_by_a_slow_backend() {
    let content = bytes(16_000_000);
    let delays = [Duration::from_secs(3), Duration::from_secs(1), Duration::ZERO];
    let fake = Arc::new(Fake { chunk: 200_000, delays, ..Fake::with(content.clone()) });
    let file = open(&fake, READ).await;
    let offsets = [0, 5_000_000, 10_000_000];
    let reads = join_all(offsets.map(|at| file.read_at(at as u64, 800_000)));
    let reads = tokio::time::timeout(Duration::from_secs(600), reads).await;
    for (at, read) in offsets.into_iter().zip(reads.expect("no endless seeking")) {
        assert!(read.unwrap().unwrap() == content[at..at + 800_000]);
    }
    assert!(fake.count("read") <= 4, "{:?}", fake.logged());
    file.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn new_requests_do_not_cancel_the_end_of_a_transfer() {
    let delays = [Duration::ZERO, Duration::ZERO, Duration::from_millis(100)];
    let fake = Arc::new(Fake { delays, ..Fake::with(bytes(1000)) });
    let file = open(&fake, READ).await;
    let first = tokio::spawn(file.read_at(0, 2000));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(file.read_at(1000, 10));
    }
    assert_eq!(first.await.unwrap().unwrap().unwrap().len(), 1000);
    file.close().await.unwrap();
    assert_eq!(fake.logged(), ["read 0", "finish"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_of_file_expires_as_size() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, READ).await;
    assert_eq!(file.read_at(0, 2000).await.unwrap().unwrap().len(), 1000);
    assert_eq!(file.size(), Some(1000));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(file.size(), None);
}

#[tokio::test]
async fn an_empty_read_after_the_end_does_not_set_the_size() {
    for exists in [true, false] {
        let content = if exists { bytes(1000) } else { vec![] };
        let fake = Arc::new(Fake { accepts_offset_after_end: true, exists, ..Fake::with(content) });
        let file = open(&fake, READ).await;
        assert_eq!(file.read_at(9_000_000, 2000).await.unwrap(), None);
        assert_eq!(file.size(), exists.then_some(1000));
    }
}

#[test]
fn skipped_pieces_do_not_keep_larger_buffers_alive() {
    // The first byte of each chunk is kept.
    let mut buffer = ReadBuffer::default();
    for chunk in 0..100_u64 {
        buffer.head.reserve(256 * 1024);
        buffer.head.extend_from_slice(&vec![1; 256 * 1024]);
        let Lookup::Bytes(read) = buffer.take(chunk * 256 * 1024 + 1, 256 * 1024 - 1, false) else {
            panic!("nothing of chunk {chunk}");
        };
        assert_eq!(read.len(), 256 * 1024 - 1);
    }
    let pieces = buffer.into_pieces();
    assert_eq!(pieces.len(), 100);
    assert!(pieces.iter().sum::<usize>() < 100_000, "{pieces:?}");
    // Every other byte of one chunk is kept.
    let mut buffer = ReadBuffer::default();
    buffer.head.extend_from_slice(&vec![1; 256 * 1024]);
    buffer.skip_to(256 * 1024);
    for at in (0..128 * 1024).rev().map(|i| 2 * i + 1) {
        buffer.take(at, 1, false);
    }
    assert!(buffer.into_pieces().len() <= MAX_PIECES);
}

#[tokio::test(start_paused = true)]
async fn an_idle_transfer_is_aborted_when_its_connection_is_requested() {
    let content = bytes(100_000);
    let fake = Arc::new(Fake::with(content.clone()));
    let file = open(&fake, READ).await;
    assert!(file.read_at(0, 20_000).await.unwrap().unwrap() == content[..20_000]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.logged(), ["read 0"], "the connection was not requested");
    fake.requested.notify_one();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fake.logged(), ["read 0", "abort"]);
    assert!(file.read_at(20_000, 20_000).await.unwrap().unwrap() == content[20_000..40_000]);
    // A transfer in use is kept.
    fake.requested.notify_one();
    for i in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(file.read_at(40_000 + i * 100, 100).await.unwrap().unwrap().len(), 100);
    }
    assert_eq!(fake.logged(), ["read 0", "abort", "read 20000"]);
    file.close().await.unwrap();
}
