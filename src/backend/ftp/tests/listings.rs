//! Directory listings, and conclusions from them.

use super::*;

#[tokio::test]
async fn a_stat_after_a_listing_sends_no_command() {
    for no_mlst in [false, true] {
        let oddities = Oddities { no_mlst, ..Default::default() };
        let names: Vec<String> = (0..1000).map(|i| format!("/file{i}")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
        let server = Server::start(&files, oddities).await;
        let session = server.session().await;
        // Like the SFTP front, whose clients do not need times to the second.
        session.expect_many();
        let mut listing = session.list(&target(ListDirectory { path: path("/") })).await.unwrap();
        let mut listed = 0;
        while let Some(entries) = listing.next().await.unwrap() {
            listed += entries.len();
        }
        drop(listing);
        assert_eq!(listed, 1000);
        server.wait_until_idle().await;
        let lines = server.lines().len();
        for name in &names {
            assert_eq!(stat(&*session, name).await.unwrap().attributes.size, Some(4));
            let link = perform(&*session, Operation::LinkStat(path(name))).await;
            assert!(matches!(link, Ok(Answer::Entry(_))));
        }
        assert_eq!(server.lines().len(), lines, "{:?}", &server.lines()[lines..]);
        // After any write, the size is requested from the server.
        server.seen().files.insert("/file1".into(), b"seven b".to_vec());
        perform(&*session, Operation::Remove(path("/file0"))).await.unwrap();
        assert_eq!(stat(&*session, "/file1").await.unwrap().attributes.size, Some(7));
        assert_eq!(stat(&*session, "/file0").await.unwrap_err().kind, FailureKind::NotFound);
    }
}

/// A file holds the session's first connection, and another one listed `/in`.
#[tokio::test]
async fn a_renamed_folder_is_not_listed_under_its_old_name() {
    let oddities = Oddities { no_mlst: true, ..Default::default() };
    let server = Server::start(&[("/in#0/old", b"1"), ("/in#1/new", b"22")], oddities).await;
    server.seen().folders.insert("/in".into(), "/in#0".into());
    let session = server.session().await;
    let names = async || {
        let mut listing = session.list(&target(ListDirectory { path: path("/in") })).await.unwrap();
        let mut names = Vec::new();
        while let Some(entries) = listing.next().await.unwrap() {
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        names
    };
    let file = open(&*session, "/held", replacing()).await.unwrap();
    assert_eq!(names().await, [b"old"]);
    file.close().await.unwrap();
    // Now the first connection does everything; then the other one lists.
    let (from, to) = (path("/in"), path("/old"));
    let rename = Operation::Rename { from, to, onto: Onto::AsBackend };
    perform(&*session, rename).await.unwrap();
    perform(&*session, Operation::MakeDirectory { path: path("/in"), permissions: None })
        .await
        .unwrap();
    assert_eq!(server.seen().folders["/in"], "/in#1");
    let file = open(&*session, "/held", replacing()).await.unwrap();
    assert_eq!(names().await, [b"new"]);
    file.close().await.unwrap();
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn a_file_that_may_be_hidden_is_not_truncated() {
    let oddities =
        Oddities { no_mlst: true, hides_dot_files: true, no_size: true, ..Default::default() };
    let server = Server::start(&[("/.profile", b"old"), ("/a", b"a")], oddities).await;
    let session = server.session().await;
    for mode in [continuing(), OpenMode { exclusive: true, ..replacing() }] {
        let refused = open(&*session, "/.profile", mode).await.err().expect("a refusal");
        assert_eq!(refused.kind, FailureKind::Unsupported, "{refused}");
        assert_eq!(server.file("/.profile").unwrap(), b"old");
    }
    // Files that the listing shows.
    let file = open(&*session, "/a", continuing()).await.unwrap();
    file.write_at(1, Bytes::from_static(b"b")).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"ab");
    open(&*session, "/new", continuing()).await.unwrap().close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), b"");
}

#[tokio::test]
async fn cwd_is_repeated_after_a_while() {
    let oddities = Oddities { no_mlst: true, ..Default::default() };
    let server = Server::start(&[("/in#0/old", b"1"), ("/in#1/new", b"22")], oddities).await;
    server.seen().folders.insert("/in".into(), "/in#0".into());
    let session = server.session().await;
    for _ in 0..2 {
        assert_eq!(names(&*session, "/in").await.unwrap(), [b"old"]);
    }
    assert_eq!(server.count("CWD"), 1);
    // Another client renames it and creates a new one.
    server.seen().folders.insert("/in".into(), "/in#1".into());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(names(&*session, "/in").await.unwrap(), [b"new"]);
}

