//! The commands of uploads, and how complete and interrupted uploads are distinguished.

use super::*;
use crate::data::Sink;
use crate::op::{WriteFile, WriteMode};

#[tokio::test]
async fn partial_uploads_delete_sends_one_more_command() {
    for (no_mlst, size_unknown, expected) in [
        (false, false, &["SIZE", "EPSV", "STOR"][..]),
        (true, false, &["SIZE", "EPSV", "STOR"]),
        // There is no other way to get the size.
        (true, true, &["CWD ", "TYPE", "EPSV", "LIST", "TYPE", "EPSV", "STOR"]),
    ] {
        let oddities = Oddities { no_mlst, size_unknown, ..Default::default() };
        let server = Server::start(&[("/old", b"old")], oddities).await;
        let session = login_with(&server, PartialUploads::Delete).await;
        let before = server.lines().len();
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, &bytes(1000)).await.unwrap();
        let lines = server.lines();
        let requests: Vec<_> = lines[before..].iter().map(|line| &line[..4]).collect();
        assert_eq!(requests, expected);
        file.abort().await;
        server.until(|seen| !seen.files.contains_key("/new")).await;
    }
}

#[tokio::test]
async fn a_file_that_is_appended_to_reports_its_size() {
    let append = OpenMode { write: true, create: true, append: true, ..OpenMode::default() };
    let oddities = Oddities { logins_max: Some(1), ..Default::default() };
    let server = Server::start(&[("/a", b"four")], oddities).await;
    let session = server.session().await;
    for (name, before) in [("/a", 4), ("/new", 0)] {
        let file = open(&*session, name, append).await.unwrap();
        assert_eq!(file.stat().await.unwrap().attributes.size, Some(before));
        for written in 1..3 {
            file.write_at(0, Bytes::from_static(b"teen")).await.unwrap();
            assert_eq!(file.stat().await.unwrap().attributes.size, Some(before + 4 * written));
        }
        file.close().await.unwrap();
        assert_eq!(server.file(name).unwrap().len() as u64, before + 8);
    }
    assert_eq!(server.count("USER"), 1);
}

#[tokio::test]
async fn an_upload_that_the_server_closed_early_fails() {
    let content = bytes(60_000);
    for (stays_until, whole) in [(30_000, false), (60_000, true)] {
        let oddities = Oddities { closes_upload_at: Some(stays_until), ..Default::default() };
        let server = Server::start(&[], oddities).await;
        let session = login_with(&server, PartialUploads::Delete).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        // Either this or the close fails, depending on timing.
        let put = put(&*file, &content).await;
        let closed = match put {
            Ok(()) => file.close().await,
            failed => {
                file.abort().await;
                failed
            }
        };
        assert_eq!(closed.is_ok(), whole, "{closed:?}");
        match closed {
            Ok(()) => assert_eq!(server.file("/new").unwrap().len(), content.len()),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
                assert_eq!(server.file("/new"), None);
            }
        }
    }
}

#[tokio::test]
async fn an_ftp_clients_upload_that_the_server_closed_early_fails() {
    use tokio::io::AsyncWriteExt;
    for (stays_until, whole) in [(30_000, false), (60_000, true)] {
        let oddities = Oddities { closes_upload_at: Some(stays_until), ..Default::default() };
        let server = Server::start(&[], oddities).await;
        let session = server.session().await;
        let mode = WriteMode::From { offset: 0 };
        let representation = Representation::Image;
        let write = WriteFile { path: path("/new"), mode, representation };
        let mut transfer = session.open_write(&target(write)).await.unwrap();
        let Sink::Socket(stream) = transfer.sink() else { panic!("no socket") };
        stream.write_all(&bytes(60_000)).await.unwrap();
        transfer.sent(60_000);
        let end = transfer.finish().await;
        assert_eq!(end.is_ok(), whole, "{end:?}");
    }
}

