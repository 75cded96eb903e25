//! EPSV and PASV: which one is used, and when the other is tried.

use super::*;
use crate::backend::ftp::PassiveCommand;

const PASV: &str = "227 passive (127,0,0,1,{high},{low})";

/// A server with a file `/a` and these replies.
async fn server_answering(replies: &[(&'static str, &'static str)], oddities: Oddities) -> Server {
    let server = Server::start(&[("/a", &bytes(4096))], oddities).await;
    server.seen().replies.extend(replies.iter().copied());
    server
}

fn counts(server: &Server) -> [usize; 3] {
    ["EPSV", "PASV", "RETR"].map(|verb| server.count(verb))
}

async fn read(session: &dyn BackendSession) -> Result<(), Failure> {
    let (offset, representation) = (0, Representation::Image);
    let read = ReadFile { path: path("/a"), offset, representation };
    session.open_read(&target(read)).await.map(drop)
}

async fn write(session: &dyn BackendSession, mode: WriteMode) -> Result<(), Failure> {
    let (path, representation) = (path("/new"), Representation::Image);
    let write = WriteFile { path, mode, representation };
    session.open_write(&target(write)).await?.finish().await.map(drop)
}

#[tokio::test]
async fn pasv_is_used_if_the_reply_to_epsv_has_no_port() {
    for reply in [
        "227 passive (127,0,0,1,{high},{low})",
        "200 as you like",
        "229 passive",
        "229 passive (|||0|)",
        "229 passive (|||99999|)",
        "350 go on",
        "450 not now",
        "500 not understood",
        "522 use (1)",
        "530 not you",
    ] {
        let server =
            server_answering(&[("EPSV", reply), ("PASV", PASV)], Oddities::default()).await;
        let backend = server.backend();
        // The working command is preferred, by other sessions too.
        for sessions in 1..3 {
            let session = login(&backend).await;
            assert_eq!(download(&*session).await, bytes(4096), "{reply}");
            assert_eq!(download(&*session).await, bytes(4096), "{reply}");
            assert_eq!(counts(&server), [1, 2 * sessions, 2 * sessions], "{reply}");
        }
        assert_eq!(server.seen().connections, 2, "{reply}");
    }
}

#[tokio::test]
async fn a_227_is_parsed_with_any_text_around_its_digits() {
    for reply in [
        "227 passive (127, 0, 0, 1, {high}, {low})",
        "227 passive 127,0,0,1,{high},{low}",
        "227-passive (127,0,0,1,{high},{low})\r\n227 that is all",
        "227-passive\r\n (127,0,0,1,{high},{low})\r\n227 that is all",
    ] {
        let server =
            server_answering(&[("EPSV", "500 not known"), ("PASV", reply)], Oddities::default())
                .await;
        assert_eq!(download(&*server.session().await).await, bytes(4096), "{reply}");
    }
}

