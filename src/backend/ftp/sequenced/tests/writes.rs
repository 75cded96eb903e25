//! Writes at any offset, put into the order of one transfer.

use super::*;

#[tokio::test]
async fn a_hole_is_refused_at_sync_and_close() {
    for sync in [true, false] {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(WriteAccess::Create)).await;
        file.write_at(0, vec![1; 100].into()).await.unwrap();
        file.write_at(200, vec![1; 100].into()).await.unwrap();
        assert!(file.is_unfinished());
        let end = if sync { file.sync().await } else { file.close().await };
        let failure = end.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported);
        assert!(failure.message.contains("a hole from 100 to 200"), "{failure}");
        assert_eq!(fake.logged(), ["write start", "abort"]);
        // The missing bytes arrive too late.
        assert!(!sync || file.write_at(100, vec![1; 100].into()).await.is_err());
        assert!(!sync || file.close().await.is_err());
    }
}

#[tokio::test]
async fn random_writes_are_refused_and_abort_the_transfer() {
    for (offset, length) in
        [(50, 10), (99, 1), (5_000_000, 10), (u64::MAX - 3, 10), (101, 5_000_000)]
    {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(WriteAccess::Create)).await;
        file.write_at(0, vec![1; 100].into()).await.unwrap();
        let refused = file.write_at(offset, vec![2; length].into()).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
        assert!(refused.message.contains("in sequence only"), "{refused}");
        assert!(file.write_at(100, vec![1; 100].into()).await.is_err());
        assert!(file.close().await.is_err());
        assert_eq!(fake.logged(), ["write start", "abort"], "{offset}");
    }
}

#[tokio::test]
async fn bytes_that_are_written_twice_are_refused() {
    for second in [150, 250, 199] {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(WriteAccess::Create)).await;
        file.write_at(200, vec![1; 100].into()).await.unwrap();
        assert!(file.write_at(second, vec![2; 100].into()).await.is_err());
        assert!(file.close().await.is_err());
    }
    // Overlapping the position of the transfer.
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(WriteAccess::Create)).await;
    file.write_at(50, vec![1; 100].into()).await.unwrap();
    assert!(file.write_at(0, vec![2; 60].into()).await.is_err());
    assert!(file.close().await.is_err());
}

#[tokio::test]
async fn queued_writes_are_bounded_in_bytes() {
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(WriteAccess::Create)).await;
    let mut taken = 0_u64;
    // The first byte is never written.
    while taken <= 2 * WINDOW_SIZE {
        if file.write_at(1 + taken, vec![1; 100_000].into()).await.is_err() {
            break;
        }
        taken += 100_000;
    }
    assert!(taken <= WINDOW_SIZE, "{taken}");
    assert!(taken > WINDOW_SIZE - 200_000, "{taken}");
}

#[tokio::test]
async fn queued_writes_are_bounded_in_number() {
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(WriteAccess::Create)).await;
    let mut taken = 0;
    while taken < 10_000 && file.write_at(1 + 2 * taken, vec![1].into()).await.is_ok() {
        taken += 1;
    }
    assert_eq!(taken, MAX_PIECES as u64);
}

#[tokio::test]
async fn the_queue_budget_is_shared_by_all_files() {
    let budget = Budget::new(100_000);
    let opened = async |fake: &Arc<Fake>| {
        let file = Arc::new(Shared(fake.clone()));
        Sequenced::open(file, writing(WriteAccess::Create), budget.clone()).await.expect("it opens")
    };
    let fakes = [(); 3].map(|()| Arc::new(Fake::with(vec![])));
    let first = opened(&fakes[0]).await;
    first.write_at(10, vec![1; 60_000].into()).await.unwrap();
    let second = opened(&fakes[1]).await;
    let refused = second.write_at(10, vec![2; 60_000].into()).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unsupported, "{refused}");
    assert!(second.close().await.is_err());
    // Writes that were sent free their share.
    first.write_at(0, vec![1; 10].into()).await.unwrap();
    let third = opened(&fakes[2]).await;
    third.write_at(10, vec![3; 60_000].into()).await.unwrap();
    third.write_at(0, vec![3; 10].into()).await.unwrap();
    for (file, fake) in [(first, &fakes[0]), (third, &fakes[2])] {
        file.close().await.unwrap();
        assert_eq!(fake.content().len(), 60_010);
    }
}

#[tokio::test]
async fn a_write_after_sync_appends_with_a_new_transfer() {
    let fake = Arc::new(Fake::with(vec![]));
    let access = Access { read: true, write: Some(WriteAccess::Create) };
    let file = open(&fake, access).await;
    file.write_at(0, vec![1; 10].into()).await.unwrap();
    let refused = file.read_at(0, 10).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unsupported);
    file.sync().await.unwrap();
    assert!(!file.is_unfinished());
    assert_eq!(file.read_at(0, 10).await.unwrap().unwrap(), vec![1; 10]);
    file.write_at(10, vec![2; 10].into()).await.unwrap();
    file.sync().await.unwrap();
    assert_eq!(fake.content(), [[1; 10], [2; 10]].concat());
    // Another client writes, too.
    fake.content.lock().unwrap().push(3);
    let changed = file.write_at(20, vec![2; 10].into()).await.unwrap_err();
    assert!(changed.message.contains("changed by another client"), "{changed}");
    assert!(file.close().await.is_err());
}

#[tokio::test]
async fn the_backends_reply_to_a_failed_write_is_reported() {
    let fake = Arc::new(Fake { write_fails_at: Some(50), ..Fake::with(vec![]) });
    let file = open(&fake, writing(WriteAccess::Create)).await;
    let failure = file.write_at(0, vec![1; 100].into()).await.unwrap_err();
    assert!(failure.message.contains("552"), "{failure}");
    assert!(file.close().await.unwrap_err().message.contains("552"));
}

#[tokio::test]
async fn abort_does_not_wait_for_a_blocked_write() {
    for drops in [false, true] {
        let fake = Arc::new(Fake { write_permits: Some(Semaphore::new(0)), ..Fake::with(vec![]) });
        let file = open(&fake, writing(WriteAccess::Create)).await;
        let hanging = file.write_at(0, vec![1; 100].into());
        if drops {
            drop(file);
        } else {
            file.abort().await;
        }
        assert!(hanging.await.is_err());
        while fake.count("abort") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fake.logged(), ["write start", "abort"]);
    }
}

#[tokio::test]
async fn a_write_after_a_read_takes_effect_after_it() {
    let content = bytes(50_000);
    let fake = Arc::new(Fake::with(content.clone()));
    let access = Access { read: true, write: Some(WriteAccess::Existing) };
    let file = open(&fake, access).await;
    let read = file.read_at(0, 50_000);
    let write = file.write_at(50_000, vec![9; 10].into());
    write.await.unwrap();
    assert!(read.await.unwrap().unwrap() == content);
    file.close().await.unwrap();
    assert!(fake.content() == [content, vec![9; 10]].concat());
}

#[tokio::test]
async fn an_abort_after_sync_abandons_the_file() {
    for closes in [false, true] {
        let fake = Arc::new(Fake::with(vec![]));
        let file = open(&fake, writing(WriteAccess::Create)).await;
        file.write_at(0, vec![1; 10].into()).await.unwrap();
        file.sync().await.unwrap();
        if closes {
            file.close().await.unwrap();
        }
        file.abort().await;
        assert_eq!(fake.count("abandon"), usize::from(!closes), "{:?}", fake.logged());
    }
}