/// The server has the complete file, however its data connection ends.
#[tokio::test]
async fn a_reset_after_a_complete_file_is_not_a_failure() {
    use tokio::io::AsyncWriteExt;
    for reports_sizes in [true, false] {
        let oddities = Oddities {
            resets_after_upload: true,
            no_mlst: !reports_sizes,
            size_unknown: !reports_sizes,
            ..Default::default()
        };
        for (mode, representation) in [
            (WriteMode::From { offset: 0 }, Representation::Image),
            (WriteMode::From { offset: 0 }, Representation::Ascii),
            (WriteMode::Append, Representation::Image),
        ] {
            let server = Server::start(&[], oddities.clone()).await;
            let session = login_with(&server, PartialUploads::Delete).await;
            let write = WriteFile { path: path("/new"), mode, representation };
            let mut transfer = session.open_write(&target(write)).await.unwrap();
            let Sink::Socket(stream) = transfer.sink() else { panic!("no socket") };
            stream.write_all(&bytes(1000)).await.unwrap();
            transfer.sent(1000);
            let end = transfer.finish().await;
            assert!(end.is_ok(), "{reports_sizes} {mode:?} {representation:?}: {end:?}");
            assert_eq!(server.file("/new").unwrap(), bytes(1000));
        }
    }
}

#[tokio::test]
async fn a_slow_server_does_not_time_out_while_it_reads() {
    let content = bytes(8_000_000);
    let oddities = Oddities { reads_slowly: Some(64 * 1024), ..Default::default() };
    let server = Server::start(&[], oddities).await;
    let backend = server.backend_with(|settings| {
        settings.stall_timeout = Duration::from_millis(600);
        settings.reply_timeout = Duration::from_secs(2);
    });
    let session = login(&backend).await;
    let file = open(&*session, "/new", replacing()).await.unwrap();
    put(&*file, &content).await.unwrap();
    file.close().await.unwrap();
    assert!(server.file("/new").unwrap() == content);
}

#[tokio::test]
async fn an_upload_aborted_during_settle_is_not_renamed_and_stays_in_sync() {
    let mut cut_short = 0;
    for polls in [0, 1, 2, 3, 5, 8, 20, 60, 120, 250, 500, usize::MAX] {
        let mut settled = false;
        let server = Server::start(&[("/old", b"old")], Oddities::default()).await;
        let session = login_with(&server, PartialUploads::TemporaryName).await;
        let mut upload = begin_upload(&*session, &bytes(300_000)).await;
        {
            let mut settling = std::pin::pin!(upload.settle());
            for _ in 0..polls {
                settled = crate::task::poll_once(settling.as_mut()).is_some();
                if settled {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        upload.abort().await;
        assert_eq!(server.file("/new"), None, "after {polls} polls");
        assert_eq!(stat(&*session, "/old").await.unwrap().attributes.size, Some(3));
        assert_eq!(server.seen().connections, 1, "after {polls} polls");
        let upload = begin_upload(&*session, b"again").await;
        upload.finish().await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"again");
        cut_short += usize::from(!settled);
    }
    assert!(cut_short > 1, "{cut_short}");
}

#[tokio::test]
async fn an_upload_over_a_lost_connection_is_aborted_at_once() {
    // Not a reply: the control connection is lost.
    let oddities = Oddities { refuses_uploads: Some("?"), ..Default::default() };
    let server = Server::start(&[], oddities).await;
    let session = login_with(&server, PartialUploads::TemporaryName).await;
    let mut upload = begin_upload(&*session, b"all of it").await;
    assert_eq!(upload.settle().await.unwrap_err().kind, FailureKind::Unavailable);
    let given_up = tokio::time::timeout(Duration::from_secs(2), upload.abort()).await;
    assert!(given_up.is_ok());
}

async fn begin_upload(session: &dyn BackendSession, bytes: &[u8]) -> Box<dyn WriteTransfer> {
    use tokio::io::AsyncWriteExt;
    let (mode, representation) = (WriteMode::From { offset: 0 }, Representation::Image);
    let write = WriteFile { path: path("/new"), mode, representation };
    let mut upload = session.open_write(&target(write)).await.unwrap();
    upload.begin().await.unwrap();
    let Sink::Socket(stream) = upload.sink() else { panic!("no socket") };
    stream.write_all(bytes).await.unwrap();
    upload
}
