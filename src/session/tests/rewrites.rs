//! Sessions of a route with `rewrite`, on a folder.

use std::fs;

use super::*;

/// `/in` is `data/partners/in`, `/old/path/out` is `data/out`, and `/gone` a folder that does not exist, all in
/// `srv` of the folder, which is the root.
async fn rewritten() -> (TempDir, Arc<Session>) {
    let folder = tempfile::tempdir().unwrap();
    let srv = folder.path().join("srv");
    for made in ["data/partners/in/sub", "data/out", "in", "plain"] {
        fs::create_dir_all(srv.join(made)).unwrap();
    }
    fs::write(srv.join("data/partners/in/file"), "content").unwrap();
    fs::write(srv.join("data/partners/in/sub/deep"), "deep").unwrap();
    fs::write(srv.join("in/behind"), "behind the rewritten folder").unwrap();
    fs::write(srv.join("plain/file"), "plain").unwrap();
    symlink("../../out", srv.join("data/partners/in/to-out")).unwrap();
    let rewrite = |from, to| route::Rewrite { from: path(from), to: path(to) };
    let rewrites = vec![
        rewrite("/in", "/data/partners/in"),
        rewrite("/old/path/out", "/data/out"),
        rewrite("/gone", "/nowhere"),
    ];
    let (session, _) = session_on(folder.path(), "/srv", rewrites).await;
    (folder, session)
}

async fn names(session: &Session, folder: &str) -> Result<Vec<String>, FailureKind> {
    let mut listing = session.list(path(folder)).await.map_err(|failure| failure.kind)?;
    let mut names = Vec::new();
    while let Some(entries) = listing.next().await.unwrap() {
        assert!(!entries.is_empty() && entries.len() <= 256);
        for entry in entries {
            let is_folder = entry.kind == EntryKind::Directory;
            names.push(format!(
                "{}{}",
                String::from_utf8(entry.name).unwrap(),
                if is_folder { "/" } else { "" }
            ));
        }
    }
    listing.finish();
    names.retain(|name| !matches!(&**name, "./" | "../"));
    names.sort();
    Ok(names)
}

async fn kind(session: &Session, operation: Operation) -> Result<(), FailureKind> {
    session.perform(operation).await.map(|_| ()).map_err(|failure| failure.kind)
}

async fn size(session: &Session, name: &str) -> Result<Option<u64>, FailureKind> {
    match session.perform(Operation::Stat(path(name))).await {
        Ok(Answer::Entry(entry)) => Ok(entry.attributes.size),
        Ok(other) => panic!("{other:?}"),
        Err(failure) => Err(failure.kind),
    }
}

#[tokio::test]
async fn each_file_has_one_path() {
    let (_folder, session) = rewritten().await;
    assert_eq!(size(&session, "/in/file").await, Ok(Some(7)));
    assert_eq!(size(&session, "/in/sub/../sub/deep").await, Ok(Some(4)));
    assert_eq!(size(&session, "/plain/file").await, Ok(Some(5)));
    for hidden in [
        "/data/partners/in/file",
        "/data/partners/in",
        "/data/out",
        "/in/behind",
        "/in/../data/out",
        "/nowhere",
        "/gone",
        "/../srv/plain/file",
    ] {
        assert_eq!(size(&session, hidden).await, Err(FailureKind::NotFound), "{hidden}");
    }
    // In no way can a file be made under the other path.
    let (image, mode) = (Representation::Image, WriteMode::From { offset: 0 });
    let write = session.write(path("/data/out/x"), mode, image).await;
    assert_eq!(write.err().map(|failure| failure.kind), Some(FailureKind::NotFound));
    let make = Operation::MakeDirectory { path: path("/data/out/x"), permissions: None };
    let rename =
        |from, to| Operation::Rename { from: path(from), to: path(to), onto: Onto::Refused };
    for refused in [
        make,
        rename("/plain/file", "/data/out/x"),
        rename("/data/partners/in/file", "/plain/x"),
        Operation::Remove(path("/data/partners/in/file")),
    ] {
        let name = refused.to_string();
        assert_eq!(kind(&session, refused).await, Err(FailureKind::NotFound), "{name}");
    }
}

#[tokio::test]
async fn listings_show_rewritten_folders_and_not_what_they_hide() {
    let (folder, session) = rewritten().await;
    for (listed, expected) in [
        ("/", &["data/", "in/", "old/", "plain/"][..]),
        ("/in", &["file", "sub/", "to-out"]),
        ("/data", &["partners/"]),
        ("/data/partners", &[]),
        // Not at the backend.
        ("/old", &["path/"]),
        ("/old/path", &["out/"]),
        ("/old/path/out", &[]),
    ] {
        assert_eq!(names(&session, listed).await.unwrap(), expected, "{listed}");
        assert_eq!(kind(&session, Operation::Enter(path(listed))).await, Ok(()), "{listed}");
        for stat in [Operation::Stat, Operation::LinkStat] {
            match session.perform(stat(path(listed))).await.unwrap() {
                Answer::Entry(entry) => assert_eq!(entry.kind, EntryKind::Directory, "{listed}"),
                other => panic!("{other:?}"),
            }
        }
    }
    for missing in ["/old/other", "/old/path/other", "/data/out", "/gone", "/nowhere"] {
        assert_eq!(names(&session, missing).await, Err(FailureKind::NotFound), "{missing}");
        let enter = kind(&session, Operation::Enter(path(missing))).await;
        assert_eq!(enter, Err(FailureKind::NotFound), "{missing}");
    }
    // Now they are at the backend, too, and shown once.
    fs::create_dir_all(folder.path().join("srv/old/path/other")).unwrap();
    fs::create_dir_all(folder.path().join("srv/nowhere")).unwrap();
    let root = names(&session, "/").await.unwrap();
    assert_eq!(root, ["data/", "gone/", "in/", "old/", "plain/"]);
    assert_eq!(names(&session, "/old/path").await.unwrap(), ["other/", "out/"]);
}

