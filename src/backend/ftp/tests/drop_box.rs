//! Accounts that may change files but not list or stat them.

use super::*;
use crate::backend::ftp::UncheckedRename;

const DENIED: &str = "550 Permission denied.";

/// A server that denies all commands that show files.
async fn drop_box(reply: &'static str, oddities: Oddities) -> Server {
    let server = Server::start(&[("/in/a", b"a"), ("/in/b", b"b")], oddities).await;
    let looks = ["SIZE", "MDTM", "MLST", "MLSD", "LIST", "STAT", "CWD"];
    server.seen().replies.extend(looks.map(|verb| (verb, reply)));
    server
}

fn rename(from: &str, to: &str, onto: Onto) -> Operation {
    Operation::Rename { from: path(from), to: path(to), onto }
}

#[tokio::test]
async fn operations_need_no_permission_to_stat_or_list() {
    for reply in [DENIED, "550 No.", "530 Not allowed", "500 Command disabled", "502 not for you"] {
        for no_mlst in [false, true] {
            let server = drop_box(reply, Oddities { no_mlst, ..Default::default() }).await;
            let session = server.session().await;
            perform(&*session, Operation::RenameFrom(path("/in/a"))).await.unwrap();
            perform(&*session, rename("/in/a", "/in/c", Onto::AsBackend)).await.unwrap();
            assert_eq!((server.count("RNFR"), server.count("RNTO")), (1, 1), "sent once");
            let absent = Operation::RenameFrom(path("/in/absent"));
            let absent = perform(&*session, absent).await.unwrap_err();
            assert_eq!(absent.peer.unwrap().lines, [b"no such file"]);
            for (from, to) in [("/in/c", "/in/d"), ("/in/d", "/in/c")] {
                perform(&*session, rename(from, to, Onto::Refused)).await.unwrap();
            }
            perform(&*session, rename("/in/c", "/in/b", Onto::Replaced)).await.unwrap();
            assert_eq!(server.file("/in/b").unwrap(), b"a", "{reply}");
            perform(&*session, Operation::Remove(path("/in/b"))).await.unwrap();
            let make = Operation::MakeDirectory { path: path("/in/new"), permissions: None };
            perform(&*session, make).await.unwrap();
            perform(&*session, Operation::RemoveDirectory(path("/in/new"))).await.unwrap();
            let changes = Changes::permissions(0o640);
            let chmod = Operation::SetAttributes { path: path("/in/a"), changes, follow: true };
            perform(&*session, chmod).await.unwrap();
            assert_eq!(server.seen().connections, 1);
        }
    }
}

#[tokio::test]
async fn unchecked_rename_refuse_refuses_renames_that_cannot_be_checked() {
    for reply in [DENIED, "550 No."] {
        for no_mlst in [false, true] {
            let server = drop_box(reply, Oddities { no_mlst, ..Default::default() }).await;
            let refuse = |settings: &mut Settings| {
                settings.unchecked_rename = UncheckedRename::Refuse;
            };
            let session = login(&server.backend_with(refuse)).await;
            let refused = perform(&*session, rename("/in/a", "/in/b", Onto::Refused)).await;
            let refused = refused.unwrap_err();
            assert!(refused.detail.unwrap().contains("unchecked_rename"), "{reply}");
            assert_eq!(server.count("RNTO"), 0);
            // Renames that may overwrite are not checked; others are, where possible.
            perform(&*session, rename("/in/a", "/in/c", Onto::Replaced)).await.unwrap();
            server.seen().replies.clear();
            perform(&*session, rename("/in/c", "/in/d", Onto::Refused)).await.unwrap();
            let taken = perform(&*session, rename("/in/d", "/in/b", Onto::Refused)).await;
            assert_eq!(taken.unwrap_err().kind, FailureKind::AlreadyExists);
        }
    }
}

