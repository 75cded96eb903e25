//! An opaque server: what it gets, and what becomes of its replies.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::backend::ftp::settings::Dialect;
use crate::backend::ftp::testing::{Oddities, Server, credentials, login};
use crate::backend::{Backend, BackendSession, Login, Origin, RelayedRead};
use crate::data::{Sink, Source};
use crate::op::{Failure, FailureKind, Fault, Operation, PeerReply, RemotePath};
use crate::route::Target;
use crate::wire::ftp::relayed::{DataForm, RelayedCommand};

const FILE: &str = "'USER.DATA(MEMBER)'";

async fn session(server: &Server) -> Box<dyn BackendSession> {
    login(&server.backend_with(|settings| settings.dialect = Dialect::Opaque)).await
}

fn target(line: &str) -> Target<RelayedCommand> {
    from(line, 0)
}

fn from(line: &str, offset: u64) -> Target<RelayedCommand> {
    let command = RelayedCommand::parse(line.as_bytes()).unwrap().unwrap();
    Target::for_test(command.with_transfer(offset, DataForm::default()))
}

async fn relay(session: &dyn BackendSession, line: &str) -> Result<PeerReply, Failure> {
    session.relay().unwrap().command(&target(line)).await
}

async fn download(
    session: &dyn BackendSession,
    line: &str,
) -> Result<(Vec<u8>, PeerReply), Failure> {
    let opened = session.relay().unwrap().open_read(&target(line)).await?;
    let RelayedRead::Started(mut transfer, reply) = opened else { panic!("no data") };
    let mut bytes = Vec::new();
    match transfer.source() {
        Source::Socket(stream) => stream.read_to_end(&mut bytes).await.unwrap(),
        Source::Reader(_) => panic!("a socket"),
    };
    transfer.finish().await?;
    Ok((bytes, reply))
}

async fn upload(
    session: &dyn BackendSession,
    target: Target<RelayedCommand>,
    bytes: &[u8],
) -> Result<PeerReply, Failure> {
    let (mut transfer, _) = session.relay().unwrap().open_write(&target).await?;
    transfer.begin().await?;
    match transfer.sink() {
        Sink::Socket(stream) => stream.write_all(bytes).await.unwrap(),
        Sink::Writer(_) => panic!("a socket"),
    }
    transfer.sent(bytes.len() as u64);
    transfer.settle().await?;
    Ok(transfer.finish().await?.unwrap())
}

/// Without the lines of the login, and of data connections.
fn relayed(server: &Server) -> Vec<String> {
    let own = ["USER", "PASS", "EPSV"];
    let is_own = |line: &String| own.contains(&line.split(' ').next().unwrap());
    server.lines().into_iter().filter(|line| !is_own(line)).collect()
}