#[tokio::test]
async fn renames_and_uploads_cross_the_paths() {
    let (folder, session) = rewritten().await;
    let disk = |name: &str| folder.path().join("srv").join(name);
    let rename =
        |from, to| Operation::Rename { from: path(from), to: path(to), onto: Onto::Refused };
    for (from, to, there) in [
        ("/in/file", "/old/path/out/renamed", "data/out/renamed"),
        ("/old/path/out/renamed", "/plain/again", "plain/again"),
        ("/plain/again", "/in/sub/last", "data/partners/in/sub/last"),
    ] {
        assert_eq!(kind(&session, rename(from, to)).await, Ok(()), "{from} {to}");
        assert_eq!(fs::read_to_string(disk(there)).unwrap(), "content");
    }
    let mut upload =
        session.write(path("/in"), WriteMode::Unique, Representation::Image).await.unwrap();
    upload.begin().await.unwrap();
    let shown = upload.path().clone();
    assert_eq!(shown.parent(), Some(path("/in")));
    upload.finish().await.unwrap();
    assert!(disk("data/partners/in").join(str::from_utf8(shown.name().unwrap()).unwrap()).exists());
    let file = session.open(path("/in/sub/deep"), OpenMode { write: true, ..READ }).await.unwrap();
    file.write_at(0, "DEEP".into()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(fs::read_to_string(disk("data/partners/in/sub/deep")).unwrap(), "DEEP");
}

#[tokio::test]
async fn folders_that_the_configuration_names_stay() {
    let (folder, session) = rewritten().await;
    let closed = Changes { permissions: Some(0), ..Changes::default() };
    for kept in ["/in", "/old", "/old/path", "/old/path/out", "/data", "/data/partners", "/"] {
        for operation in [
            Operation::Remove(path(kept)),
            Operation::RemoveDirectory(path(kept)),
            Operation::Rename { from: path(kept), to: path("/other"), onto: Onto::Refused },
            Operation::Rename { from: path("/plain"), to: path(kept), onto: Onto::Replaced },
            Operation::SetAttributes { path: path(kept), changes: closed, follow: true },
        ] {
            let name = operation.to_string();
            let refused = kind(&session, operation).await;
            assert_eq!(refused, Err(FailureKind::PermissionDenied), "{name}");
        }
    }
    assert!(folder.path().join("srv/data/partners/in/sub/deep").exists());
    assert_eq!(
        kind(&session, Operation::RemoveDirectory(path("/in/sub/none"))).await,
        Err(FailureKind::NotFound)
    );
    let rename =
        Operation::Rename { from: path("/in/sub"), to: path("/in/new"), onto: Onto::Refused };
    assert_eq!(kind(&session, rename).await, Ok(()));
    let link = Operation::Symlink { target: b"x".to_vec(), link: path("/in/link") };
    assert_eq!(kind(&session, link).await, Err(FailureKind::PermissionDenied));
    assert!(!session.abilities().hard_link);
}

/// Neither messages nor targets of links name the backend's paths.
#[tokio::test]
async fn the_client_sees_its_own_paths_only() {
    let (_folder, session) = rewritten().await;
    match session.perform(Operation::ReadLink(path("/in/to-out"))).await.unwrap() {
        Answer::Link(target) => assert_eq!(target, b"/old/path/out"),
        other => panic!("{other:?}"),
    }
    let missing = session.read(path("/in/none"), 0, Representation::Image).await.err().unwrap();
    assert_eq!(missing.message, FailureKind::NotFound.sentence());
    assert!(missing.status.is_none() && missing.peer.is_none());
    let hidden = session.perform(Operation::Stat(path("/data/out/x"))).await.err().unwrap();
    assert_eq!(
        (hidden.fault, hidden.message.as_str()),
        (Fault::Policy, FailureKind::NotFound.sentence())
    );
    assert!(hidden.detail.unwrap().contains("shows this as /old/path/out/x only"));
}

/// The folder after the login, where it has another path.
#[test]
fn the_home_directory_is_as_the_client_sees_it() {
    let rewrites = || vec![route::Rewrite { from: path("/me"), to: path("/home/bob") }];
    for (root, home, seen) in [
        ("/", "/home/bob", Some("/me")),
        ("/", "/home/bob/x", Some("/me/x")),
        ("/", "/home", Some("/home")),
        ("/", "/me", None),
        ("/srv", "/srv/home/bob", Some("/me")),
        ("/srv", "/home/bob", None),
    ] {
        let root = Root::new(
            &route::Root::Path(path(root)),
            rewrites(),
            Names::Exact,
            &Home::At(path(home)),
        );
        assert_eq!(root.strip(&path(home)), seen.map(path), "{home}");
        assert!(root.hides);
    }
    let home = Root::new(
        &route::Root::Home,
        vec![route::Rewrite { from: path("/in"), to: path("/data") }],
        Names::Exact,
        &Home::At(path("/home/bob")),
    );
    assert_eq!(home.paths.to_backend(&path("/in/x")), Ok(path("/home/bob/data/x")));
}
