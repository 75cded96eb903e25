//! Commands that a server says it has and refuses, and answers with words around what matters.

use super::*;

async fn with(replies: &[(&'static str, &'static str)], odd: Oddities) -> Server {
    let server = Server::start(&[("/a", &bytes(11)), ("/.dot", b"b"), ("/d/c", b"c")], odd).await;
    server.seen().folders.insert("/d".into(), "/d".into());
    server.seen().replies.extend(replies.iter().copied());
    server
}

async fn all_is_seen(session: &dyn BackendSession) {
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
async fn what_is_refused_once_is_not_asked_again() {
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
            let server = with(&replies, Oddities::default()).await;
            let backend = server.backend();
            let mut lists = 0;
            for _ in 0..2 {
                let session = login(&backend).await;
                all_is_seen(&*session).await;
                session.close().await;
                lists = server.count("LIST");
            }
            for verb in verbs {
                assert!(server.count(verb) <= 1, "{verb} of {verbs:?}: {:?}", server.lines());
            }
            assert_eq!(lists > 0, verbs.contains(&"MLSD"), "{verbs:?} {:?}", server.lines());
        }
    }
}

#[tokio::test]
async fn a_refused_name_says_nothing_of_the_command() {
    for refusal in ["550 not that one", "501 not that one", "450 not now"] {
        let server = with(&[("MLSD", refusal)], Oddities::default()).await;
        let session = server.session().await;
        assert!(names(&*session, "/").await.is_err());
        server.seen().replies.clear();
        all_is_seen(&*session).await;
        assert_eq!(server.count("LIST"), 0, "{refusal}");
    }
    // Nor does a refusal behind a success.
    let server = with(&[], Oddities::default()).await;
    let session = server.session().await;
    stat(&*session, "/a").await.unwrap();
    all_is_seen(&*session).await;
    server.seen().replies.extend([("MLST", "500 what?"), ("MLSD", "500 what?")]);
    assert!(stat(&*session, "/.dot2").await.is_err());
    assert!(names(&*session, "/d").await.is_err());
    server.seen().replies.clear();
    all_is_seen(&*session).await;
    assert_eq!(server.count("LIST"), 0);
}

#[tokio::test]
async fn clients_are_told_sizes_where_size_is_refused() {
    let size = || Operation::Size(path("/a"), Representation::Image);
    for odd in [Oddities::default(), Oddities { no_mlst: true, ..Default::default() }] {
        let server = with(&[("SIZE", "502 not here")], odd).await;
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
    // A refusal as text says nothing of sizes in bytes.
    let server = with(&[("SIZE", "504 not as text")], Oddities::default()).await;
    let session = server.session().await;
    let as_text = Operation::Size(path("/a"), Representation::Ascii);
    assert!(perform(&*session, as_text).await.is_err());
    server.seen().replies.clear();
    perform(&*session, size()).await.unwrap();
    assert_eq!(server.count("SIZE"), 2);
}

#[tokio::test]
async fn size_and_mdtm_may_have_words_around_them() {
    for (size, time) in [
        ("213 Size: 11", "213 Modified: 20260102030405 UTC"),
        ("213 11 bytes.", "213 20260102030405 (UTC)"),
        ("213-Size\r\n 11\r\n213 end", "213-Time\r\n 20260102030405\r\n213 end"),
    ] {
        let odd = Oddities { no_mlst: true, ..Default::default() };
        let server = with(&[("SIZE", size), ("MDTM", time)], odd).await;
        let entry = stat(&*server.session().await, "/a").await.unwrap();
        assert_eq!(entry.attributes.size, Some(11), "{size}");
        let modified = entry.attributes.modified.map(|time| time.seconds);
        assert_eq!(modified, crate::wire::ftp::time::parse_time(b"20260102030405"), "{time}");
    }
}

#[tokio::test]
async fn list_without_its_option_where_that_is_refused() {
    for refusal in
        ["500 what?", "501 no options", "504 no options", "550 -a: no such file", "450 -a?"]
    {
        let odd = Oddities { no_mlst: true, refuses_list_all: Some(refusal), ..Default::default() };
        let server = with(&[], odd).await;
        let backend = server.backend();
        for _ in 0..2 {
            all_is_seen(&*login(&backend).await).await;
        }
        let asked = server.lines().iter().filter(|line| *line == "LIST -a").count();
        assert_eq!(asked, 1, "{refusal}");
    }
    let odd = Oddities { no_mlst: true, takes_options_for_names: true, ..Default::default() };
    let server = with(&[], odd).await;
    let backend = server.backend();
    for _ in 0..2 {
        all_is_seen(&*login(&backend).await).await;
    }
    assert_eq!(server.lines().iter().filter(|line| *line == "LIST -a").count(), 1);
}

#[tokio::test]
async fn an_empty_or_forbidden_folder_says_nothing_of_the_option() {
    let odd = Oddities { no_mlst: true, ..Default::default() };
    let server = with(&[], odd).await;
    server.seen().folders.insert("/empty".into(), "/empty".into());
    let session = server.session().await;
    assert!(names(&*session, "/empty").await.unwrap().is_empty());
    server.seen().replies.insert("LIST", "550 Permission denied");
    assert!(names(&*session, "/d").await.is_err());
    server.seen().replies.clear();
    server.seen().folders.remove("/empty");
    all_is_seen(&*session).await;
    let last = server.lines().into_iter().rfind(|line| line.starts_with("LIST")).unwrap();
    assert_eq!(last, "LIST -a");
}
