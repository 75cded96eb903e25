//! Servers that send surplus replies, and various line ends.

use super::*;

async fn server_with_replies(
    replies: &[(&'static str, &'static str)],
    oddities: Oddities,
) -> Server {
    let server = Server::start(&[("/a", &bytes(4096)), ("/b", b"b")], oddities).await;
    server.seen().replies.extend(replies.iter().copied());
    server
}

async fn upload(session: &dyn BackendSession, name: &str, data: &[u8]) -> Result<(), Failure> {
    let file = open(session, name, replacing()).await?;
    put(&*file, data).await?;
    file.close().await
}

/// Runs the usual operations of a client.
async fn assert_session_works(server: &Server, session: &dyn BackendSession, what: &str) {
    for name in ["/new", "/new2"] {
        upload(session, name, &bytes(1000)).await.expect(what);
        assert_eq!(server.file(name).unwrap(), bytes(1000), "{what}");
    }
    assert_eq!(download(session).await, bytes(4096), "{what}");
    assert_eq!(stat(session, "/b").await.unwrap().attributes.size, Some(1), "{what}");
    let listed = names(session, "/").await.expect(what);
    assert_eq!(listed, [&b"a"[..], b"b", b"new", b"new2"], "{what}");
    let absent = stat(session, "/absent").await.unwrap_err();
    assert_eq!(absent.kind, FailureKind::NotFound, "{what}");
    let (from, to) = (path("/new"), path("/newer"));
    let rename = Operation::Rename { from, to, onto: Onto::AsBackend };
    perform(session, rename).await.expect(what);
    perform(session, Operation::Remove(path("/newer"))).await.expect(what);
    perform(session, Operation::Remove(path("/new2"))).await.expect(what);
    assert_eq!(server.seen().files.keys().collect::<Vec<_>>(), ["/a", "/b"], "{what}");
}

