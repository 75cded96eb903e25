//! Commands that a server announces but refuses, and replies with extra text.

use super::*;

async fn server_with(replies: &[(&'static str, &'static str)], oddities: Oddities) -> Server {
    let server =
        Server::start(&[("/a", &bytes(11)), ("/.dot", b"b"), ("/d/c", b"c")], oddities).await;
    server.seen().folders.insert("/d".into(), "/d".into());
    server.seen().replies.extend(replies.iter().copied());
    server
}

async fn assert_all_found(session: &dyn BackendSession) {
    let mut listed = names(session, "/").await.unwrap();
    listed.sort();
    assert_eq!(listed, [&b".dot"[..], b"a", b"d"]);
    let entry = stat(session, "/a").await.unwrap();
    assert_eq!((entry.kind, entry.attributes.size), (EntryKind::File, Some(11)));
    assert_eq!(stat(session, "/d").await.unwrap().kind, EntryKind::Directory);
    let absent = stat(session, "/absent").await.unwrap_err();
    assert_eq!(absent.kind, FailureKind::NotFound, "{absent}");
}

#[tokio::test]
async fn a_refused_command_is_not_sent_again() {
    for refusal in ["500 unknown", "502 not here", "504 not so"] {
        for verbs in [
            &["MLST"][..],
            &["MLSD"],
            &["MLST", "MLSD"],
            &["SIZE"],
            &["MLST", "SIZE"],
            &["MLST", "MLSD", "SIZE"],
            &["MLST", "MDTM"],
        ] {
            let replies: Vec<_> = verbs.iter().map(|verb| (*verb, refusal)).collect();
            let server = server_with(&replies, Oddities::default()).await;
            let backend = server.backend();
            let mut list_shows = 0;
            for _ in 0..2 {
                let session = login(&backend).await;
                assert_all_found(&*session).await;
                session.close().await;
                list_shows = server.count("LIST");
            }
            for verb in verbs {
                assert!(server.count(verb) <= 1, "{verb} of {verbs:?}: {:?}", server.lines());
            }
            assert_eq!(list_shows > 0, verbs.contains(&"MLSD"), "{verbs:?} {:?}", server.lines());
        }
    }
}

#[tokio::test]
async fn a_refused_argument_does_not_disable_the_command() {
    for refusal in ["550 not that one", "501 not that one", "450 not now"] {
        let server = server_with(&[("MLSD", refusal)], Oddities::default()).await;
        let session = server.session().await;
        assert!(names(&*session, "/").await.is_err());
        server.seen().replies.clear();
        assert_all_found(&*session).await;
        assert_eq!(server.count("LIST"), 0, "{refusal}");
    }
    // Nor does a refusal after a success.
    let server = server_with(&[], Oddities::default()).await;
    let session = server.session().await;
    stat(&*session, "/a").await.unwrap();
    assert_all_found(&*session).await;
    server.seen().replies.extend([("MLST", "500 what?"), ("MLSD", "500 what?")]);
    assert!(stat(&*session, "/.dot2").await.is_err());
    assert!(names(&*session, "/d").await.is_err());
    server.seen().replies.clear();
    assert_all_found(&*session).await;
    assert_eq!(server.count("LIST"), 0);
}

#[tokio::test]
async fn the_size_is_found_without_size() {
    let size = || Operation::Size(path("/a"), Representation::Image);
    for oddities in [Oddities::default(), Oddities { no_mlst: true, ..Default::default() }] {
        let server = server_with(&[("SIZE", "502 not here")], oddities).await;
        let session = server.session().await;
        for _ in 0..2 {
            let Answer::Size(size) = perform(&*session, size()).await.unwrap() else { panic!() };
            assert_eq!(size, 11);
        }
        assert_eq!(server.count("SIZE"), 1);
        let absent = Operation::Size(path("/absent"), Representation::Image);
        let absent = perform(&*session, absent).await.unwrap_err();
        assert_eq!(absent.kind, FailureKind::NotFound, "{absent}");
    }
    // A refusal in ASCII does not apply to sizes in bytes.
    let server = server_with(&[("SIZE", "504 not as text")], Oddities::default()).await;
    let session = server.session().await;
    let as_text = Operation::Size(path("/a"), Representation::Ascii);
    assert!(perform(&*session, as_text).await.is_err());
    server.seen().replies.clear();
    perform(&*session, size()).await.unwrap();
    assert_eq!(server.count("SIZE"), 2);
}

#[tokio::test]
async fn replies_to_size_and_mdtm_may_contain_text() {
    for (size, time) in [
        ("213 Size: 11", "213 Modified: 20260102030405 UTC"),
        ("213 11 bytes.", "213 20260102030405 (UTC)"),
        ("213-Size\r\n 11\r\n213 end", "213-Time\r\n 20260102030405\r\n213 end"),
    ] {
        let oddities = Oddities { no_mlst: true, ..Default::default() };
        let server = server_with(&[("SIZE", size), ("MDTM", time)], oddities).await;
        let entry = stat(&*server.session().await, "/a").await.unwrap();
        assert_eq!(entry.attributes.size, Some(11), "{size}");
        let modified = entry.attributes.modified.map(|time| time.seconds);
        assert_eq!(modified, crate::wire::ftp::time::parse_time(b"20260102030405"), "{time}");
    }
}

#[tokio::test]
async fn a_refused_list_a_falls_back_to_list() {
    for refusal in
        ["500 what?", "501 no options", "504 no options", "550 -a: no such file", "450 -a?"]
    {
        let oddities =
            Oddities { no_mlst: true, refuses_list_all: Some(refusal), ..Default::default() };
        let server = server_with(&[], oddities).await;
        let backend = server.backend();
        for _ in 0..2 {
            assert_all_found(&*login(&backend).await).await;
        }
        let requests = server.lines().iter().filter(|line| *line == "LIST -a").count();
        assert_eq!(requests, 1, "{refusal}");
    }
    let oddities = Oddities { no_mlst: true, takes_options_as_names: true, ..Default::default() };
    let server = server_with(&[], oddities).await;
    let backend = server.backend();
    for _ in 0..2 {
        assert_all_found(&*login(&backend).await).await;
    }
    assert_eq!(server.lines().iter().filter(|line| *line == "LIST -a").count(), 1);
}

#[tokio::test]
async fn an_empty_or_forbidden_folder_does_not_disable_list_a() {
    let oddities = Oddities { no_mlst: true, ..Default::default() };
    let server = server_with(&[], oddities).await;
    server.seen().folders.insert("/empty".into(), "/empty".into());
    let session = server.session().await;
    assert!(names(&*session, "/empty").await.unwrap().is_empty());
    server.seen().replies.insert("LIST", "550 Permission denied");
    assert!(names(&*session, "/d").await.is_err());
    server.seen().replies.clear();
    server.seen().folders.remove("/empty");
    assert_all_found(&*session).await;
    let last = server.lines().into_iter().rfind(|line| line.starts_with("LIST")).unwrap();
    assert_eq!(last, "LIST -a");
}
