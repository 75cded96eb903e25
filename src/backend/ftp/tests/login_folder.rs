//! The login folder, as servers report it or not.

use super::*;
use crate::backend::Home;
use crate::backend::ftp::testing::credentials;
use crate::op::{Attributes, ListDirectory, WriteFile};

const HOME: &str = "/home/x";

fn oddities(pwd: &'static [u8]) -> Oddities {
    Oddities { pwd: Some(pwd), login_folder: HOME, ..Oddities::default() }
}

async fn upload(session: &dyn BackendSession, name: &str) -> Result<RemotePath, Failure> {
    write(session, name, WriteMode::From { offset: 0 }).await
}

async fn write(
    session: &dyn BackendSession,
    name: &str,
    mode: WriteMode,
) -> Result<RemotePath, Failure> {
    let representation = Representation::Image;
    let write = WriteFile { path: path(name), mode, representation };
    let transfer = session.open_write(&target(write)).await?;
    let written = transfer.path().clone();
    transfer.finish().await?;
    Ok(written)
}

async fn names(session: &dyn BackendSession, folder: &str) -> Result<Vec<String>, Failure> {
    let mut listing = session.list(&target(ListDirectory { path: path(folder) })).await?;
    let mut names = Vec::new();
    while let Some(entries) = listing.next().await? {
        names.extend(entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()));
    }
    names.sort();
    Ok(names)
}

/// The STOR of the last upload: another command may follow it.
fn stored(server: &Server) -> String {
    server.lines().into_iter().rfind(|line| line.starts_with("STOR ")).unwrap()
}

/// Checks that no absolute path and no CWD was sent.
#[track_caller]
fn assert_relative(server: &Server) {
    let lines = server.lines();
    let is_absolute = |line: &&String| line.contains(" /") || line.starts_with("CWD");
    assert_eq!(lines.iter().find(is_absolute), None, "{lines:?}");
}

#[track_caller]
fn assert_names_login_folder(failure: &Failure) {
    assert_eq!(failure.kind, FailureKind::Unsupported, "{failure}");
    for reply in ["(PWD)", "`login_folder`"] {
        assert!(failure.message.contains(reply), "{failure}");
    }
}

#[tokio::test]
async fn an_absolute_path_in_the_pwd_reply_is_the_home() {
    for pwd in [
        &b"257 \"/home/x\" is the current directory\r\n"[..],
        b"257 /home/x\r\n",
        b"257 /home/x is current directory.\r\n",
        b"257-\"/home/x\"\r\n257 that is all\r\n",
        b"250 \"/home/x\"\r\n",
    ] {
        let server = Server::start(&[], oddities(pwd)).await;
        let session = server.session().await;
        assert_eq!(session.home(), Home::At(path(HOME)), "{}", String::from_utf8_lossy(pwd));
        let name = session.home().path().to_string() + "/name";
        upload(&*session, &name).await.unwrap();
        assert_eq!(stored(&server), "STOR /home/x/name");
        assert!(server.file("/home/x/name").is_some());
    }
}