#[tokio::test]
async fn a_listing_that_the_server_truncated_fails() {
    for no_mlst in [false, true] {
        let ends_listings = Some("226-Options: -a\r\n226 Output truncated to 2 matches");
        let oddities = Oddities { no_mlst, ends_listings, ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], oddities).await;
        let session = server.session().await;
        let failure = names(&*session, "/").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
        // The connection is in sync.
        assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(1));
        assert_eq!(server.seen().connections, 1);
    }
}

const UNKNOWN: [&str; 6] = [
    "-rw-r--r-- 1 u g 3 Jan 02 2026 /srv/f\r\n",
    "-rw-r--r--   1 root  wheel   100 M\u{e4}r  3 12:00 f\r\n",
    "+i8388621.48594,m825718503,r,s100,\tf\r\n",
    "F.;1   3/4  3-MAR-2019 12:00:00 [G,U] (RWED,RWED,RE,)\r\n",
    "/bin/ls: cannot open directory: Permission denied\r\n",
    "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\nls: cannot access f: Permission denied\r\n",
];

#[tokio::test]
async fn an_unparsable_listing_is_not_an_empty_folder() {
    for lines in UNKNOWN {
        let oddities = Oddities { no_mlst: true, list_shows: Some(lines), ..Default::default() };
        let server = Server::start(&[("/f", b"old")], oddities).await;
        let session = server.session().await;
        let failure = names(&*session, "/").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
        assert!(failure.message.contains("format: 1 "), "{failure}");
        assert_eq!(stat(&*session, "/f").await.unwrap().attributes.size, Some(3));
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn parsed_entries_are_returned_before_the_failure() {
    let list_shows = Some(UNKNOWN[5]);
    let oddities = Oddities { no_mlst: true, list_shows, ..Default::default() };
    let server = Server::start(&[], oddities).await;
    let session = server.session().await;
    let mut listing = session.list(&target(ListDirectory { path: path("/") })).await.unwrap();
    let first = listing.next().await.unwrap().unwrap();
    assert_eq!((first.len(), first[0].name.as_slice()), (1, &b"a"[..]));
    listing.next().await.unwrap_err();
    listing.abort().await;
    // The listed file exists.
    let rename = Operation::Rename { from: path("/x"), to: path("/a"), onto: Onto::Refused };
    let refused = perform(&*session, rename).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::AlreadyExists, "{refused}");
}

#[tokio::test]
async fn an_invalid_name_is_skipped_in_a_listing() {
    let list_shows = Some(
        "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 ../../etc/passwd\r\n",
    );
    let oddities = Oddities { no_mlst: true, list_shows, ..Default::default() };
    let server = Server::start(&[], oddities).await;
    assert_eq!(names(&*server.session().await, "/").await.unwrap(), [b"a"]);
}

#[tokio::test]
async fn a_file_in_an_unparsable_listing_is_not_taken_as_absent() {
    for lines in UNKNOWN {
        let list_shows = Some(lines);
        let oddities = Oddities {
            no_mlst: true,
            no_size: true,
            list_shows,
            unspecific: true,
            ..Default::default()
        };
        let server = Server::start(&[("/f", b"old"), ("/n", b"new")], oddities).await;
        let session = server.session().await;
        for mode in [continuing(), OpenMode { exclusive: true, ..replacing() }] {
            let refused = open(&*session, "/f", mode).await.err().expect("a refusal");
            assert_eq!(refused.kind, FailureKind::TransferCut, "{refused}");
        }
        let rename = Operation::Rename { from: path("/n"), to: path("/f"), onto: Onto::Refused };
        perform(&*session, rename).await.unwrap_err();
        let unknown = stat(&*session, "/f").await.unwrap_err();
        assert_eq!(unknown.kind, FailureKind::TransferCut, "{unknown}");
        assert_eq!(server.file("/f").unwrap(), b"old");
        assert_eq!((server.count("STOR"), server.count("RNFR")), (0, 0));
        // A folder is found by other commands.
        server.seen().folders.insert("/d".into(), "/d".into());
        assert_eq!(stat(&*session, "/d").await.unwrap().kind, EntryKind::Directory);
        assert_eq!(server.seen().connections, 1);
    }
}

/// Lines that do not fail the listing of `a`.
const ODD: [&str; 4] = [
    "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\nb\r\n",
    "-rw-r--r-- 1 u g 3 Jan 02 2026 a\nthe rest\n",
    "/pub/x:\r\ntotal 12\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n",
    "\r\n.:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n",
];

#[tokio::test]
async fn fragments_of_names_do_not_fail_a_listing() {
    for lines in ODD {
        let list_shows = Some(lines);
        let oddities =
            Oddities { no_mlst: true, size_unknown: true, list_shows, ..Default::default() };
        let server = Server::start(&[("/n", b"new")], oddities).await;
        let session = server.session().await;
        assert_eq!(names(&*session, "/").await.unwrap(), [b"a"]);
        assert_eq!(stat(&*session, "/x").await.unwrap_err().kind, FailureKind::NotFound);
        let exclusive = OpenMode { exclusive: true, ..replacing() };
        open(&*session, "/x", exclusive).await.unwrap().close().await.unwrap();
        let rename = Operation::Rename { from: path("/n"), to: path("/y"), onto: Onto::Refused };
        perform(&*session, rename).await.unwrap();
        assert_eq!(server.file("/y").unwrap(), b"new");
    }
    // It may be a line of its own.
    let oddities = Oddities {
        no_mlst: true,
        size_unknown: true,
        list_shows: Some(ODD[0]),
        ..Default::default()
    };
    let server = Server::start(&[("/b", b"old")], oddities).await;
    let exclusive = OpenMode { exclusive: true, ..replacing() };
    let refused = open(&*server.session().await, "/b", exclusive).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::TransferCut, "{refused}");
    assert_eq!(server.file("/b").unwrap(), b"old");
}