#[tokio::test]
async fn files_are_stored_without_permission_to_stat_or_list() {
    for reply in [DENIED, "550 No.", "500 Command disabled"] {
        for no_mlst in [false, true] {
            for policy in
                [PartialUploads::Keep, PartialUploads::Delete, PartialUploads::TemporaryName]
            {
                let server = drop_box(reply, Oddities { no_mlst, ..Default::default() }).await;
                let session = login_with(&server, policy).await;
                // Opened by sftp, by scp, and for appending.
                let appending = OpenMode { append: true, ..continuing() };
                let private = OpenMode { permissions: Some(0o600), ..replacing() };
                for (name, mode) in [
                    ("/in/new", replacing()),
                    ("/in/copied", continuing()),
                    ("/in/grown", appending),
                    ("/in/private", private),
                ] {
                    let file = open(&*session, name, mode).await.expect(reply);
                    put(&*file, &bytes(1000)).await.unwrap();
                    file.close().await.unwrap();
                    assert_eq!(
                        server.file(name).unwrap(),
                        bytes(1000),
                        "{name} {reply} {policy:?}"
                    );
                }
                // An empty file, too.
                let file = open(&*session, "/in/empty", continuing()).await.unwrap();
                file.close().await.unwrap();
                assert_eq!(server.file("/in/empty").unwrap(), b"");
            }
        }
    }
}

#[tokio::test]
async fn an_exclusive_create_that_cannot_be_checked_is_refused() {
    for no_mlst in [false, true] {
        let server = drop_box(DENIED, Oddities { no_mlst, ..Default::default() }).await;
        let session = server.session().await;
        let mode = OpenMode { exclusive: true, ..replacing() };
        assert!(open(&*session, "/in/b", mode).await.is_err());
        // Nor is a file opened that must exist.
        let existing = OpenMode { write: true, ..OpenMode::default() };
        assert!(open(&*session, "/in/b", existing).await.is_err());
        assert_eq!(server.file("/in/b").unwrap(), b"b");
        // Free at the start; checks are denied at the end.
        server.seen().replies.clear();
        let session = login_with(&server, PartialUploads::TemporaryName).await;
        let file = open(&*session, "/in/c", mode).await.unwrap();
        put(&*file, b"new").await.unwrap();
        let looks = ["SIZE", "MLST", "MLSD", "LIST", "CWD"];
        server.seen().replies.extend(looks.map(|verb| (verb, DENIED)));
        assert!(file.close().await.is_err());
        assert_eq!(server.file("/in/c"), None);
    }
}

#[tokio::test]
async fn a_folder_in_an_unreadable_parent_is_found() {
    for (no_mlst, denied) in [(true, &["LIST"][..]), (false, &["MLST", "MLSD", "LIST"])] {
        let server = Server::start(
            &[("/a/b/c", b"c")],
            Oddities { no_mlst, unspecific: true, ..Default::default() },
        )
        .await;
        server.seen().folders.insert("/a/b".into(), "/a/b".into());
        server.seen().replies.extend(denied.iter().map(|verb| (*verb, DENIED)));
        let session = server.session().await;
        assert_eq!(stat(&*session, "/a/b").await.unwrap().kind, EntryKind::Directory);
        let file = stat(&*session, "/a/b/c").await.unwrap();
        assert_eq!((file.kind, file.attributes.size), (EntryKind::File, Some(1)));
        assert!(stat(&*session, "/a/absent").await.is_err());
    }
}

#[tokio::test]
async fn stou_works_in_the_login_folder_without_cwd() {
    let server =
        drop_box(DENIED, Oddities { pwd: Some(b"257 \"/in\"\r\n"), ..Default::default() }).await;
    let session = server.session().await;
    let stou = |folder: &str| WriteFile {
        path: path(folder),
        mode: WriteMode::Unique,
        representation: Representation::Image,
    };
    session.open_write(&target(stou("/in"))).await.unwrap().finish().await.unwrap();
    assert!(session.open_write(&target(stou("/other"))).await.is_err());
    assert_eq!(server.count("STOU"), 1);
}