#[tokio::test]
async fn surplus_replies_are_dropped_wherever_they_come() {
    for no_mlst in [false, true] {
        for replies in [
            &[("USER", "331 password\r\n331 password")][..],
            &[("PASS", "230 in\r\n230 in")],
            &[("PASS", "230 in\r\n220 again\r\n150 what?")],
            &[("OPTS", "200 on\r\n200 on")],
            &[("OPTS", "500 no\r\n500 no")],
            &[("OPTS", "500 no\r\n502 no"), ("TYPE", "200 it is\r\n200 it is")],
            &[("TYPE", "200 it is\r\n200 it is")],
            &[("PWD", "257 \"/\"\r\n257 \"/\"")],
            &[("REST", "350 go on\r\n350 go on")],
            &[("CWD", "250 there\r\n250 there")],
            &[("150", "150 go\r\n150 it comes")],
            &[("150", "125 go\r\n150 it comes\r\n150 soon")],
            // A late second reply to an earlier command.
            &[("EPSV", "226 late\r\n229 passive (|||{port}|)")],
            &[("150", "226 late\r\n150 go")],
            &[("150", "250 late\r\n226 late\r\n150 go")],
        ] {
            let server =
                server_with_replies(replies, Oddities { no_mlst, ..Default::default() }).await;
            let backend = server.backend();
            for login_number in 1..3 {
                let what = format!("{replies:?} {no_mlst} {login_number}");
                let session = login(&backend).await;
                assert!(session.home().is_known(), "{what}");
                if !replies.iter().any(|(verb, _)| *verb == "CWD") {
                    assert_session_works(&server, &*session, &what).await;
                }
                assert_eq!(download(&*session).await, bytes(4096), "{what}");
                assert_eq!(download(&*session).await, bytes(4096), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_late_reply_to_an_earlier_command_does_not_authenticate() {
    // The greeting is repeated, and the password is wrong.
    let replies = [("USER", "220 hello\r\n331 password"), ("PASS", "220 hello\r\n530 wrong")];
    let server = server_with_replies(&replies, Oddities::default()).await;
    let credentials = crate::backend::ftp::testing::credentials();
    let login = server.backend().login(&Login::Unverified(credentials), Origin::ANY).await;
    assert_eq!(login.err().expect("a refusal").kind, FailureKind::LoginRefused);
}

#[tokio::test]
async fn a_surplus_success_is_never_taken_for_that_of_an_upload() {
    for (mark, end) in [
        // The success of the previous upload, after this one's 150.
        ("150 go\r\n226 stored", "552 full"),
        ("226 stored\r\n150 go\r\n226 stored", "552 full"),
        // After the server has shown that it sends surplus replies.
        ("150 go", "226 stored\r\n552 full"),
        ("150 go", "250 late\r\n451 the disk is gone"),
        // The reply of another command.
        ("150 go", "200 type is set\r\n552 full"),
        ("150 go", "150 go\r\n552 full"),
    ] {
        for (policy, named) in
            [(PartialUploads::Keep, false), (PartialUploads::TemporaryName, true)]
        {
            let oddities = Oddities {
                refuses_uploads: Some("226 stored\r\n226 stored"),
                ..Default::default()
            };
            let server = server_with_replies(&[], oddities).await;
            let session = login_with(&server, policy).await;
            upload(&*session, "/first", &bytes(10)).await.unwrap();
            server.seen().replies.insert("150", mark);
            server.seen().replies.insert("end", end);
            let refused = upload(&*session, "/second", &bytes(1000)).await;
            let refused = refused.expect_err(&format!("{mark:?} {end:?}"));
            assert!(end.ends_with(&refused.message[refused.message.len() - 4..]), "{refused}");
            assert!(!named || server.file("/second").is_none(), "{mark:?} {end:?}");
            // The connection is in sync.
            server.seen().replies.clear();
            upload(&*session, "/third", &bytes(1000)).await.unwrap();
            assert_eq!(download(&*session).await, bytes(4096));
        }
    }
}

#[tokio::test]
async fn a_surplus_success_before_the_end_of_the_first_upload_is_not_its_result() {
    for end in ["552 full", "226 stored"] {
        let oddities = Oddities { refuses_uploads: Some(end), ..Default::default() };
        let server = server_with_replies(&[("150", "150 go\r\n226 stored")], oddities).await;
        let session = server.session().await;
        let stored = upload(&*session, "/new", &bytes(1000)).await;
        assert_eq!(stored.is_ok(), end.starts_with('2'), "{stored:?}");
        assert_eq!(download(&*session).await, bytes(4096));
    }
}

#[tokio::test]
async fn a_surplus_success_is_not_an_empty_listing() {
    for no_mlst in [true, false] {
        let server = server_with_replies(
            &[("150", "226 late\r\n150 go")],
            Oddities { no_mlst, ..Default::default() },
        )
        .await;
        let session = server.session().await;
        assert_eq!(names(&*session, "/").await.unwrap(), [b"a", b"b"]);
    }
}

#[tokio::test]
async fn unexpected_replies_to_pipelined_commands_make_the_login_sequential() {
    let server = server_with_replies(&[("OPTS", "500 no\r\n500 no")], Oddities::default()).await;
    let backend = server.backend();
    let session = login(&backend).await;
    assert!(session.home().is_known());
    assert_eq!(server.seen().connections, 2);
    // This is remembered.
    server.wait_until_idle().await;
    login(&backend).await;
    assert_eq!(server.seen().connections, 3);
}

#[tokio::test]
async fn an_unsolicited_421_ends_the_session() {
    let server =
        server_with_replies(&[("CWD", "250 there\r\n421 too many")], Oddities::default()).await;
    let session = server.session().await;
    perform(&*session, Operation::Enter(path("/"))).await.unwrap();
    server.wait_until_idle().await;
    let failure = perform(&*session, Operation::Remove(path("/a"))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable, "{failure}");
    assert!(server.file("/a").is_some());
}

#[tokio::test]
async fn a_server_that_keeps_sending_replies_is_given_up() {
    let server = server_with_replies(&[], Oddities::default()).await;
    let many: &'static str =
        Box::leak("250 there\r\n".repeat(100).trim_end().to_owned().into_boxed_str());
    server.seen().replies.insert("CWD", many);
    let session = server.session().await;
    perform(&*session, Operation::Enter(path("/"))).await.unwrap();
    server.wait_until_idle().await;
    let failure = perform(&*session, Operation::Remove(path("/a"))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable, "{failure}");
}

#[tokio::test]
async fn all_line_ends_are_accepted() {
    for no_mlst in [false, true] {
        for line_end in ["\r\n", "\n", "\r\r\n"] {
            let oddities = Oddities { no_mlst, line_end: Some(line_end), ..Default::default() };
            let server = server_with_replies(&[], oddities).await;
            let session = server.session().await;
            assert!(session.home().is_known());
            assert_session_works(&server, &*session, &format!("{line_end:?} {no_mlst}")).await;
            let entry = stat(&*session, "/b").await.unwrap();
            assert_eq!(entry.name, b"b");
        }
    }
}

#[tokio::test]
async fn an_empty_line_is_not_a_reply() {
    let server = server_with_replies(
        &[("PASS", "\r\n230 in"), ("CWD", "250 there\r\n")],
        Oddities::default(),
    )
    .await;
    let session = server.session().await;
    perform(&*session, Operation::Enter(path("/"))).await.unwrap();
    perform(&*session, Operation::Enter(path("/"))).await.unwrap();
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_long_login_reply_does_not_slow_later_commands() {
    let oddities = Oddities { greeting: Some("220 hello\r\n220 be nice"), ..Default::default() };
    let server = server_with_replies(&[], oddities).await;
    let session = server.session().await;
    assert_eq!(download(&*session).await, bytes(4096));
    assert_eq!(server.count("PWD"), 1);
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn an_aborted_upload_does_not_take_the_success_of_another() {
    let oddities = Oddities {
        closes_upload_at: Some(1000),
        no_mlst: true,
        size_unknown: true,
        ..Default::default()
    };
    let replies = [("150", "150 go\r\n226 stored"), ("end", "426 cut"), ("LIST", DENIED)];
    let server = server_with_replies(&replies, oddities).await;
    let session = server.session().await;
    let file = open(&*session, "/new", replacing()).await.unwrap();
    let written = put(&*file, &bytes(1_000_000)).await;
    assert!(file.close().await.is_err() || written.is_err());
}

const DENIED: &str = "550 Permission denied";

#[tokio::test]
async fn the_type_is_unchanged_if_it_is_the_marker() {
    let replies = [("PWD", "502 no"), ("FEAT", "502 no"), ("CWD", "250 there\r\n250 there")];
    let server = server_with_replies(&replies, Oddities::default()).await;
    let in_root = |settings: &mut Settings| settings.login_folder = Some(RemotePath::root());
    let session = login(&server.backend_with(in_root)).await;
    perform(&*session, Operation::Enter(path("/"))).await.unwrap();
    server.wait_until_idle().await;
    assert_eq!(names(&*session, "/").await.unwrap(), [b"a", b"b"]);
    let lines = server.lines();
    let list = lines.iter().position(|line| line.starts_with("LIST")).unwrap();
    let last = lines[..list].iter().rfind(|line| line.starts_with("TYPE")).unwrap();
    assert!(last == "TYPE A", "{lines:?}");
    assert!(lines[..list].iter().filter(|line| *line == "TYPE A").count() > 1, "{lines:?}");
}

/// The second success of the first upload is late; the next upload fails.
#[tokio::test]
async fn a_late_second_success_of_an_upload_is_not_taken_for_that_of_the_next() {
    let server = server_with_replies(&[("end", "226 done\r\n226 done")], Oddities::default()).await;
    let session = server.session().await;
    upload(&*session, "/one", &bytes(1000)).await.unwrap();
    server.seen().replies.insert("end", "552 the disk is full");
    let failure = upload(&*session, "/two", &bytes(1000)).await.unwrap_err();
    assert!(failure.message.contains("552"), "{failure}");
}
