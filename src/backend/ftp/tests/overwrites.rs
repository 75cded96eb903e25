//! Existing files that are rewritten from their start without being truncated, as by OpenSSH's scp.

use super::*;
use crate::backend::UnsupportedAttributes;

/// `sized`: sets the size to that of the new content, like scp; else the tail is kept.
async fn overwrite(
    session: &dyn BackendSession,
    name: &str,
    bytes: &[u8],
    sized: bool,
) -> Result<(), Failure> {
    let file = open(session, name, continuing()).await?;
    let written = async {
        put(&*file, bytes).await?;
        if sized { file.set_attributes(&size(bytes.len())).await } else { Ok(()) }
    };
    match written.await {
        Ok(()) => file.close().await,
        Err(failure) => {
            file.abort().await;
            Err(failure)
        }
    }
}

fn size(bytes: usize) -> Changes {
    Changes { size: Some(bytes as u64), ..Changes::default() }
}

async fn server_with_original(oddities: Oddities) -> Server {
    let server = Server::start(&[("/a", &bytes(100_000))], oddities).await;
    server.seen().modes.insert("/a".into(), 0o640);
    server
}

/// Checks that only the file exists, unchanged.
fn assert_untouched(server: &Server, what: &str) {
    let seen = server.seen();
    assert_eq!(seen.files.keys().collect::<Vec<_>>(), ["/a"], "{what}");
    assert!(seen.files["/a"] == bytes(100_000), "{what}");
    assert_eq!(seen.modes.get("/a"), Some(&0o640), "{what}");
}

#[tokio::test]
async fn a_replaced_file_keeps_its_mode_and_its_tail() {
    let new = |length| vec![7; length];
    for policy in [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName] {
        for (length, sized, expected) in [
            (1000, true, new(1000)),
            (200_000, true, new(200_000)),
            (200_000, false, new(200_000)),
            (1000, false, [&new(1000), &bytes(100_000)[1000..]].concat()),
            (100_000, false, new(100_000)),
        ] {
            let server = server_with_original(Oddities::default()).await;
            let session = login_with(&server, policy).await;
            overwrite(&*session, "/a", &new(length), sized).await.unwrap();
            let seen = server.seen();
            assert_eq!(
                seen.files.keys().collect::<Vec<_>>(),
                ["/a"],
                "{policy:?} {length} {sized}"
            );
            assert!(seen.files["/a"] == expected, "{policy:?} {length} {sized}");
            assert_eq!(seen.modes["/a"], 0o640);
            assert_eq!(seen.connections, 2);
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_overwrite_gets_the_old_file_renamed_first() {
    let oddities = Oddities { never_overwrites: true, no_mlst: true, ..Default::default() };
    let server = server_with_original(oddities).await;
    let session = server.session().await;
    overwrite(&*session, "/a", b"new", true).await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"new");
    assert_eq!(server.seen().files.len(), 1);
}

#[tokio::test]
async fn an_aborted_replacement_leaves_only_the_original_file() {
    for policy in [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName] {
        for sync in [false, true] {
            let server = server_with_original(Oddities::default()).await;
            let session = login_with(&server, policy).await;
            let file = open(&*session, "/a", continuing()).await.unwrap();
            put(&*file, &[7; 50_000]).await.unwrap();
            if sync {
                file.sync().await.unwrap();
            }
            file.abort().await;
            assert_untouched(&server, &format!("{policy:?} {sync}"));
        }
        let oddities = Oddities { drops_upload_at: Some(10_000), ..Default::default() };
        let server = server_with_original(oddities).await;
        let session = login_with(&server, policy).await;
        let failed = overwrite(&*session, "/a", &[7; 300_000], true).await;
        assert!(failed.is_err());
        assert_untouched(&server, &format!("{policy:?}, the server died"));
        for oddities in [
            Oddities { refuses_uploads: Some("552 full"), ..Default::default() },
            Oddities { closes_upload_at: Some(10_000), ..Default::default() },
        ] {
            let server = server_with_original(oddities).await;
            let session = login_with(&server, policy).await;
            assert!(overwrite(&*session, "/a", &[7; 300_000], true).await.is_err());
            assert_untouched(&server, &format!("{policy:?}, the server refused"));
        }
    }
}

#[tokio::test]
async fn a_tail_that_cannot_be_copied_leaves_the_original_file() {
    // (the setting, how the server cuts a download)
    for (max, cuts_downloads_at) in [(98_999, None), (0, None), (99_000, Some((500, "426 cut")))] {
        for sync in [false, true] {
            let server =
                server_with_original(Oddities { cuts_downloads_at, ..Default::default() }).await;
            let session =
                login(&server.backend_with(|settings| settings.tail_copy_max = max)).await;
            let file = open(&*session, "/a", continuing()).await.unwrap();
            put(&*file, &[7; 1000]).await.unwrap();
            if sync {
                file.sync().await.unwrap();
            }
            let failure = file.close().await.unwrap_err();
            assert_eq!(
                failure.message.contains("tail_copy_max"),
                cuts_downloads_at.is_none(),
                "{failure}"
            );
            assert_untouched(&server, &format!("{max} {sync}"));
        }
    }
    let server = server_with_original(Oddities::default()).await;
    let session = login(&server.backend_with(|settings| settings.tail_copy_max = 99_000)).await;
    overwrite(&*session, "/a", &[7; 1000], false).await.unwrap();
}

#[tokio::test]
async fn an_impossible_replacement_is_refused_before_writing() {
    let refuses = |verb, reply| {
        move |server: &Server| {
            server.seen().replies.insert(verb, reply);
        }
    };
    let nothing: fn(&Server) = |_| {};
    let link: fn(&Server) = |server| {
        let bytes = server.seen().files["/a"].clone();
        server.seen().files.insert("/there".into(), bytes);
        server.seen().links.insert("/a".into(), "/there".into());
    };
    let no_mlst = || Oddities { no_mlst: true, ..Default::default() };
    let as_files = Oddities { links_as_files: true, ..Default::default() };
    let alone = Oddities { logins_max: Some(1), ..Default::default() };
    type Prepare = Box<dyn Fn(&Server)>;
    let cases: [(Oddities, usize, Prepare, &str); 8] = [
        (Oddities::default(), 1, Box::new(nothing), "`connections`"),
        (alone, 4, Box::new(nothing), "second connection"),
        (Oddities::default(), 4, Box::new(refuses("RNFR", "550 Permission denied")), "rename"),
        (Oddities::default(), 4, Box::new(refuses("SITE", "550 Permission denied")), "permissions"),
        // New files have another mode than the original.
        (Oddities { no_site: true, ..Default::default() }, 4, Box::new(nothing), "CHMOD"),
        (Oddities::default(), 4, Box::new(link), "symlink"),
        (as_files, 4, Box::new(link), "symlink"),
        (no_mlst(), 4, Box::new(link), "symlink"),
    ];
    for (oddities, connections, prepare, why) in cases {
        let server = server_with_original(oddities).await;
        prepare(&server);
        let files = server.seen().files.clone();
        let backend = server.backend_with(|settings| {
            settings.connections = connections;
            settings.unsupported_attributes = UnsupportedAttributes::Ignore;
        });
        let session = login(&backend).await;
        let failure = overwrite(&*session, "/a", &[7; 1000], true).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsupported, "{failure}");
        assert!(failure.message.contains(why), "{why}: {failure}");
        assert_eq!(server.seen().files, files, "{why}");
    }
}

/// Each takes two connections, of four.
#[tokio::test]
async fn several_replacements_at_once_do_not_deadlock() {
    let names = ["/a", "/b", "/c", "/d"];
    let old = bytes(1000);
    let files = names.map(|name| (name, &old[..]));
    let server = Server::start(&files, Oddities::default()).await;
    let session = server.session().await;
    let replaced = names.map(|name| overwrite(&*session, name, b"new", true));
    for replaced in join_all(replaced).await {
        replaced.unwrap();
    }
    assert!(server.seen().files.values().all(|bytes| bytes == b"new"));
    assert_eq!(server.seen().files.len(), 4);
}

/// New files have the original's mode by default.
#[tokio::test]
async fn a_file_is_replaced_without_chmod_if_new_files_have_its_mode() {
    let server = server_with_original(Oddities { no_site: true, ..Default::default() }).await;
    server.seen().modes.clear();
    let session = server.session().await;
    overwrite(&*session, "/a", b"new", true).await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"new");
}

