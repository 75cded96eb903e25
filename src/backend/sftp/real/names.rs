//! Directories, names and attributes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn names_and_attributes_are_read_and_changed() {
    use Operation as O;
    let sshd = Sshd::start();
    let session = sshd.session().await;
    let session = &*session;
    let odd = sshd.path("");
    let odd = RemotePath::resolve(&odd, b"caf\xe9 \n\xff").unwrap();
    perform(session, O::MakeDirectory { path: odd.clone(), permissions: None }).await.unwrap();
    let again = perform(session, O::MakeDirectory { path: odd.clone(), permissions: None })
        .await
        .unwrap_err();
    assert_eq!(again.kind, FailureKind::AlreadyExists);
    assert_eq!(again.status.unwrap().code, 4);
    perform(session, O::Enter(odd.clone())).await.unwrap();
    for n in 0..1000 {
        std::fs::write(sshd.file(&format!("file-{n}")), b"12345").unwrap();
    }
    perform(session, O::Symlink { target: b"file-1".to_vec(), link: sshd.path("link") })
        .await
        .unwrap();
    let list = async |path: RemotePath| {
        let mut listing = session.list(&Target::for_test(ListDirectory { path })).await?;
        let mut entries = Vec::new();
        while let Some(batch) = listing.next().await? {
            assert!(!batch.is_empty() && batch.len() <= 256);
            entries.extend(batch);
        }
        Ok::<_, Failure>(entries)
    };
    // With `.` and `..`.
    let entries = list(sshd.path("")).await.unwrap();
    assert_eq!(entries.len(), 1004);
    assert!(entries.iter().any(|e| e.name == b"caf\xe9 \n\xff" && e.kind == EntryKind::Directory));
    assert!(entries.iter().any(|e| e.name == b"link" && e.kind == EntryKind::Symlink(None)));
    let file = entries.iter().find(|e| e.name == b"file-7").unwrap();
    assert_eq!((file.attributes.size, file.attributes.links), (Some(5), Some(1)));
    assert_eq!(list(sshd.path("none")).await.unwrap_err().kind, FailureKind::NotFound);

    match perform(session, O::ReadLink(sshd.path("link"))).await.unwrap() {
        Answer::Link(target) => assert_eq!(target, b"file-1"),
        other => panic!("{other:?}"),
    }
    for (operation, kind) in [
        (O::Stat(sshd.path("link")), EntryKind::File),
        (O::LinkStat(sshd.path("link")), EntryKind::Symlink(None)),
    ] {
        match perform(session, operation).await.unwrap() {
            Answer::Entry(entry) => assert_eq!(entry.kind, kind),
            other => panic!("{other:?}"),
        }
    }
    let set = |changes| O::SetAttributes { path: sshd.path("file-2"), changes, follow: true };
    perform(session, set(Changes::modified(951_782_400))).await.unwrap();
    perform(session, set(Changes::permissions(0o640))).await.unwrap();
    let metadata = std::fs::metadata(sshd.file("file-2")).unwrap();
    let modified = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(modified.as_secs(), 951_782_400);
    let accessed = metadata.accessed().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(accessed.as_secs() > 1_700_000_000);

    let rename =
        |from: &str, to: &str, onto| O::Rename { from: sshd.path(from), to: sshd.path(to), onto };
    let refused = perform(session, rename("file-3", "file-4", Onto::Refused)).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::AlreadyExists);
    perform(session, rename("file-3", "file-4", Onto::AsBackend)).await.unwrap();
    perform(session, rename("file-5", "file-4", Onto::Replaced)).await.unwrap();
    assert!(!sshd.file("file-5").exists());
    perform(session, O::HardLink { from: sshd.path("file-6"), to: sshd.path("hard") })
        .await
        .unwrap();
    for (operation, kind) in [
        (O::Remove(odd.clone()), FailureKind::IsADirectory),
        (O::RemoveDirectory(sshd.path("")), FailureKind::DirectoryNotEmpty),
        (O::Remove(sshd.path("none")), FailureKind::NotFound),
        (O::Enter(sshd.path("file-6")), FailureKind::NotADirectory),
    ] {
        let shown = operation.to_string();
        assert_eq!(perform(session, operation).await.unwrap_err().kind, kind, "{shown}");
    }
    perform(session, O::RemoveDirectory(odd)).await.unwrap();
    match perform(session, O::FileSystem(sshd.path(""))).await.unwrap() {
        Answer::FileSystem(system) => assert!(system.blocks > 0),
        other => panic!("{other:?}"),
    }
    match perform(session, O::AccountNames { users: vec![0], groups: vec![0, 4_000_000] }).await {
        Ok(Answer::AccountNames { users, groups }) => {
            assert_eq!((users, groups), (vec![b"root".to_vec()], vec![b"root".to_vec(), vec![]]));
        }
        // OpenSSH before 9.1 does not offer it.
        other => panic!("{other:?}"),
    }
}