#[tokio::test]
async fn the_server_gets_the_clients_lines_and_nothing_that_changes_its_state() {
    let server = Server::start(&[(FILE, b"records")], Oddities::default()).await;
    server
        .seen()
        .replies
        .extend([("end", "250-It is known to IBM as JOB01234\r\n250 Transfer completed")]);
    server.seen().replies.extend([("STAT", "211-status\r\n211-TYPE is E\r\n211 end")]);
    let session = session(&server).await;
    assert_eq!(relayed(&server), ["PWD"]);
    let lines = [
        "TYPE E",
        "SITE LRECL=80  RECFM=FB",
        "CWD 'USER'",
        "CWD ..",
        "SIZE //a/../b",
        "NOOP",
        "OPTS UTF8 ON",
    ];
    for line in lines {
        // The replies do not matter here.
        let _ = relay(&*session, line).await;
    }
    let status = relay(&*session, "STAT").await.unwrap();
    let lines_of_status: [&[u8]; 3] = [b"status", b"211-TYPE is E", b"end"];
    assert_eq!((status.code, &status.lines[..]), (211, &lines_of_status.map(<[u8]>::to_vec)[..]));
    let (bytes, reply) = download(&*session, &format!("RETR {FILE}")).await.unwrap();
    assert_eq!((&bytes[..], reply.code), (&b"records"[..], 150));
    let reply = upload(&*session, target("STOR 'USER.JCL'"), b"//JOB").await.unwrap();
    assert_eq!((reply.code, &reply.lines[0][..]), (250, &b"It is known to IBM as JOB01234"[..]));
    assert_eq!(server.file("'USER.JCL'").unwrap(), b"//JOB");
    upload(&*session, from("STOR 'USER.JCL'", 5), b" A").await.unwrap();
    // PWD shows that nothing follows the reply to the first upload.
    let mut expected = vec!["PWD"];
    expected.extend(lines);
    expected.extend([
        "STAT",
        "RETR 'USER.DATA(MEMBER)'",
        "STOR 'USER.JCL'",
        "PWD",
        "REST 5",
        "STOR 'USER.JCL'",
    ]);
    assert_eq!(relayed(&server), expected);
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_listing_is_the_servers_own() {
    let records = "Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname\r\n\
                   WRKLB1 3390   2026/11/30  1    1  FB      80 27920  PO  DATA\r\n";
    let oddities = Oddities { list_shows: Some(records), ..Oddities::default() };
    let server = Server::start(&[], oddities).await;
    let session = session(&server).await;
    for line in ["LIST", "LIST 'USER.*'"] {
        let (bytes, _) = download(&*session, line).await.unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), records);
    }
    let none =
        Oddities { replies_to_listings: Some("250 No data sets found."), ..Oddities::default() };
    let server = Server::start(&[], none).await;
    let session = super::tests::session(&server).await;
    let ended = session.relay().unwrap().open_read(&target("LIST")).await.unwrap();
    let RelayedRead::Ended(reply) = ended else { panic!("no data was announced") };
    assert_eq!(reply.to_string(), "250 No data sets found.");
    relay(&*session, "NOOP").await.unwrap_err();
}

#[tokio::test]
async fn an_unknown_transfer_ends_the_session() {
    for (reply, why) in [
        ("150 opening something", "began a transfer for XFER"),
        ("631 protected", "answered XFER with a code that the gateway does not know"),
        ("421 shutting down", "was lost"),
    ] {
        let server = Server::start(&[], Oddities::default()).await;
        server.seen().replies.insert("XFER", reply);
        let session = session(&server).await;
        let failure = relay(&*session, "XFER it").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unavailable);
        assert!(failure.message.contains(why), "{failure}");
        let failure = relay(&*session, "SYST").await.unwrap_err();
        assert_eq!((failure.kind, server.count("SYST")), (FailureKind::Unavailable, 0));
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn a_lost_connection_is_not_replaced() {
    let lost = [
        Oddities { drops_download_at: Some(3), ..Oddities::default() },
        // After an aborted wait, another session could be replaced.
        Oddities { dead_ports: true, ignores_missing_data: true, ..Oddities::default() },
    ];
    for oddities in lost {
        let server = Server::start(&[(FILE, b"records")], oddities).await;
        let backend = server.backend_with(|settings| {
            settings.dialect = Dialect::Opaque;
            settings.reply_timeout = std::time::Duration::from_millis(300);
        });
        let session = login(&backend).await;
        assert!(download(&*session, &format!("RETR {FILE}")).await.is_err());
        let _ = relay(&*session, "CWD 'A'").await;
        assert_eq!(server.seen().connections, 1);
    }
}

/// The first one may have started a job.
#[tokio::test]
async fn an_upload_is_not_repeated() {
    let oddities = Oddities { refuses_transfers: 1, ..Oddities::default() };
    let server = Server::start(&[], oddities).await;
    let session = session(&server).await;
    let refused = upload(&*session, target("STOR 'USER.JCL'"), b"").await.unwrap_err();
    assert_eq!(refused.peer.unwrap().code, 425);
    assert_eq!(server.count("STOR"), 1);
    upload(&*session, target("STOR 'USER.JCL'"), b"").await.unwrap();
}

/// It has not read what came after that, whatever it says.
#[tokio::test]
async fn an_upload_whose_data_connection_was_reset_is_not_stored() {
    let oddities = Oddities { closes_upload_at: Some(3), ..Oddities::default() };
    let server = Server::start(&[], oddities).await;
    let session = session(&server).await;
    let failure = upload(&*session, target("STOR 'USER.JCL'"), &[7; 1000]).await.unwrap_err();
    assert_eq!((failure.kind, failure.fault), (FailureKind::TransferCut, Fault::Backend));
    assert_eq!(failure.peer, None, "a reply that says the opposite");
    // The session goes on.
    relay(&*session, "CWD A").await.unwrap();
}

#[tokio::test]
async fn nothing_else_reaches_the_server() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = session(&server).await;
    let operation = Operation::Remove(RemotePath::root());
    let refused = session.perform(&Target::for_test(operation)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Unsupported);
    assert_eq!(relayed(&server), ["PWD"]);
}