#[tokio::test]
async fn a_resume_appends_to_the_existing_file() {
    let server = server_with_original(Oddities::default()).await;
    let session = server.session().await;
    let file = open(&*session, "/a", continuing()).await.unwrap();
    file.write_at(100_000, Bytes::from_static(b"more")).await.unwrap();
    file.close().await.unwrap();
    assert!(server.file("/a").unwrap() == [&bytes(100_000)[..], b"more"].concat());
    assert_eq!((server.count("APPE"), server.count("STOR"), server.count("RNFR")), (1, 0, 0));
}

/// Times and permissions set during the write apply to the new file.
#[tokio::test]
async fn attributes_set_during_a_replacement_apply_to_the_new_file() {
    let server = server_with_original(Oddities::default()).await;
    let session = server.session().await;
    let file = open(&*session, "/a", continuing()).await.unwrap();
    put(&*file, b"new").await.unwrap();
    file.set_attributes(&size(3)).await.unwrap();
    let both = Changes { modified: Some(1_700_000_000), ..Changes::permissions(0o600) };
    file.set_attributes(&both).await.unwrap();
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(3));
    file.close().await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.files["/a"], b"new");
    assert_eq!((seen.modes["/a"], seen.times["/a"].as_str()), (0o600, "20231114221320"));
}

/// Clients and scripts create empty files first.
#[tokio::test]
async fn an_empty_file_is_written_like_a_new_one() {
    let oddities = Oddities::default();
    let server = Server::start(&[("/a", b"")], oddities).await;
    let backend = server.backend_with(|settings| {
        settings.partial_uploads = PartialUploads::TemporaryName;
    });
    let session = login(&backend).await;
    let file = open(&*session, "/a", continuing()).await.unwrap();
    put(&*file, &bytes(100_000)).await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"", "nothing is seen of it before its end");
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), bytes(100_000));
    server.seen().files.insert("/a".into(), Vec::new());
    let session = login(&backend).await;
    let file = open(&*session, "/a", continuing()).await.unwrap();
    put(&*file, &bytes(1000)).await.unwrap();
    file.abort().await;
    assert_eq!(server.file("/a").unwrap(), b"");
}

#[tokio::test]
async fn a_write_protected_file_is_not_replaced() {
    let server = server_with_original(Oddities::default()).await;
    server.seen().modes.insert("/a".into(), 0o444);
    let session = server.session().await;
    let refused = overwrite(&*session, "/a", b"new", true).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::PermissionDenied, "{refused}");
    assert!(server.file("/a").unwrap() == bytes(100_000));
}
