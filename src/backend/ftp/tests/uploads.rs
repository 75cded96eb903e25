//! What an upload asks, and how its end is told from a cut.

use super::*;
use crate::data::Sink;
use crate::op::{WriteFile, WriteMode};

#[tokio::test]
async fn an_upload_whose_part_is_to_be_deleted_asks_one_question_more() {
    for (no_mlst, never_had_size, asks) in [
        (false, false, &["SIZE", "EPSV", "STOR"][..]),
        (true, false, &["SIZE", "EPSV", "STOR"]),
        // There is no other way.
        (true, true, &["CWD ", "TYPE", "EPSV", "LIST", "TYPE", "EPSV", "STOR"]),
    ] {
        let odd = Oddities { no_mlst, never_had_size, ..Default::default() };
        let server = Server::start(&[("/old", b"old")], odd).await;
        let session = login_with(&server, PartialUploads::Delete).await;
        let before = server.lines().len();
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, &bytes(1000)).await.unwrap();
        let lines = server.lines();
        let asked: Vec<_> = lines[before..].iter().map(|line| &line[..4]).collect();
        assert_eq!(asked, asks);
        file.abort().await;
        server.until(|seen| !seen.files.contains_key("/new")).await;
    }
}

#[tokio::test]
async fn a_file_that_is_appended_to_has_a_size() {
    let append = OpenMode { write: true, create: true, append: true, ..OpenMode::default() };
    let odd = Oddities { most: Some(1), ..Default::default() };
    let server = Server::start(&[("/a", b"four")], odd).await;
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
async fn a_server_that_left_before_the_end_has_no_whole_file() {
    let content = bytes(60_000);
    for (stays_until, whole) in [(30_000, false), (60_000, true)] {
        let odd = Oddities { leaves_storing: Some(stays_until), ..Default::default() };
        let server = Server::start(&[], odd).await;
        let session = login_with(&server, PartialUploads::Delete).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        // Whether this or the end of it fails is a matter of time.
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
async fn ftp_clients_hear_of_a_server_that_left_before_the_end() {
    use tokio::io::AsyncWriteExt;
    for (stays_until, whole) in [(30_000, false), (60_000, true)] {
        let odd = Oddities { leaves_storing: Some(stays_until), ..Default::default() };
        let server = Server::start(&[], odd).await;
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

/// It has it all, whatever its data connection's end looks like.
#[tokio::test]
async fn a_reset_behind_a_whole_file_is_no_cut() {
    use tokio::io::AsyncWriteExt;
    for tells_sizes in [true, false] {
        let odd = Oddities {
            resets_stored: true,
            no_mlst: !tells_sizes,
            never_had_size: !tells_sizes,
            ..Default::default()
        };
        for (mode, representation) in [
            (WriteMode::From { offset: 0 }, Representation::Image),
            (WriteMode::From { offset: 0 }, Representation::Ascii),
            (WriteMode::Append, Representation::Image),
        ] {
            let server = Server::start(&[], odd.clone()).await;
            let session = login_with(&server, PartialUploads::Delete).await;
            let write = WriteFile { path: path("/new"), mode, representation };
            let mut transfer = session.open_write(&target(write)).await.unwrap();
            let Sink::Socket(stream) = transfer.sink() else { panic!("no socket") };
            stream.write_all(&bytes(1000)).await.unwrap();
            transfer.sent(1000);
            let end = transfer.finish().await;
            assert!(end.is_ok(), "{tells_sizes} {mode:?} {representation:?}: {end:?}");
            assert_eq!(server.file("/new").unwrap(), bytes(1000));
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_little_at_a_time_is_waited_for() {
    let content = bytes(8_000_000);
    let odd = Oddities { dribbles: Some(64 * 1024), ..Default::default() };
    let server = Server::start(&[], odd).await;
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
async fn an_upload_given_up_while_it_settles_gets_no_name_and_leaves_both_in_step() {
    let mut cut_short = 0;
    for polls in [0, 1, 2, 3, 5, 8, 20, 60, 120, 250, 500, usize::MAX] {
        let mut settled = false;
        let server = Server::start(&[("/old", b"old")], Oddities::default()).await;
        let session = login_with(&server, PartialUploads::TemporaryName).await;
        let mut upload = begin_upload(&*session, &bytes(300_000)).await;
        {
            let mut settling = std::pin::pin!(upload.settle());
            for _ in 0..polls {
                settled = crate::net::poll_once(settling.as_mut()).is_some();
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
async fn an_upload_whose_server_is_lost_is_given_up_at_once() {
    // No reply: the server is not understood any more, and says nothing more.
    let odd = Oddities { refuses_uploads: Some("?"), ..Default::default() };
    let server = Server::start(&[], odd).await;
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
