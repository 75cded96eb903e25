//! Setting times at servers with different commands for it.

use super::*;
use crate::backend::UnsupportedAttributes;

const TIME: i64 = 1_700_000_000;
const TIME_TEXT: &str = "20231114221320";

fn modified(name: &str) -> Operation {
    Operation::SetAttributes { path: path(name), changes: Changes::modified(TIME), follow: true }
}

fn without_mlst(by: &'static str) -> Oddities {
    Oddities { no_mlst: true, sets_times_by: Some(by), ..Default::default() }
}

#[tokio::test]
async fn the_command_that_sets_times_is_found_once() {
    for (by, last) in [
        ("MFMT", "MFMT 20231114221320 /a"),
        ("MDTM", "MDTM 20231114221320 /a"),
        ("UTIME", "SITE UTIME 20231114221320 /a"),
        ("UTIME UTC", "SITE UTIME /a 20231114221320 20231114221320 20231114221320 UTC"),
    ] {
        for no_mlst in [false, true] {
            let oddities = Oddities { no_mlst, ..without_mlst(by) };
            let server = Server::start(&[("/a", b"1"), ("/b", b"2")], oddities).await;
            let backend = server.backend();
            let session = login(&backend).await;
            perform(&*session, modified("/a")).await.unwrap();
            assert_eq!(server.seen().times["/a"], TIME_TEXT, "{by}");
            assert!(server.lines().contains(&last.to_owned()), "{by}: {:?}", server.lines());
            assert!(session.abilities().modified, "{by}");
            // The next change takes one command, in other sessions too.
            for session in [session, login(&backend).await] {
                let before = server.lines().len();
                perform(&*session, modified("/b")).await.unwrap();
                assert_eq!(server.lines()[before..], [last.replace("/a", "/b")], "{by}");
            }
        }
    }
}

#[tokio::test]
async fn a_time_command_without_effect_is_not_used() {
    for (by, falsely_confirms) in
        [("MDTM", &["MFMT"][..]), ("UTIME UTC", &["MFMT", "MDTM", "UTIME"]), ("none", &["MFMT"])]
    {
        let oddities = Oddities { sets_times_by: Some(by), falsely_confirms, ..Default::default() };
        let server = Server::start(&[("/a", b"1")], oddities).await;
        let session = server.session().await;
        // FEAT announces it.
        assert!(session.abilities().modified);
        let set = perform(&*session, modified("/a")).await;
        assert_eq!(set.is_ok(), by != "none", "{by}: {set:?}");
        assert_eq!(session.abilities().modified, by != "none");
        assert_eq!(server.seen().times.contains_key("/a"), by != "none");
    }
}

/// A file that already has the time proves nothing.
#[tokio::test]
async fn an_unchanged_time_does_not_verify_a_command() {
    let oddities =
        Oddities { sets_times_by: Some("MDTM"), falsely_confirms: &["MFMT"], ..Default::default() };
    let server = Server::start(&[("/a", b"1"), ("/b", b"2")], oddities).await;
    server.seen().times.insert("/a".into(), TIME_TEXT.into());
    let session = server.session().await;
    perform(&*session, modified("/a")).await.unwrap();
    perform(&*session, modified("/b")).await.unwrap();
    assert_eq!(server.seen().times["/b"], TIME_TEXT);
}

#[tokio::test]
async fn a_server_that_cannot_set_times_gets_the_commands_once() {
    let server = Server::start(&[("/a", b"1")], without_mlst("none")).await;
    let session = server.session().await;
    for _ in 0..2 {
        let refused = perform(&*session, modified("/a")).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported, "{refused}");
        let detail = refused.detail.unwrap_or_default();
        assert!(detail.contains("unsupported_attributes"), "{detail}");
    }
    // The two forms of SITE UTIME; MDTM before, for the attempt, and for an absent file.
    assert_eq!((server.count("MFMT"), server.count("SITE"), server.count("MDTM")), (1, 2, 3));
    assert!(!session.abilities().modified);
}

#[tokio::test]
async fn a_denied_time_change_is_reported_despite_ignore() {
    for by in ["MFMT", "MDTM"] {
        for policy in [UnsupportedAttributes::Refuse, UnsupportedAttributes::Ignore] {
            let oddities = Oddities { denies_times: true, unspecific: true, ..without_mlst(by) };
            let server = Server::start(&[("/a", b"1")], oddities).await;
            let backend = server.backend_with(|s| s.unsupported_attributes = policy);
            let session = login(&backend).await;
            for _ in 0..2 {
                let denied = perform(&*session, modified("/a")).await.unwrap_err();
                assert_eq!(denied.peer.unwrap().code, 550, "{by} {policy:?}");
            }
            let absent = perform(&*session, modified("/none")).await.unwrap_err();
            assert_eq!(absent.kind, FailureKind::NotFound, "{by} {policy:?}: {absent}");
        }
    }
}

#[tokio::test]
async fn unsupported_attributes_ignore_ignores_them() {
    let changes = Changes {
        owner: Some((1, 1)),
        accessed: Some(TIME),
        ..Changes { permissions: Some(0o600), ..Changes::modified(TIME) }
    };
    for no_site in [false, true] {
        let oddities = Oddities { no_site, ..without_mlst("none") };
        let server = Server::start(&[("/a", b"1")], oddities).await;
        let ignore = UnsupportedAttributes::Ignore;
        let session = login(&server.backend_with(|s| s.unsupported_attributes = ignore)).await;
        let set = |changes| Operation::SetAttributes { path: path("/a"), changes, follow: true };
        perform(&*session, set(changes)).await.unwrap();
        assert_eq!(server.seen().modes.contains_key("/a"), !no_site);
        // Sizes are never ignored.
        let size = Changes { size: Some(7), ..changes };
        let refused = perform(&*session, set(size)).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, b"bytes").await.unwrap();
        file.set_attributes(&changes).await.unwrap();
        let refused = file.set_attributes(&size).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
        file.close().await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"bytes");
        let folder = Operation::MakeDirectory { path: path("/d"), permissions: Some(0o700) };
        perform(&*session, folder).await.unwrap();
        assert_eq!(server.count("RMD"), 0);
        // Ignored attributes are not announced.
        assert!(!session.abilities().modified);
    }
}

/// A refusal at the end would make a complete upload fail.
#[tokio::test]
async fn an_unsupported_time_change_is_refused_before_close() {
    for (by, works) in [("none", false), ("MDTM", true), ("UTIME", true)] {
        for policy in [PartialUploads::Keep, PartialUploads::TemporaryName] {
            let server = Server::start(&[], without_mlst(by)).await;
            let session = login_with(&server, policy).await;
            let file = open(&*session, "/new", replacing()).await.unwrap();
            put(&*file, b"bytes").await.unwrap();
            let set = file.set_attributes(&Changes::modified(TIME)).await;
            assert_eq!(set.is_ok(), works, "{by} {policy:?}: {set:?}");
            file.close().await.unwrap();
            assert_eq!(server.file("/new").unwrap(), b"bytes");
            assert_eq!(server.seen().times.contains_key("/new"), works, "{by} {policy:?}");
        }
    }
}