#[tokio::test]
async fn without_an_absolute_path_in_the_pwd_reply_names_are_relative() {
    for pwd in [
        &b"257 \"C:\\home\\x\"\r\n"[..],
        b"257 'USER.DATA.'\r\n",
        b"257 \"'USER.DATA.'\" is the working directory\r\n",
        b"257 \"home/x\"\r\n",
        b"257 \"/home/a\"b\" is current\r\n",
        b"257 \"/home/m\xff\xffller\"\r\n",
        b"257 you are at home\r\n",
        b"500 what?\r\n",
        b"502 not here\r\n",
        b"550 not for you\r\n",
    ] {
        let server = Server::start(&[], oddities(pwd)).await;
        let session = server.session().await;
        assert_eq!(session.home(), Home::Unknown, "{}", String::from_utf8_lossy(pwd));
        upload(&*session, "/name").await.unwrap();
        assert_eq!(stored(&server), "STOR name");
        assert!(server.file("/home/x/name").is_some(), "{:?}", server.lines());
        assert_relative(&server);
        // No login was repeated.
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn a_login_succeeds_without_a_reply_to_pwd() {
    let server = Server::start(&[], oddities(b"")).await;
    let session = server.backend_with(|settings| settings.reply_timeout = Duration::from_secs(4));
    let session = login(&session).await;
    assert_eq!(session.home(), Home::Unknown);
    upload(&*session, "/name").await.unwrap();
    assert!(server.file("/home/x/name").is_some());
}

#[tokio::test]
async fn login_folder_overrides_the_pwd_reply() {
    for pwd in [&b"257 \"/elsewhere\"\r\n"[..], b"502 not here\r\n"] {
        let server = Server::start(&[], oddities(pwd)).await;
        let backend = server.backend_with(|settings| settings.login_folder = Some(path(HOME)));
        let session = login(&backend).await;
        assert_eq!(session.home(), Home::At(path(HOME)));
        perform(&*session, Operation::Enter(path("/home/x/in"))).await.unwrap();
        assert_eq!(server.lines().last().unwrap(), "CWD /home/x/in");
    }
}

#[tokio::test]
async fn a_session_below_a_configured_root_has_absolute_paths() {
    let server = Server::start(&[("/srv/a", b"1")], oddities(b"502 not here\r\n")).await;
    let origin = Origin { rooted: true, ..Origin::ANY };
    let login = Login::Unverified(credentials());
    let session = server.backend().login(&login, origin).await.unwrap();
    assert_eq!(stat(&*session, "/srv/a").await.unwrap().attributes.size, Some(1));
    assert_eq!(server.lines().last().unwrap(), "MLST /srv/a");
}

#[tokio::test]
async fn all_operations_use_relative_names_on_every_connection() {
    let files: [(&str, &[u8]); 2] = [("/home/x/a", b"12345"), ("/home/x/in/b", b"1")];
    let server = Server::start(&files, oddities(b"502 not here\r\n")).await;
    server.seen().folders.insert("/home/x/in".into(), "/home/x/in".into());
    let backend = server.backend_with(|s| s.partial_uploads = PartialUploads::TemporaryName);
    let session = login(&backend).await;
    let session = &*session;

    assert_eq!(names(session, "/").await.unwrap(), ["a", "in"]);
    assert_eq!(names(session, "/in").await.unwrap(), ["b"]);
    perform(session, Operation::Enter(path("/"))).await.unwrap();
    perform(session, Operation::Enter(path("/in"))).await.unwrap();
    let refused = perform(session, Operation::Enter(path("/a"))).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::NotADirectory);
    let refused = perform(session, Operation::Enter(path("/none"))).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::NotFound);
    upload(session, "/in/new").await.unwrap();
    assert!(server.file("/home/x/in/new").is_some());
    perform(session, Operation::Size(path("/a"), Representation::Image)).await.unwrap();
    for onto in [Onto::AsBackend, Onto::Refused, Onto::Replaced] {
        for (from, to) in [("/a", "/in/a"), ("/in/a", "/a")] {
            let rename = Operation::Rename { from: path(from), to: path(to), onto };
            perform(session, rename).await.unwrap();
        }
    }
    let changes =
        Changes { modified: Some(1_000_000_000), permissions: Some(0o600), ..Changes::default() };
    let attributes = Operation::SetAttributes { path: path("/a"), changes, follow: true };
    perform(session, attributes).await.unwrap();
    let made = Operation::MakeDirectory { path: path("/in/sub"), permissions: None };
    perform(session, made).await.unwrap();
    assert!(server.seen().folders.contains_key("/home/x/in/sub"));
    perform(session, Operation::RemoveDirectory(path("/in/sub"))).await.unwrap();
    perform(session, Operation::Remove(path("/in/new"))).await.unwrap();
    assert!(server.file("/home/x/in/new").is_none());

    // Two open files take two connections.
    let first = open(session, "/a", reading()).await.unwrap();
    let second = open(session, "/in/b", reading()).await.unwrap();
    assert_eq!(first.read_at(0, 2).await.unwrap().unwrap(), "12");
    assert_eq!(second.read_at(0, 2).await.unwrap().unwrap(), "1");
    assert_eq!(server.seen().connections, 2);
    assert_relative(&server);
}

