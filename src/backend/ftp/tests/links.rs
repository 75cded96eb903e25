//! Symlinks, about which FTP reports little.

use super::*;

async fn link_stat(session: &dyn BackendSession, name: &str) -> Result<Entry, Failure> {
    match session.perform(&target(Operation::LinkStat(path(name)))).await? {
        Answer::Entry(entry) => Ok(entry),
        other => panic!("{other:?}"),
    }
}

/// Like pure-ftpd, ProFTPD and vsftpd.
fn servers() -> [Oddities; 3] {
    [
        Oddities::default(),
        Oddities { links_as_files: true, ..Default::default() },
        Oddities { no_mlst: true, ..Default::default() },
    ]
}

async fn server_with_links(oddities: Oddities) -> Server {
    let server = Server::start(&[("/d/f", &bytes(5000))], oddities).await;
    {
        let mut seen = server.seen();
        seen.folders.insert("/d".into(), "/d".into());
        for (link, target) in [("/to-f", "/d/f"), ("/to-d", "/d"), ("/to-none", "/none")] {
            seen.links.insert(link.into(), target.into());
        }
    }
    server
}

#[tokio::test]
async fn stat_follows_links() {
    for oddities in servers() {
        let own = !oddities.links_as_files;
        let server = server_with_links(oddities).await;
        let session = server.session().await;
        session.expect_many();
        for listed in [false, true] {
            if listed {
                assert_eq!(names(&*session, "/").await.unwrap().len(), 4);
                let link = link_stat(&*session, "/to-f").await.unwrap();
                assert_eq!(matches!(link.kind, EntryKind::Symlink(_)), own, "{link:?}");
            }
            let file = stat(&*session, "/to-f").await.unwrap();
            assert_eq!((file.kind, file.attributes.size), (EntryKind::File, Some(5000)));
            assert_eq!(file.name, b"to-f");
            assert_eq!(stat(&*session, "/to-d").await.unwrap().kind, EntryKind::Directory);
            let none = stat(&*session, "/to-none").await.unwrap_err();
            assert_eq!(none.kind, FailureKind::NotFound, "{none}");
        }
        if own {
            // The cache still has the link itself.
            let link = link_stat(&*session, "/to-f").await.unwrap();
            assert!(matches!(link.kind, EntryKind::Symlink(_)), "{link:?}");
        }
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn an_opened_link_has_the_size_of_its_target() {
    for oddities in servers() {
        let server = server_with_links(oddities).await;
        let session = server.session().await;
        session.expect_many();
        names(&*session, "/").await.unwrap();
        let file = open(&*session, "/to-f", reading()).await.unwrap();
        assert_eq!(file.stat().await.unwrap().attributes.size, Some(5000));
        assert_eq!(get(&*file).await.unwrap(), bytes(5000));
        file.close().await.unwrap();
    }
}

#[tokio::test]
async fn ftp_clients_get_the_entry_of_the_link_itself() {
    for oddities in servers() {
        let server = server_with_links(oddities.clone()).await;
        let session = server.session().await;
        // So that they can rename it.
        let none = stat(&*session, "/to-none").await;
        assert!(matches!(none, Ok(Entry { kind: EntryKind::Symlink(_), .. })), "{none:?}");
    }
}
