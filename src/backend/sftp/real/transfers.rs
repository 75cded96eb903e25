//! Uploads, downloads and open files.

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn files_are_uploaded_and_downloaded_whole() {
    let sshd = Sshd::start();
    let session = sshd.session().await;
    for length in [0, 1, 261_119, 261_120, 261_121, 522_240, 5_000_001] {
        let content = pattern(length);
        let path = sshd.path("file");
        put(&*session, &write(&path, WriteMode::From { offset: 0 }), &content).await;
        assert!(std::fs::read(sshd.file("file")).unwrap() == content, "{length}");
        let all = get(&*session, &read(&path, 0, Representation::Image)).await.unwrap();
        assert!(all == content, "{length}");
        let half = length / 2;
        let rest = get(&*session, &read(&path, half as u64, Representation::Image)).await.unwrap();
        assert!(rest == content[half..]);
        let past_end = read(&path, length as u64 + 1, Representation::Image);
        assert_eq!(get(&*session, &past_end).await.unwrap_err().kind, FailureKind::InvalidArgument);
        put(&*session, &write(&path, WriteMode::From { offset: half as u64 }), b"tail").await;
        put(&*session, &write(&path, WriteMode::Append), b"+more").await;
        let expected = [&content[..half], b"tail+more"].concat();
        assert!(std::fs::read(sshd.file("file")).unwrap() == expected, "{length}");
    }
    let far = write(&sshd.path("file"), WriteMode::From { offset: u64::MAX / 4 });
    assert_eq!(session.open_write(&far).await.err().unwrap().kind, FailureKind::InvalidArgument);
    let unique = session.open_write(&write(&sshd.path(""), WriteMode::Unique)).await.unwrap();
    assert!(unique.path().name().unwrap().starts_with(b"upload-"));
    unique.finish().await.unwrap();

    std::fs::write(sshd.file("text"), "a\nb\r\nc").unwrap();
    let text = read(&sshd.path("text"), 2, Representation::Ascii);
    assert_eq!(get(&*session, &text).await.unwrap(), b"\nb\r\nc");
    let size = Operation::Size(sshd.path("text"), Representation::Ascii);
    assert!(matches!(perform(&*session, size).await, Ok(Answer::Size(7))));

    for (name, kind) in [("", FailureKind::IsADirectory), ("none/x", FailureKind::NotFound)] {
        for representation in [Representation::Image, Representation::Ascii] {
            let target = read(&sshd.path(name), 0, representation);
            assert_eq!(session.open_read(&target).await.err().unwrap().kind, kind);
            let size = Operation::Size(sshd.path(name), representation);
            assert_eq!(perform(&*session, size).await.unwrap_err().kind, kind);
        }
        let target = write(&sshd.path(name), WriteMode::From { offset: 0 });
        assert_eq!(session.open_write(&target).await.err().unwrap().kind, kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn aborted_uploads_end_as_configured() {
    let sshd = Sshd::start();
    let path = sshd.path("file");
    for (policy, left) in
        [(PartialUploads::Keep, 1), (PartialUploads::Delete, 0), (PartialUploads::TemporaryName, 2)]
    {
        let session = sshd.session_with(policy).await;
        std::fs::write(sshd.file("file"), "old").unwrap();
        let target = write(&path, WriteMode::From { offset: 0 });
        let mut transfer = session.open_write(&target).await.unwrap();
        feed(&mut *transfer, b"half").await;
        // An abort drops what is not sent yet.
        sshd.wait_until(|| sshd.any_is(b"half")).await;
        assert!(transfer.abort().await.is_none());
        assert_eq!(sshd.names().len(), left, "{policy:?} {:?}", sshd.names());
        if policy == PartialUploads::TemporaryName {
            assert_eq!(std::fs::read(sshd.file("file")).unwrap(), b"old");
            let part = sshd.names().into_iter().find(|name| name.ends_with(".part")).unwrap();
            assert_eq!(std::fs::read(sshd.file(&part)).unwrap(), b"half");
            std::fs::remove_file(sshd.file(&part)).unwrap();
        }
        // The same as an open file that is dropped, aborted and closed.
        let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
        for end in ["drop", "abort"] {
            let _ = std::fs::remove_file(sshd.file("file"));
            let target = Target::for_test(OpenHandle { path: path.clone(), mode });
            let file = session.open(&target).await.unwrap();
            file.write_at(0, Bytes::from_static(b"half")).await.unwrap();
            match end {
                "abort" => file.abort().await,
                _ => drop(file),
            }
            let expected = usize::from(policy != PartialUploads::Delete);
            sshd.wait_until(|| sshd.names().len() == expected).await;
            for name in sshd.names() {
                std::fs::remove_file(sshd.file(&name)).unwrap();
            }
        }
        let target = write(&path, WriteMode::From { offset: 0 });
        for content in [&b"whole"[..], b"again"] {
            put(&*session, &target, content).await;
            assert_eq!(sshd.names(), ["file"], "{policy:?}");
            assert_eq!(std::fs::read(sshd.file("file")).unwrap(), content);
        }
        let target = Target::for_test(OpenHandle {
            path: path.clone(),
            mode: OpenMode { exclusive: true, truncate: false, ..mode },
        });
        let refused = session.open(&target).await.err().unwrap();
        assert_eq!(refused.kind, FailureKind::AlreadyExists, "{policy:?}");
        std::fs::remove_file(sshd.file("file")).unwrap();
        let file = session.open(&target).await.unwrap();
        file.write_at(0, Bytes::from_static(b"mine")).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(sshd.names(), ["file"], "{policy:?}");
        std::fs::remove_file(sshd.file("file")).unwrap();
    }
}

/// A partial upload is at the target, too.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn an_upload_through_a_symlink_writes_its_target() {
    let sshd = Sshd::start();
    let path = sshd.path("link");
    std::fs::create_dir(sshd.file("folder")).unwrap();
    let target = sshd.file("folder/target");
    std::os::unix::fs::symlink("folder/target", sshd.file("link")).unwrap();
    let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
    for policy in [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName] {
        let session = sshd.session_with(policy).await;
        // The target does not exist, then it exists.
        let _ = std::fs::remove_file(&target);
        for content in [&b"first"[..], b"second"] {
            let upload = write(&path, WriteMode::From { offset: 0 });
            put(&*session, &upload, content).await;
            assert_eq!(std::fs::read(&target).unwrap(), content, "{policy:?}");
            let open = Target::for_test(OpenHandle { path: path.clone(), mode });
            let file = session.open(&open).await.unwrap();
            file.write_at(0, Bytes::copy_from_slice(content)).await.unwrap();
            file.close().await.unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), content, "{policy:?}");
        }
        let upload = write(&path, WriteMode::From { offset: 0 });
        let mut transfer = session.open_write(&upload).await.unwrap();
        feed(&mut *transfer, b"half").await;
        // An abort drops what is not sent yet.
        sshd.wait_until(|| sshd.any_is(b"half")).await;
        assert!(transfer.abort().await.is_none());
        let left = std::fs::read(&target).ok();
        let expected = match policy {
            PartialUploads::Keep => Some(&b"half"[..]),
            PartialUploads::Delete => None,
            PartialUploads::TemporaryName => Some(&b"second"[..]),
        };
        assert_eq!(left.as_deref(), expected, "{policy:?}");
        assert!(std::fs::symlink_metadata(sshd.file("link")).unwrap().is_symlink());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn open_files_are_read_and_written_at_any_offset() {
    let sshd = Sshd::start();
    let session = sshd.session().await;
    let content = pattern(9_000_001);
    std::fs::write(sshd.file("file"), &content).unwrap();
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    let open = Target::for_test(OpenHandle { path: sshd.path("file"), mode });
    for length in [4096, 32_768, 100_000, 261_120, 300_000] {
        let file = session.open(&open).await.unwrap();
        // As sftp does: many in flight, in order, until the end is reported.
        let mut in_flight = FuturesOrdered::new();
        let (mut requested, mut read) = (0u64, Vec::new());
        while read.len() < content.len() {
            while in_flight.len() < 64 && requested < content.len() as u64 {
                in_flight.push_back(file.read_at(requested, length));
                requested += u64::from(length);
            }
            read.extend_from_slice(&in_flight.next().await.unwrap().unwrap().unwrap());
        }
        assert!(read == content, "{length}");
        assert!(file.read_at(content.len() as u64, length).await.unwrap().is_none());
        // Random reads, and a write into data that was read ahead.
        for offset in [5, 8_999_990, 1_000_000, 1_000_100, 0] {
            let bytes = file.read_at(offset, 100).await.unwrap().unwrap();
            let end = content.len().min(offset as usize + 100);
            assert!(bytes[..] == content[offset as usize..end], "{offset}");
        }
        for n in 0..20 {
            file.read_at(n * 1000, 1000).await.unwrap();
        }
        let write = file.write_at(20_500, Bytes::from_static(b"new"));
        let read = file.read_at(20_000, 1000);
        write.await.unwrap();
        assert_eq!(read.await.unwrap().unwrap()[500..503], *b"new");
        file.write_at(20_500, Bytes::copy_from_slice(&content[20_500..20_503])).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(file.stat().await.unwrap().attributes.size, Some(9_000_001));
        file.close().await.unwrap();
        assert!(file.close().await.is_err());
    }
    let other = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
    let other = Target::for_test(OpenHandle { path: sshd.path("copy"), mode: other });
    let (from, to) = (session.open(&open).await.unwrap(), session.open(&other).await.unwrap());
    let large = Bytes::from(content[..1_000_000].to_vec());
    to.write_at(0, large).await.unwrap();
    from.copy_data(1_000_000, 0, &to, 1_000_000).await.unwrap();
    // The existing bytes are copied, and the early end is reported.
    let ends = from.copy_data(1_000_000, 1 << 30, &to, 1_000_000).await.unwrap_err();
    assert_eq!((ends.kind, ends.status.unwrap().code), (FailureKind::EndOfFile, 1));
    // Requested in the order of the calls, polled together.
    let copying = from.copy_data(0, 0, &to, 0);
    let writing = async { to.write_at(5, Bytes::from_static(b"new")).await };
    let (copied, written, closed) = tokio::join!(copying, writing, to.close());
    copied.and(written).and(closed).unwrap();
    let copy = std::fs::read(sshd.file("copy")).unwrap();
    assert!(copy[..5] == content[..5] && copy[5..8] == *b"new" && copy[8..] == content[8..]);
    from.set_attributes(&Changes { size: Some(10), ..Changes::default() }).await.unwrap();
    assert!(from.read_at(10, 10).await.unwrap().is_none());
    assert!(from.file_system().await.unwrap().blocks > 0);
}
