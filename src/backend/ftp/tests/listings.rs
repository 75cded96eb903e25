//! Folders, and what is concluded from them.

use super::*;

#[tokio::test]
async fn a_stat_that_follows_a_listing_costs_nothing() {
    for no_mlst in [false, true] {
        let odd = Oddities { no_mlst, ..Default::default() };
        let names: Vec<String> = (0..1000).map(|i| format!("/file{i}")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
        let server = Server::start(&files, odd).await;
        let session = server.session().await;
        // As the SFTP front says: its clients do not care for the seconds of a time.
        session.expect_many();
        let mut listing = session.list(&target(ListDirectory { path: path("/") })).await.unwrap();
        let mut listed = 0;
        while let Some(entries) = listing.next().await.unwrap() {
            listed += entries.len();
        }
        drop(listing);
        assert_eq!(listed, 1000);
        server.at_rest().await;
        let lines = server.lines().len();
        for name in &names {
            assert_eq!(stat(&*session, name).await.unwrap().attributes.size, Some(4));
            let link = perform(&*session, Operation::LinkStat(path(name))).await;
            assert!(matches!(link, Ok(Answer::Entry(_))));
        }
        assert_eq!(server.lines().len(), lines, "{:?}", &server.lines()[lines..]);
        // After any write the server is asked.
        server.seen().files.insert("/file1".into(), b"seven b".to_vec());
        perform(&*session, Operation::Remove(path("/file0"))).await.unwrap();
        assert_eq!(stat(&*session, "/file1").await.unwrap().attributes.size, Some(7));
        assert_eq!(stat(&*session, "/file0").await.unwrap_err().kind, FailureKind::NotFound);
    }
}

/// The session's first connection is held by a file, and another one listed `/in`.
#[tokio::test]
async fn a_folder_of_an_old_name_is_not_listed_under_it() {
    let odd = Oddities { no_mlst: true, ..Default::default() };
    let server = Server::start(&[("/in#0/old", b"1"), ("/in#1/new", b"22")], odd).await;
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
    // Now the first connection does everything, and then the other one has to list.
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
async fn what_may_be_there_unseen_is_not_emptied() {
    let odd = Oddities { no_mlst: true, hides_dots: true, no_size: true, ..Default::default() };
    let server = Server::start(&[("/.profile", b"old"), ("/a", b"a")], odd).await;
    let session = server.session().await;
    for mode in [continuing(), OpenMode { exclusive: true, ..replacing() }] {
        let refused = open(&*session, "/.profile", mode).await.err().expect("a refusal");
        assert_eq!(refused.kind, FailureKind::Unsupported, "{refused}");
        assert_eq!(server.file("/.profile").unwrap(), b"old");
    }
    // What the folder shows, or would show.
    let file = open(&*session, "/a", continuing()).await.unwrap();
    file.write_at(1, Bytes::from_static(b"b")).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"ab");
    open(&*session, "/new", continuing()).await.unwrap().close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), b"");
}

#[tokio::test]
async fn a_folder_is_entered_again_after_a_while() {
    let odd = Oddities { no_mlst: true, ..Default::default() };
    let server = Server::start(&[("/in#0/old", b"1"), ("/in#1/new", b"22")], odd).await;
    server.seen().folders.insert("/in".into(), "/in#0".into());
    let session = server.session().await;
    for _ in 0..2 {
        assert_eq!(names(&*session, "/in").await.unwrap(), [b"old"]);
    }
    assert_eq!(server.count("CWD"), 1);
    // Somebody else renames it, and makes another one.
    server.seen().folders.insert("/in".into(), "/in#1".into());
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(names(&*session, "/in").await.unwrap(), [b"new"]);
}