#[tokio::test]
async fn a_relative_name_that_looks_like_an_option_is_escaped() {
    let files: [(&str, &[u8]); 1] = [("/home/x/-a", b"12345")];
    let server = Server::start(&files, oddities(b"502 not here\r\n")).await;
    let session = server.session().await;
    assert_eq!(stat(&*session, "/-a").await.unwrap().attributes.size, Some(5));
    upload(&*session, "/ b").await.unwrap();
    assert_eq!(stored(&server), "STOR ./ b");
    assert!(server.file("/home/x/ b").is_some());
}

#[tokio::test]
async fn without_mlst_folders_are_found_and_listed_by_list() {
    let files: [(&str, &[u8]); 2] = [("/home/x/a", b"12345"), ("/home/x/in/deep/b", b"1")];
    let oddities = Oddities { no_mlst: true, ..oddities(b"502 not here\r\n") };
    let server = Server::start(&files, oddities).await;
    for folder in ["/home/x/in", "/home/x/in/deep", "/home/x/a b"] {
        server.seen().folders.insert(folder.into(), folder.into());
    }
    server.seen().links.insert("/home/x/link".into(), "/home/x/in".into());
    let session = server.session().await;
    let session = &*session;
    assert_eq!(names(session, "/").await.unwrap(), ["a", "a b", "in", "link"]);
    assert_eq!(names(session, "/in/deep").await.unwrap(), ["b"]);
    perform(session, Operation::Enter(path("/in/deep"))).await.unwrap();
    let stat_of = async |name| stat(session, name).await.map(|entry| entry.kind);
    assert_eq!(stat_of("/in/deep").await.unwrap(), EntryKind::Directory);
    assert_eq!(stat_of("/in/deep/b").await.unwrap(), EntryKind::File);
    assert_eq!(stat_of("/in/none").await.unwrap_err().kind, FailureKind::NotFound);
    for (name, kind) in [
        ("/a", FailureKind::NotADirectory),
        ("/none", FailureKind::NotFound),
        ("/a/b", FailureKind::NotADirectory),
    ] {
        let change_directory = perform(session, Operation::Enter(path(name))).await.unwrap_err();
        let list = names(session, name).await.unwrap_err();
        assert_eq!(
            (change_directory.kind, list.kind),
            (kind, kind),
            "{name}: {change_directory}, {list}"
        );
    }
    // LIST of a file would show the file.
    assert!(!server.lines().iter().any(|line| line == "LIST a" || line == "LIST -a a"));
    assert_names_login_folder(
        &perform(session, Operation::Enter(path("/link"))).await.unwrap_err(),
    );
    assert_names_login_folder(&names(session, "/a b").await.unwrap_err());
    assert_relative(&server);
}

#[tokio::test]
async fn operations_that_need_cwd_are_refused_without_a_home() {
    let server = Server::start(&[], oddities(b"502 not here\r\n")).await;
    server.seen().folders.insert("/home/x/in".into(), "/home/x/in".into());
    let session = server.session().await;
    let unique = write(&*session, "/in", WriteMode::Unique).await;
    assert_names_login_folder(&unique.unwrap_err());
    assert_eq!(server.count("STOU"), 0);
    // The server is in this folder.
    write(&*session, "/", WriteMode::Unique).await.unwrap();
    assert_eq!(server.count("STOU"), 1);
    // The login folder has no relative name.
    let made = Operation::MakeDirectory { path: path("/"), permissions: None };
    assert_names_login_folder(&perform(&*session, made).await.unwrap_err());
    assert_relative(&server);
}

#[tokio::test]
async fn a_relative_path_is_cached() {
    let files: [(&str, &[u8]); 1] = [("/home/x/a", b"12345")];
    let server = Server::start(&files, oddities(b"502 not here\r\n")).await;
    let session = server.session().await;
    for _ in 0..2 {
        let Attributes { size, .. } = stat(&*session, "/a").await.unwrap().attributes;
        assert_eq!(size, Some(5));
    }
    assert_eq!(server.count("MLST"), 1);
}
