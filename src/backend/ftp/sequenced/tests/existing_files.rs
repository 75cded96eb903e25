//! Existing files that are rewritten from their start or appended to.

use super::*;

#[tokio::test]
async fn an_existing_file_is_continued_at_its_end_only() {
    // The file has 1,000 bytes: (offset, whether a write of 10 succeeds).
    for (offset, ok) in [(1000, true), (1, false), (999, false), (500, false)] {
        let fake = Arc::new(Fake::with(bytes(1000)));
        let file = open(&fake, writing(WriteAccess::Existing)).await;
        assert!(fake.logged().is_empty(), "a call before the first write");
        let written = file.write_at(offset, vec![7; 10].into()).await;
        assert_eq!(written.is_ok(), ok, "{offset}");
        assert!(written.is_ok() || written.unwrap_err().kind == FailureKind::Unsupported);
        // No transfer was started, so nothing is broken.
        file.close().await.unwrap();
        let expected = if ok { [bytes(1000), vec![7; 10]].concat() } else { bytes(1000) };
        assert!(fake.content() == expected);
        assert_eq!(fake.count("write"), usize::from(ok));
    }
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, writing(WriteAccess::Existing)).await;
    file.write_at(1010, vec![7; 10].into()).await.unwrap();
    assert!(file.close().await.is_err(), "a hole");
    assert!(fake.content() == bytes(1000));
}

/// Like OpenSSH's scp: without TRUNC, from 0.
#[tokio::test]
async fn a_file_that_is_rewritten_from_its_start_is_replaced() {
    let (old, head) = (bytes(1000), vec![7; 300]);
    // (size set, bytes written, final content)
    for (size, written, expected) in [
        (None, 300, [&head[..], &old[300..]].concat()),
        (Some(300), 300, head.clone()),
        (Some(500), 300, [&head[..], &old[300..500]].concat()),
        (Some(1000), 300, [&head[..], &old[300..]].concat()),
        (None, 1500, vec![7; 1500]),
        (Some(1500), 1500, vec![7; 1500]),
        (None, 1000, vec![7; 1000]),
    ] {
        for (sync, abort) in [(false, false), (true, false), (false, true), (true, true)] {
            let fake = Arc::new(Fake::with(old.clone()));
            let access = Access { read: true, write: Some(WriteAccess::Existing) };
            let file = open(&fake, access).await;
            let pieces = vec![7; written];
            let first = file.write_at(0, pieces[..100].to_vec().into());
            let last = file.write_at(200, pieces[200..].to_vec().into());
            let between = file.write_at(100, pieces[100..200].to_vec().into());
            for written in [first, last, between] {
                written.await.unwrap();
            }
            assert_eq!(file.size(), Some(written.max(1000) as u64));
            if sync {
                file.sync().await.unwrap();
                // The name still refers to the original file.
                let refused = file.read_at(0, 10).await.unwrap_err();
                assert_eq!(refused.kind, FailureKind::Unsupported);
            }
            if let Some(size) = size {
                file.truncate(size).await.unwrap();
                assert_eq!(file.size(), Some(size));
                let longer = file.truncate(size.max(1500) + 1).await.unwrap_err();
                assert_eq!(longer.kind, FailureKind::Unsupported);
            }
            if abort {
                file.abort().await;
            } else {
                file.close().await.unwrap();
            }
            let content = fake.content();
            let expected = if abort { &old } else { &expected };
            assert!(content == *expected, "{size:?} {written} {sync} {abort}: {}", content.len());
            let log = fake.logged();
            let keeps_tail = expected.ends_with(&old[999..]) || size == Some(500);
            assert_eq!(fake.count("old"), usize::from(!abort && keeps_tail), "{log:?}");
        }
    }
}

#[tokio::test]
async fn a_tail_too_long_to_copy_leaves_the_original_file() {
    for sync in [false, true] {
        let fake = Arc::new(Fake { copy_max: Some(500), ..Fake::with(bytes(1000)) });
        let file = open(&fake, writing(WriteAccess::Existing)).await;
        file.write_at(0, vec![7; 300].into()).await.unwrap();
        if sync {
            file.sync().await.unwrap();
        }
        assert!(file.close().await.unwrap_err().message.contains("too much"));
        assert!(fake.content() == bytes(1000));
        assert_eq!(fake.count("finish"), 0);
    }
    // A truncated file has no tail; the original still stays until the end.
    let fake = Arc::new(Fake { copy_max: Some(500), ..Fake::with(bytes(1000)) });
    let file = open(&fake, writing(WriteAccess::Existing)).await;
    file.write_at(0, vec![7; 300].into()).await.unwrap();
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![8; 20].into()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), vec![8; 20]);
    assert_eq!(fake.count("write over"), 2);
}

#[tokio::test]
async fn an_original_file_that_became_shorter_fails_the_close() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, writing(WriteAccess::Existing)).await;
    file.write_at(0, vec![7; 300].into()).await.unwrap();
    fake.old.lock().unwrap().as_mut().unwrap().truncate(900);
    let failure = file.close().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
    assert!(fake.content() == bytes(900));
}

#[tokio::test]
async fn truncation_to_zero_restarts_the_file() {
    let fake = Arc::new(Fake::with(bytes(1000)));
    let file = open(&fake, writing(WriteAccess::Existing)).await;
    file.truncate(1000).await.unwrap();
    assert_eq!(file.truncate(500).await.unwrap_err().kind, FailureKind::Unsupported);
    assert_eq!(file.truncate(2000).await.unwrap_err().kind, FailureKind::Unsupported);
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![7; 10].into()).await.unwrap();
    file.truncate(10).await.unwrap();
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![8; 10].into()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), vec![8; 10]);
}

#[tokio::test]
async fn appends_are_written_in_the_order_of_the_calls() {
    let fake = Arc::new(Fake::with(b"old".to_vec()));
    let file = open(&fake, writing(WriteAccess::Append)).await;
    let first = file.write_at(0, Bytes::from_static(b"first"));
    let second = file.write_at(77, Bytes::from_static(b"second"));
    // Polled in reverse order.
    second.await.unwrap();
    first.await.unwrap();
    file.sync().await.unwrap();
    file.write_at(0, Bytes::from_static(b"third")).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), b"oldfirstsecondthird");
    assert_eq!(fake.logged(), ["write end", "sync", "write end", "finish"]);
}

#[tokio::test]
async fn truncated_bytes_never_become_a_complete_file() {
    let fake = Arc::new(Fake::with(vec![]));
    let file = open(&fake, writing(WriteAccess::Create)).await;
    file.write_at(0, vec![7; 10].into()).await.unwrap();
    file.truncate(0).await.unwrap();
    file.write_at(0, vec![8; 5].into()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fake.content(), vec![8; 5]);
    assert_eq!(fake.logged(), ["write start", "abort", "write start", "finish"]);

    let fake = Arc::new(Fake { writes_max: Some(1), ..Fake::with(vec![]) });
    let file = open(&fake, writing(WriteAccess::Create)).await;
    file.write_at(0, vec![7; 10].into()).await.unwrap();
    assert!(file.truncate(0).await.is_err());
    assert!(file.close().await.is_err(), "acknowledged writes are lost");
}