#[tokio::test]
async fn a_name_that_no_unparsable_line_contains_is_absent() {
    let list_shows = Some(
        "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n-rw-r--r-- 1 root wheel 100 M\u{e4}r 3 12:00 f.txt\r\n",
    );
    let oddities = Oddities {
        no_mlst: true,
        size_unknown: true,
        unspecific: true,
        list_shows,
        ..Default::default()
    };
    let server = Server::start(&[], oddities).await;
    let session = server.session().await;
    names(&*session, "/").await.unwrap_err();
    for (name, kind) in [
        ("/new", FailureKind::NotFound),
        ("/f.txt", FailureKind::TransferCut),
        ("/F.TXT", FailureKind::TransferCut),
    ] {
        assert_eq!(stat(&*session, name).await.unwrap_err().kind, kind, "{name}");
    }
}

#[tokio::test]
async fn a_recursive_listing_fails() {
    for lines in [
        ".:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n\r\n./sub:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 b\r\n",
        "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n\r\nsub:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 b\r\n",
    ] {
        let list_shows = Some(lines);
        let oddities = Oddities { no_mlst: true, list_shows, ..Default::default() };
        let server = Server::start(&[], oddities).await;
        let failure = names(&*server.session().await, "/").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
    }
}

#[tokio::test]
async fn a_reset_listing_does_not_end_the_session() {
    for no_mlst in [false, true] {
        let oddities = Oddities { no_mlst, resets_listings: Some(10), ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], oddities).await;
        let session = server.session().await;
        for _ in 0..2 {
            let failure = names(&*session, "/").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
        }
        let size = perform(&*session, Operation::Size(path("/a"), Representation::Image)).await;
        assert!(matches!(size, Ok(Answer::Size(1))), "{size:?}");
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn a_refused_listing_of_an_empty_folder_is_empty() {
    for no_mlst in [false, true] {
        for (reply, empty) in [
            ("450 No files found", true),
            ("550 No files found.", true),
            ("550 No members found.", true),
            ("226 Transfer complete", true),
            ("550 No such directory found", false),
            ("550 Permission denied", false),
            ("450 The disk is busy", false),
        ] {
            let replies_to_listings = Some(reply);
            let oddities = Oddities { no_mlst, replies_to_listings, ..Default::default() };
            let server = Server::start(&[], oddities).await;
            let session = server.session().await;
            for _ in 0..2 {
                let names = names(&*session, "/").await;
                assert_eq!(names.ok(), empty.then(Vec::new), "{reply}");
            }
            perform(&*session, Operation::Enter(path("/"))).await.unwrap();
            assert_eq!(server.seen().connections, 1);
        }
    }
}

#[tokio::test]
async fn a_listing_works_without_type_a() {
    let oddities = Oddities { no_mlst: true, no_ascii: true, ..Default::default() };
    let server = Server::start(&[("/a", b"a")], oddities).await;
    assert_eq!(names(&*server.session().await, "/").await.unwrap(), [b"a"]);
}