/// A server with a shorter buffer would take the rest for a command of its own.
#[tokio::test]
async fn a_line_that_a_server_may_split_is_not_sent() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = session(&server).await;
    let name = |len: usize| "a".repeat(len);
    relay(&*session, &format!("CWD {}", name(506))).await.unwrap();
    let before = server.lines().len();
    for line in ["CWD", "DELE", "SITE", "XYZ"].map(|verb| format!("{verb} {}PORT 1", name(507))) {
        let refused = relay(&*session, &line).await.unwrap_err();
        assert_eq!(refused.peer.unwrap().code, 500, "{line}");
    }
    let stored = upload(&*session, from(&format!("STOR {}", name(506)), 5), b"").await.unwrap_err();
    let retrieved = download(&*session, &format!("RETR {}", name(506))).await.unwrap_err();
    for refused in [stored, retrieved] {
        assert_eq!((refused.fault, refused.peer.unwrap().code), (Fault::Client, 500));
    }
    // No REST and no EPSV either.
    assert_eq!(server.lines().len(), before);
    relay(&*session, "CWD A").await.unwrap();
    // A login that is too long is no login as somebody else.
    let backend = server.backend_with(|settings| settings.dialect = Dialect::Opaque);
    for (user, password) in [(600, 1), (1, 600)] {
        let mut credentials = credentials();
        credentials.user = name(user).into_bytes();
        credentials.password = name(password).into_bytes().into();
        let refused = backend.login(&Login::Unverified(credentials), Origin::ANY).await.err();
        assert_eq!(refused.unwrap().peer.unwrap().code, 500);
    }
    assert!(server.lines().iter().all(|line| line.len() <= 510));
    assert_eq!(server.count("PASS"), 1);
}

/// The client's next command would get a reply that is not its own.
#[tokio::test]
async fn a_reply_that_answers_no_command_ends_the_session() {
    for surplus in ["200 one\r\n250 two", "200 one\r\n250-two", "200 one\r\n250 two\r\n550 three"] {
        for transfers in [false, true] {
            let server = Server::start(&[(FILE, b"records")], Oddities::default()).await;
            server.seen().replies.insert("XFER", surplus);
            let session = session(&server).await;
            assert_eq!(relay(&*session, "XFER").await.unwrap().to_string(), "200 one");
            let failure = if transfers {
                download(&*session, &format!("RETR {FILE}")).await.unwrap_err()
            } else {
                relay(&*session, "DELE x").await.unwrap_err()
            };
            assert_eq!((failure.kind, failure.fault), (FailureKind::Unavailable, Fault::Backend));
            assert!(failure.message.contains("answers no command"), "{failure}");
            let failure = relay(&*session, "NOOP").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unavailable);
            assert_eq!(relayed(&server), ["PWD", "XFER"]);
            assert_eq!((server.count("EPSV"), server.seen().connections), (0, 1));
        }
    }
}