#[tokio::test]
async fn pasv_is_used_if_the_port_of_epsv_is_unreachable() {
    for (reply, transfers) in [("229 (|||{dead}|)", 1), ("229 (|||{full}|)", 2)] {
        let server =
            server_answering(&[("EPSV", reply), ("PASV", PASV)], Oddities::default()).await;
        let connect_timeout = Duration::from_millis(300);
        let backend = server.backend_with(|settings| settings.connect_timeout = connect_timeout);
        let session = login(&backend).await;
        assert_eq!(download(&*session).await, bytes(4096), "{reply}");
        assert_eq!(counts(&server), [1, 1, transfers], "{reply}");
        assert_eq!(download(&*session).await, bytes(4096), "{reply}");
        assert_eq!(counts(&server), [1, 2, transfers + 1], "{reply}");
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn the_preferred_command_is_dropped_when_it_fails() {
    let server =
        server_answering(&[("EPSV", "500 not known"), ("PASV", PASV)], Oddities::default()).await;
    let session = server.session().await;
    assert_eq!(download(&*session).await, bytes(4096));
    for reply in ["502 no more", "227 (127,0,0,1)"] {
        server.seen().replies.insert("PASV", reply);
        server.seen().replies.remove("EPSV");
        let before = counts(&server);
        assert_eq!(download(&*session).await, bytes(4096));
        assert_eq!(counts(&server), [before[0] + 1, before[1] + 1, before[2] + 1]);
        // The new one is preferred.
        assert_eq!(download(&*session).await, bytes(4096));
        assert_eq!(counts(&server), [before[0] + 2, before[1] + 1, before[2] + 2]);
        server.seen().replies.extend([("EPSV", "500 not known"), ("PASV", PASV)]);
        assert_eq!(download(&*session).await, bytes(4096));
    }
}

#[tokio::test]
async fn a_transfer_is_repeated_with_pasv_once_in_sync() {
    let oddities = Oddities { ignores_missing_data: true, ..Default::default() };
    let server = server_answering(&[("EPSV", "229 (|||{full}|)"), ("PASV", PASV)], oddities).await;
    let connect_timeout = Duration::from_millis(300);
    let session = login(&server.backend_with(|s| s.connect_timeout = connect_timeout)).await;
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!(counts(&server), [1, 1, 2]);
    let lines = server.lines();
    let verbs = lines.iter().filter_map(|line| line.split(' ').next());
    let verbs: Vec<_> = verbs.skip_while(|verb| *verb != "EPSV").collect();
    assert_eq!(verbs, ["EPSV", "RETR", "ABOR", "PWD", "PASV", "RETR"]);
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn stou_and_appe_are_never_repeated() {
    for (verb, mode) in [("STOU", WriteMode::Unique), ("APPE", WriteMode::Append)] {
        let server = server_answering(&[("PASV", PASV)], Oddities::default()).await;
        let connect_timeout = Duration::from_millis(300);
        let session = login(&server.backend_with(|s| s.connect_timeout = connect_timeout)).await;
        assert_eq!(download(&*session).await, bytes(4096));
        // The preferred command fails after STOU or APPE was sent.
        server.seen().replies.insert("EPSV", "229 (|||{full}|)");
        let failure = write(&*session, mode).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::DataConnection, "{failure}");
        assert_eq!((server.count(verb), server.count("PASV")), (1, 0));
        // It is no longer tried first, and the connection is established first.
        write(&*session, mode).await.unwrap();
        assert_eq!((server.count(verb), server.count("PASV")), (2, 1));
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn stou_and_appe_get_pasv_before_they_are_sent() {
    for (verb, mode) in [("STOU", WriteMode::Unique), ("APPE", WriteMode::Append)] {
        for reply in ["229 (|||{full}|)", "229 (|||{dead}|)", "500 not known"] {
            let server =
                server_answering(&[("EPSV", reply), ("PASV", PASV)], Oddities::default()).await;
            let connect_timeout = Duration::from_millis(300);
            let backend = server.backend_with(|s| s.connect_timeout = connect_timeout);
            write(&*login(&backend).await, mode).await.unwrap();
            let counts = [verb, "EPSV", "PASV"].map(|verb| server.count(verb));
            assert_eq!(counts, [1, 1, 1], "{reply}");
        }
    }
}

#[tokio::test]
async fn after_425_or_421_the_other_command_is_not_tried() {
    for (reply, kind) in
        [("425 no port", FailureKind::DataConnection), ("421 bye", FailureKind::Unavailable)]
    {
        let server =
            server_answering(&[("EPSV", reply), ("PASV", PASV)], Oddities::default()).await;
        let failure = read(&*server.session().await).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert_eq!(server.count("PASV"), 0);
    }
}

#[tokio::test]
async fn passive_command_excludes_the_other_command() {
    let refused = "500 not known";
    for (setting, replies, expected) in [
        (PassiveCommand::Epsv, [("EPSV", refused), ("PASV", PASV)], [1, 0, 0]),
        (PassiveCommand::Pasv, [("EPSV", "229 (|||{port}|)"), ("PASV", refused)], [0, 1, 0]),
    ] {
        let server = server_answering(&replies, Oddities::default()).await;
        let session = login(&server.backend_with(|s| s.passive_command = setting)).await;
        let failure = read(&*session).await.unwrap_err();
        assert!(failure.detail.as_ref().unwrap().contains("passive_command"), "{failure:?}");
        assert_eq!(counts(&server), expected);
    }
    let server = server_answering(&[("PASV", PASV)], Oddities::default()).await;
    let backend = server.backend_with(|s| s.passive_command = PassiveCommand::Pasv);
    assert_eq!(download(&*login(&backend).await).await, bytes(4096));
    assert_eq!(counts(&server), [0, 1, 1]);
}

#[tokio::test]
async fn the_failures_of_both_commands_are_reported() {
    let replies = [("EPSV", "500 not known"), ("PASV", "227 (127,0,0,1)")];
    let server = server_answering(&replies, Oddities::default()).await;
    let session = server.session().await;
    let failure = read(&*session).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::DataConnection);
    let detail = failure.detail.unwrap();
    assert!(detail.contains("EPSV: ") && detail.contains("500 not known"), "{detail}");
    assert!(detail.contains("PASV: ") && detail.contains("could not be parsed"), "{detail}");
    // The session continues.
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(4096));
}

#[tokio::test]
async fn epsv_is_used_if_a_trusted_pasv_fails() {
    let server = server_answering(&[("PASV", "227 passive")], Oddities::default()).await;
    let session = login(&server.backend_with(|s| s.trust_pasv_address = true)).await;
    for transfers in 1..3 {
        assert_eq!(download(&*session).await, bytes(4096));
        assert_eq!(counts(&server), [transfers, 1, transfers]);
    }
}

#[tokio::test]
async fn an_expected_transfer_falls_back_to_pasv() {
    for reply in ["500 not known", "229 (|||{full}|)"] {
        let server =
            server_answering(&[("EPSV", reply), ("PASV", PASV)], Oddities::default()).await;
        let connect_timeout = Duration::from_millis(300);
        let session = login(&server.backend_with(|s| s.connect_timeout = connect_timeout)).await;
        prepare_transfer(&server, &*session).await;
        assert_eq!(download(&*session).await, bytes(4096), "{reply}");
        assert_eq!([server.count("EPSV"), server.count("PASV")], [1, 1], "{reply}");
    }
}

/// Transfers that the backend itself drives, and listings.
#[tokio::test]
async fn open_files_and_listings_fall_back_to_pasv() {
    for no_mlst in [true, false] {
        for reply in ["500 not known", "229 (|||{dead}|)", "229 (|||{full}|)"] {
            let oddities = Oddities { no_mlst, ..Default::default() };
            let server = server_answering(&[("EPSV", reply), ("PASV", PASV)], oddities).await;
            let connect_timeout = Duration::from_millis(300);
            let backend = server.backend_with(|s| s.connect_timeout = connect_timeout);
            let session = login(&backend).await;
            assert_eq!(names(&*session, "/").await.unwrap(), [b"a"], "{reply}");
            let file = open(&*session, "/a", reading()).await.unwrap();
            assert_eq!(get(&*file).await.unwrap(), bytes(4096));
            file.close().await.unwrap();
            let file = open(&*session, "/new", replacing()).await.unwrap();
            put(&*file, &bytes(1000)).await.unwrap();
            file.close().await.unwrap();
            assert_eq!(server.file("/new").unwrap(), bytes(1000));
            assert_eq!((server.count("EPSV"), server.count("PASV")), (1, 3), "{reply}");
        }
    }
}

#[tokio::test]
async fn a_repeated_upload_keeps_its_offset() {
    let oddities = Oddities { ignores_missing_data: true, ..Default::default() };
    let server = server_answering(&[("EPSV", "229 (|||{full}|)"), ("PASV", PASV)], oddities).await;
    server.seen().files.insert("/new".into(), b"old".to_vec());
    let connect_timeout = Duration::from_millis(300);
    let session = login(&server.backend_with(|s| s.connect_timeout = connect_timeout)).await;
    write(&*session, WriteMode::From { offset: 3 }).await.unwrap();
    let rests = server.lines().iter().filter(|line| *line == "REST 3").count();
    assert_eq!((rests, server.count("STOR")), (2, 2));
    assert_eq!(server.file("/new").unwrap(), b"old");
}

#[tokio::test]
async fn an_announced_transfer_is_repeated_after_its_error_reply() {
    let oddities = Oddities { announces_early: true, ..Default::default() };
    let server = server_answering(&[("EPSV", "229 (|||{full}|)"), ("PASV", PASV)], oddities).await;
    let connect_timeout = Duration::from_millis(300);
    let session = login(&server.backend_with(|s| s.connect_timeout = connect_timeout)).await;
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!((counts(&server), server.count("ABOR")), ([1, 1, 2], 0));
    assert_eq!(server.seen().connections, 1);
}

/// Nothing can be repeated on such a connection; the next one avoids the failed command.
#[tokio::test]
async fn a_server_that_stays_out_of_sync_gets_pasv_next() {
    let oddities = Oddities { ignores_missing_data: true, ..Default::default() };
    let server = server_answering(&[("EPSV", "229 (|||{full}|)"), ("PASV", PASV)], oddities).await;
    let backend = server.backend_with(|settings| {
        settings.connect_timeout = Duration::from_millis(300);
        settings.reply_timeout = Duration::from_millis(1500);
    });
    let session = login(&backend).await;
    session.expect_many();
    server.seen().replies.extend([("ABOR", ""), ("PWD", "")]);
    let failure = read(&*session).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::DataConnection, "{failure}");
    server.seen().replies.retain(|verb, _| !matches!(*verb, "ABOR" | "PWD"));
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!((counts(&server), server.seen().connections), ([1, 1, 2], 2));
}