#[tokio::test]
async fn a_listing_that_the_server_cut_off_is_none() {
    for no_mlst in [false, true] {
        let ends_listings = Some("226-Options: -a\r\n226 Output truncated to 2 matches");
        let odd = Oddities { no_mlst, ends_listings, ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], odd).await;
        let session = server.session().await;
        let failure = names(&*session, "/").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
        // Both are in step.
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
async fn a_listing_that_nobody_understands_is_no_empty_folder() {
    for lines in UNKNOWN {
        let odd = Oddities { no_mlst: true, lists: Some(lines), ..Default::default() };
        let server = Server::start(&[("/f", b"old")], odd).await;
        let session = server.session().await;
        let failure = names(&*session, "/").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
        assert!(failure.message.contains("format: 1 "), "{failure}");
        assert_eq!(stat(&*session, "/f").await.unwrap().attributes.size, Some(3));
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn what_is_known_of_a_folder_is_given_before_its_failure() {
    let lists = Some(UNKNOWN[5]);
    let odd = Oddities { no_mlst: true, lists, ..Default::default() };
    let server = Server::start(&[], odd).await;
    let session = server.session().await;
    let mut listing = session.list(&target(ListDirectory { path: path("/") })).await.unwrap();
    let first = listing.next().await.unwrap().unwrap();
    assert_eq!((first.len(), first[0].name.as_slice()), (1, &b"a"[..]));
    listing.next().await.unwrap_err();
    listing.abort().await;
    // What is in it is there.
    let rename = Operation::Rename { from: path("/x"), to: path("/a"), onto: Onto::Refused };
    let refused = perform(&*session, rename).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::AlreadyExists, "{refused}");
}

#[tokio::test]
async fn a_name_that_no_file_can_have_spoils_no_listing() {
    let lists = Some(
        "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 ../../etc/passwd\r\n",
    );
    let odd = Oddities { no_mlst: true, lists, ..Default::default() };
    let server = Server::start(&[], odd).await;
    assert_eq!(names(&*server.session().await, "/").await.unwrap(), [b"a"]);
}

#[tokio::test]
async fn a_file_is_not_absent_for_not_being_understood() {
    for lines in UNKNOWN {
        let lists = Some(lines);
        let odd =
            Oddities { no_mlst: true, no_size: true, lists, vague: true, ..Default::default() };
        let server = Server::start(&[("/f", b"old"), ("/n", b"new")], odd).await;
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
        // A folder shows itself by other means.
        server.seen().folders.insert("/d".into(), "/d".into());
        assert_eq!(stat(&*session, "/d").await.unwrap().kind, EntryKind::Directory);
        assert_eq!(server.seen().connections, 1);
    }
}

/// What does not spoil the listing of `a`.
const ODD: [&str; 4] = [
    "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\nb\r\n",
    "-rw-r--r-- 1 u g 3 Jan 02 2026 a\nthe rest\n",
    "/pub/x:\r\ntotal 12\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n",
    "\r\n.:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n",
];

#[tokio::test]
async fn pieces_of_names_spoil_no_folder() {
    for lines in ODD {
        let lists = Some(lines);
        let odd = Oddities { no_mlst: true, never_had_size: true, lists, ..Default::default() };
        let server = Server::start(&[("/n", b"new")], odd).await;
        let session = server.session().await;
        assert_eq!(names(&*session, "/").await.unwrap(), [b"a"]);
        assert_eq!(stat(&*session, "/x").await.unwrap_err().kind, FailureKind::NotFound);
        let exclusive = OpenMode { exclusive: true, ..replacing() };
        open(&*session, "/x", exclusive).await.unwrap().close().await.unwrap();
        let rename = Operation::Rename { from: path("/n"), to: path("/y"), onto: Onto::Refused };
        perform(&*session, rename).await.unwrap();
        assert_eq!(server.file("/y").unwrap(), b"new");
    }
    // It may be a line of its own all the same.
    let odd =
        Oddities { no_mlst: true, never_had_size: true, lists: Some(ODD[0]), ..Default::default() };
    let server = Server::start(&[("/b", b"old")], odd).await;
    let exclusive = OpenMode { exclusive: true, ..replacing() };
    let refused = open(&*server.session().await, "/b", exclusive).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::TransferCut, "{refused}");
    assert_eq!(server.file("/b").unwrap(), b"old");
}

#[tokio::test]
async fn only_what_a_line_may_name_is_unknown() {
    let lists = Some(
        "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n-rw-r--r-- 1 root wheel 100 M\u{e4}r 3 12:00 f.txt\r\n",
    );
    let odd =
        Oddities { no_mlst: true, never_had_size: true, vague: true, lists, ..Default::default() };
    let server = Server::start(&[], odd).await;
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
async fn what_is_in_folders_below_is_in_none() {
    for lines in [
        ".:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n\r\n./sub:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 b\r\n",
        "-rw-r--r-- 1 u g 3 Jan 02 2026 a\r\n\r\nsub:\r\n-rw-r--r-- 1 u g 3 Jan 02 2026 b\r\n",
    ] {
        let lists = Some(lines);
        let odd = Oddities { no_mlst: true, lists, ..Default::default() };
        let server = Server::start(&[], odd).await;
        let failure = names(&*server.session().await, "/").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
    }
}

#[tokio::test]
async fn a_listing_whose_connection_breaks_ends_nothing_else() {
    for no_mlst in [false, true] {
        let odd = Oddities { no_mlst, resets_listings: Some(10), ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], odd).await;
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
async fn old_servers_refuse_to_list_what_is_empty() {
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
            let says_for_listings = Some(reply);
            let odd = Oddities { no_mlst, says_for_listings, ..Default::default() };
            let server = Server::start(&[], odd).await;
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
async fn a_server_without_type_a_is_listed() {
    let odd = Oddities { no_mlst: true, no_ascii: true, ..Default::default() };
    let server = Server::start(&[("/a", b"a")], odd).await;
    assert_eq!(names(&*server.session().await, "/").await.unwrap(), [b"a"]);
}

/// All entries of `/`, as the SFTP front lists it.
async fn listed(session: &dyn BackendSession) -> Vec<crate::op::Entry> {
    let mut listing = session.list(&target(ListDirectory { path: path("/") })).await.unwrap();
    let mut all = Vec::new();
    while let Some(entries) = listing.next().await.unwrap() {
        all.extend(entries);
    }
    all
}

#[tokio::test]
async fn a_small_folder_is_listed_with_times_to_the_second_for_sftp() {
    let odd = Oddities { no_mlst: true, ..Default::default() };
    let names: Vec<String> = (0..100).map(|i| format!("/file{i}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
    let server = Server::start(&files, odd).await;
    let asked =
        |server: &Server| server.lines().iter().filter(|line| line.starts_with("MDTM ")).count();
    // FTP clients that say LIST see what it shows.
    let session = server.session().await;
    listed(&*session).await;
    assert_eq!(asked(&server), 0);
    session.expect_many();
    let exact = crate::op::Timestamp::exact(1_767_323_045);
    for entry in listed(&*session).await {
        assert_eq!(entry.attributes.modified, Some(exact), "{entry:?}");
    }
    assert_eq!(asked(&server), 100);
    assert_eq!(stat(&*session, "/file7").await.unwrap().attributes.modified, Some(exact));
    assert_eq!(asked(&server), 100);
}

#[tokio::test]
async fn a_large_folder_keeps_the_times_of_its_listing() {
    let odd = Oddities { no_mlst: true, ..Default::default() };
    let names: Vec<String> = (0..1500).map(|i| format!("/file{i}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
    let server = Server::start(&files, odd).await;
    let session = server.session().await;
    session.expect_many();
    assert_eq!(listed(&*session).await.len(), 1500);
    assert!(!server.lines().iter().any(|line| line.starts_with("MDTM ")));
}

#[tokio::test]
async fn a_server_that_refuses_mdtm_is_asked_one_flight_only() {
    let odd = Oddities { no_mlst: true, ..Default::default() };
    let names: Vec<String> = (0..100).map(|i| format!("/file{i}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"four"[..])).collect();
    let server = Server::start(&files, odd).await;
    server.seen().replies.insert("MDTM", "502 not here");
    let session = server.session().await;
    session.expect_many();
    assert_eq!(listed(&*session).await.len(), 100);
    assert_eq!(listed(&*session).await.len(), 100);
    let asked = server.lines().iter().filter(|line| line.starts_with("MDTM ")).count();
    assert_eq!(asked, 32);
}

#[tokio::test]
async fn a_server_that_does_not_bear_a_flight_is_not_asked_again() {
    for answer in [
        "226 of something before",
        "421 enough",
        "213 20260102030405\r\n213 20200102030405",
        // Nothing: it takes too long.
        "",
    ] {
        let odd = Oddities { no_mlst: true, ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], odd).await;
        server.seen().replies.insert("MDTM", answer);
        let session = server.session().await;
        session.expect_many();
        for _ in 0..2 {
            let entries = listed(&*session).await;
            assert_eq!(entries.len(), 2, "{answer}");
            let exact = |entry: &crate::op::Entry| {
                entry
                    .attributes
                    .modified
                    .is_some_and(|it| it.precision == crate::op::Precision::Second)
            };
            assert!(!entries.iter().any(exact), "{answer}: {entries:?}");
        }
        let asked = server.lines().iter().filter(|line| line.starts_with("MDTM ")).count();
        assert!(asked <= 2 && server.seen().connections == 2, "{answer}: {asked}");
    }
}

/// Clients have several connections, and look in one at what they have done in another.
#[tokio::test]
async fn what_another_session_of_the_account_changes_is_not_told_from_memory() {
    let server = Server::start(&[("/file", b"four")], Oddities::default()).await;
    let backend = server.backend_with(|_| {});
    let login = crate::backend::Login::Unchecked(testing::credentials());
    let one = backend.login(&login, Origin::ANY).await.unwrap();
    let other = backend.login(&login, Origin::ANY).await.unwrap();
    one.expect_many();
    assert_eq!(listed(&*one).await.len(), 1);
    let changes = Changes { modified: Some(1_000_000_000), ..Changes::default() };
    let set = Operation::SetAttributes { path: path("/file"), changes, follow: true };
    perform(&*other, set).await.unwrap();
    let told = stat(&*one, "/file").await.unwrap().attributes.modified;
    assert_eq!(told.map(|told| told.seconds), Some(1_000_000_000));
}
