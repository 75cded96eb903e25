mod drop_box;
mod links;
mod listings;
mod login_folder;
mod overwrites;
mod passive;
mod permissions;
mod refused_commands;
mod resumes;
mod surplus;
mod times;
mod uploads;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::testing::{Oddities, Server, login};
use super::*;
use crate::backend::PartialUploads;
use crate::op::{
    Action, Changes, FailureKind, ListDirectory, Onto, OpenHandle, OpenMode, ReadFile,
    Representation, WriteFile,
};

fn path(text: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), text.as_bytes()).expect("a path")
}

fn target<A: Action>(action: A) -> Target<A> {
    Target::for_test(action)
}

fn reading() -> OpenMode {
    OpenMode { read: true, ..OpenMode::default() }
}

/// What `sftp put` and most clients open for an upload.
fn replacing() -> OpenMode {
    OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() }
}

/// What is there is gone on with.
fn continuing() -> OpenMode {
    OpenMode { write: true, create: true, ..OpenMode::default() }
}

async fn open(
    session: &dyn BackendSession,
    name: &str,
    mode: OpenMode,
) -> Result<Arc<dyn OpenFile>, Failure> {
    session.open(&target(OpenHandle { path: path(name), mode })).await
}

async fn stat(session: &dyn BackendSession, name: &str) -> Result<Entry, Failure> {
    match session.perform(&target(Operation::Stat(path(name)))).await? {
        Answer::Entry(entry) => Ok(entry),
        other => panic!("{other:?}"),
    }
}

async fn perform(session: &dyn BackendSession, operation: Operation) -> Result<Answer, Failure> {
    session.perform(&target(operation)).await
}

/// As OpenSSH's sftp does: 64 requests of 32 KiB under way.
async fn get(file: &dyn OpenFile) -> Result<Vec<u8>, Failure> {
    const BLOCK: u32 = 32 * 1024;
    let mut bytes = Vec::new();
    loop {
        let at = bytes.len() as u64;
        let reads = (0..64).map(|i| file.read_at(at + i * u64::from(BLOCK), BLOCK));
        for read in join_all(reads).await {
            match read? {
                Some(read) => bytes.extend(read),
                None => return Ok(bytes),
            }
        }
    }
}

async fn put(file: &dyn OpenFile, bytes: &[u8]) -> Result<(), Failure> {
    let blocks = bytes.chunks(32 * 1024).enumerate();
    let writes =
        blocks.map(|(i, block)| file.write_at(i as u64 * 32 * 1024, Bytes::copy_from_slice(block)));
    for written in join_all(writes).await {
        written?;
    }
    Ok(())
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 257) as u8).collect()
}

#[tokio::test]
async fn a_login_takes_three_round_trips() {
    let server = Server::start(&[], Oddities::default()).await;
    let _session = server.session().await;
    assert_eq!(
        server.lines(),
        ["USER user", "PASS password", "FEAT", "OPTS UTF8 ON", "PWD", "TYPE I"]
    );
    // The last one is what the server waits for now.
    assert_eq!(server.take_rounds().await - 1, 3);
}

#[tokio::test]
async fn a_server_that_drops_what_is_sent_at_once_is_asked_one_by_one() {
    let server =
        Server::start(&[("/a", b"1")], Oddities { drops_pipelined: true, ..Default::default() })
            .await;
    let backend = server.backend();
    let session = login(&backend).await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(1));
    assert_eq!(server.seen().connections, 2);
    // That is remembered.
    login(&backend).await;
    assert_eq!(server.seen().connections, 3);
}

/// What a whole transfer costs, `open` to `close`.
async fn rounds(server: &Server, session: &dyn BackendSession, put_bytes: Option<&[u8]>) -> usize {
    server.take_rounds().await;
    match put_bytes {
        Some(bytes) => {
            let file = open(session, "/new", replacing()).await.unwrap();
            put(&*file, bytes).await.unwrap();
            file.close().await.unwrap();
        }
        None => {
            let file = open(session, "/a", reading()).await.unwrap();
            assert_eq!(get(&*file).await.unwrap(), server.file("/a").unwrap());
            file.close().await.unwrap();
        }
    }
    // The wait for the first command was counted before, the one for the next is now.
    server.take_rounds().await
}

#[tokio::test]
async fn small_files_take_two_and_three_round_trips() {
    let server = Server::start(&[("/a", &bytes(4096))], Oddities::default()).await;
    let session = server.session().await;
    // Once for each server, it is looked whether more comes behind an upload's end than there should.
    assert_eq!(rounds(&server, &*session, Some(&bytes(1))).await, 4);
    for _ in 0..3 {
        assert_eq!(rounds(&server, &*session, None).await, 2);
        assert_eq!(rounds(&server, &*session, Some(&bytes(4096))).await, 3);
        assert_eq!(server.file("/new").unwrap(), bytes(4096));
    }
    assert_eq!(server.seen().connections, 1);
    // FTP clients' transfers are the same.
    assert_eq!(downloaded(&*session).await, bytes(4096));
    assert_eq!(server.take_rounds().await, 2);
}

/// As the front says it, and the server's answer is there.
async fn expected_transfer(server: &Server, session: &dyn BackendSession) {
    let ports = server.count("EPSV");
    session.expect_transfer();
    while server.count("EPSV") == ports {
        tokio::task::yield_now().await;
    }
    server.at_rest().await;
}

async fn downloaded(session: &dyn BackendSession) -> Vec<u8> {
    let read = ReadFile { path: path("/a"), offset: 0, representation: Representation::Image };
    let mut transfer = session.open_read(&target(read)).await.unwrap();
    let crate::data::Source::Socket(stream) = transfer.source() else { panic!("no socket") };
    let mut all = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(stream, &mut all).await.unwrap();
    transfer.finish().await.unwrap();
    all
}

#[tokio::test]
async fn a_transfer_that_was_expected_takes_one_round_trip() {
    let server = Server::start(&[("/a", &bytes(4096))], Oddities::default()).await;
    let session = server.session().await;
    for transfers in 1..4 {
        expected_transfer(&server, &*session).await;
        server.take_rounds().await;
        assert_eq!(downloaded(&*session).await, bytes(4096));
        assert_eq!(server.take_rounds().await, 1);
        assert_eq!(server.count("EPSV"), transfers);
    }
    // Whoever is not patient waits for the port only.
    session.expect_transfer();
    assert_eq!(downloaded(&*session).await, bytes(4096));
    assert_eq!((server.count("EPSV"), server.seen().connections), (4, 1));
}

#[tokio::test]
async fn a_transfer_that_was_expected_asks_again_where_its_connection_is_gone() {
    let odd = Oddities { drops_ports: 1, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(4096))], odd).await;
    let session = server.session().await;
    for ports in [2, 3] {
        if ports == 2 {
            expected_transfer(&server, &*session).await;
        }
        assert_eq!(downloaded(&*session).await, bytes(4096));
        assert_eq!((server.count("EPSV"), server.count("RETR")), (ports, ports - 1));
    }
    // Nor does a port that nobody listens at harm what comes next.
    let server =
        Server::start(&[("/a", b"")], Oddities { dead_ports: true, ..Default::default() }).await;
    let session = server.session().await;
    expected_transfer(&server, &*session).await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(0));
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_server_that_takes_no_connection_from_before_gets_another() {
    let odd = Oddities { refuses_transfers: 1, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(4096))], odd).await;
    let session = server.session().await;
    expected_transfer(&server, &*session).await;
    assert_eq!(downloaded(&*session).await, bytes(4096));
    assert_eq!((server.count("EPSV"), server.count("RETR")), (2, 2));
}

#[tokio::test]
async fn a_distant_server_hears_the_command_while_an_expected_connection_is_made() {
    let odd = Oddities { distant: true, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(4096))], odd).await;
    let session = server.session().await;
    expected_transfer(&server, &*session).await;
    assert_eq!(downloaded(&*session).await, bytes(4096));
    assert_eq!((server.count("EPSV"), server.seen().queue_budget), (1, 1));
}

#[tokio::test]
async fn nothing_is_asked_for_a_transfer_beside_another_or_in_active_mode() {
    let server = Server::start(&[("/a", &bytes(10))], Oddities::default()).await;
    let session = server.session().await;
    let read = ReadFile { path: path("/a"), offset: 0, representation: Representation::Image };
    let transfer = session.open_read(&target(read)).await.unwrap();
    let asked = server.lines().len();
    session.expect_transfer();
    let active = login(&server.backend_with(|s| s.data_mode = DataMode::Active)).await;
    let logged_in = server.lines().len();
    active.expect_transfer();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.lines().len(), logged_in);
    assert!(!server.lines()[asked..].iter().any(|line| line == "EPSV"));
    drop(transfer);
}
#[tokio::test]
async fn a_large_file_comes_and_goes_whole() {
    let content = bytes(20_000_000);
    let server = Server::start(&[("/a", &content)], Oddities::default()).await;
    let session = server.session().await;
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert!(get(&*file).await.unwrap() == content);
    file.close().await.unwrap();
    assert_eq!((server.count("RETR"), server.count("REST")), (1, 0));
    let file = open(&*session, "/new", replacing()).await.unwrap();
    put(&*file, &content).await.unwrap();
    file.close().await.unwrap();
    assert!(server.file("/new").unwrap() == content);
    assert_eq!((server.count("STOR"), server.count("APPE")), (1, 0));
    // A seek.
    let file = open(&*session, "/a", reading()).await.unwrap();
    let read = file.read_at(15_000_000, 1000).await.unwrap().unwrap();
    assert!(read == content[15_000_000..15_001_000]);
    assert_eq!(server.count("REST"), 1);
    file.close().await.unwrap();
}

#[tokio::test]
async fn a_server_without_patience_gets_its_connection_first() {
    let odd = Oddities { distant: true, impatient: true, ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], odd).await;
    let session = server.session().await;
    for transfers in [2, 3] {
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(get(&*file).await.unwrap(), b"bytes");
        file.close().await.unwrap();
        assert_eq!(server.count("RETR"), transfers);
    }
    assert_eq!(server.seen().connections, 1);
    assert_eq!(server.seen().queue_budget, 1);
}

#[tokio::test]
async fn a_distant_server_hears_the_command_while_the_data_connection_is_made() {
    let odd = Oddities { distant: true, ..Default::default() };
    let server = Server::start(&[("/a", &bytes(300_000))], odd).await;
    let session = server.session().await;
    // A refusal comes then, too, and leaves both sides in step.
    let refused = open(&*session, "/absent", reading()).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::NotFound);
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert!(get(&*file).await.unwrap() == bytes(300_000));
    file.close().await.unwrap();
    let file = open(&*session, "/new", replacing()).await.unwrap();
    put(&*file, &bytes(100_000)).await.unwrap();
    file.close().await.unwrap();
    assert!(server.file("/new").unwrap() == bytes(100_000));
    assert_eq!(server.seen().queue_budget, 3);
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_distant_server_whose_data_connection_is_never_made() {
    let odd = Oddities { distant: true, dead_ports: true, ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], odd).await;
    let backend = server.backend_with(|settings| {
        settings.connect_timeout = Duration::from_millis(500);
    });
    let session = login(&backend).await;
    let refused = open(&*session, "/a", reading()).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::DataConnection, "{refused}");
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(5));
}

#[tokio::test]
async fn a_refused_transfer_leaves_both_in_step() {
    let server = Server::start(&[("/a", b"bytes")], Oddities::default()).await;
    let session = server.session().await;
    for _ in 0..3 {
        let refused = open(&*session, "/absent", reading()).await.err().expect("a refusal");
        assert_eq!(refused.kind, FailureKind::NotFound);
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(get(&*file).await.unwrap(), b"bytes");
        file.close().await.unwrap();
    }
    assert_eq!(server.seen().connections, 1);
}

#[tokio::test]
async fn a_data_connection_that_cannot_be_made_is_told_and_the_session_goes_on() {
    let odd = Oddities { dead_ports: true, ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], odd).await;
    let session = server.session().await;
    let refused = open(&*session, "/a", reading()).await.err().expect("a refusal");
    assert_eq!(refused.kind, FailureKind::DataConnection, "{refused}");
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(5));
}

#[tokio::test]
async fn a_cut_download_never_ends_as_a_whole_one() {
    for last in ["426 cut", "451 the disk is gone", "550 gone"] {
        let odd = Oddities { cuts_at: Some((100_000, last)), ..Default::default() };
        let server = Server::start(&[("/a", &bytes(300_000))], odd).await;
        let session = server.session().await;
        let file = open(&*session, "/a", reading()).await.unwrap();
        let failure = get(&*file).await.unwrap_err();
        assert!(failure.message.contains(last), "{failure}");
        assert!(file.read_at(300_000, 10).await.is_err());
        file.close().await.unwrap();
        // The connection is in step.
        stat(&*session, "/a").await.unwrap();
        assert_eq!(server.seen().connections, 1);
    }
}

#[tokio::test]
async fn a_connection_that_dies_takes_only_its_own_transfer_along() {
    let odd = Oddities { dies_at: Some(100_000), ..Default::default() };
    let server = Server::start(&[("/a", &bytes(300_000)), ("/b", b"b")], odd).await;
    let session = server.session().await;
    let writing = open(&*session, "/new", replacing()).await.unwrap();
    let file = open(&*session, "/a", reading()).await.unwrap();
    let failure = get(&*file).await.unwrap_err();
    assert_ne!(failure.kind, FailureKind::Unavailable, "{failure}");
    file.close().await.unwrap();
    put(&*writing, &bytes(50_000)).await.unwrap();
    writing.close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), bytes(50_000));
    assert_eq!(stat(&*session, "/b").await.unwrap().attributes.size, Some(1));
}

#[tokio::test]
async fn each_open_file_has_its_own_connection_up_to_the_cap() {
    let content = bytes(200_000);
    let server = Server::start(&[("/a", &content), ("/b", &content)], Oddities::default()).await;
    let session = login(&server.backend_with(|settings| settings.connections = 2)).await;
    let write = open(&*session, "/new", replacing()).await.unwrap();
    let other = open(&*session, "/other", replacing()).await.unwrap();
    let busy = open(&*session, "/c", replacing()).await.err().expect("too many");
    assert_eq!(busy.kind, FailureKind::Busy, "{busy}");
    other.close().await.unwrap();
    let read = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(read.read_at(0, 10).await.unwrap().unwrap(), content[..10]);
    // At the cap an open file has no size rather than a wrong one.
    assert_eq!(read.stat().await.unwrap().attributes.size, None);
    put(&*write, &content).await.unwrap();
    assert_eq!(write.stat().await.unwrap().attributes.size, Some(200_000));
    write.close().await.unwrap();
    assert_eq!(read.stat().await.unwrap().attributes.size, Some(200_000));
    assert!(get(&*read).await.unwrap() == content);
    read.close().await.unwrap();
    assert_eq!(server.seen().connections, 2);
    session.close().await;
    server.until(|seen| seen.open == 0).await;
}

#[tokio::test]
async fn a_server_that_admits_no_further_connection_ends_nothing() {
    let odd = Oddities { most: Some(1), ..Default::default() };
    let server = Server::start(&[("/a", b"bytes")], odd).await;
    let session = server.session().await;
    let write = open(&*session, "/new", replacing()).await.unwrap();
    let busy = open(&*session, "/a", reading()).await.err().expect("too many");
    assert_eq!(busy.kind, FailureKind::Busy, "{busy}");
    put(&*write, b"new").await.unwrap();
    write.close().await.unwrap();
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(get(&*file).await.unwrap(), b"bytes");
}

#[tokio::test]
async fn a_refused_upload_is_the_failure_of_its_close() {
    for refusal in ["552 no space left", "451 the disk is gone"] {
        let odd = Oddities { refuses_uploads: Some(refusal), ..Default::default() };
        let server = Server::start(&[], odd).await;
        let session = login(
            &server.backend_with(|settings| settings.partial_uploads = PartialUploads::Delete),
        )
        .await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, &bytes(1000)).await.unwrap();
        assert!(file.close().await.unwrap_err().message.contains(refusal));
        assert_eq!(server.file("/new"), None, "the part is deleted");
    }
}

#[tokio::test]
async fn what_becomes_of_a_cut_upload_is_as_configured() {
    for (policy, left) in [
        (PartialUploads::Keep, vec!["/new"]),
        (PartialUploads::Delete, vec![]),
        (PartialUploads::TemporaryName, vec![".part"]),
    ] {
        for drops in [false, true] {
            let server = Server::start(&[], Oddities::default()).await;
            let session =
                login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
            let file = open(&*session, "/new", replacing()).await.unwrap();
            put(&*file, &bytes(100_000)).await.unwrap();
            if drops {
                drop(file);
            } else {
                file.abort().await;
            }
            // Bounded by the patience of the next operation.
            perform(&*session, Operation::Enter(path("/"))).await.unwrap();
            server.at_rest().await;
            if policy == PartialUploads::Delete {
                server.until(|seen| !seen.files.contains_key("/new")).await;
            }
            let files: Vec<String> = server.seen().files.keys().cloned().collect();
            assert_eq!(files.len(), left.len(), "{policy:?} {files:?}");
            assert!(files.iter().zip(&left).all(|(file, end)| file.ends_with(end)), "{files:?}");
        }
    }
}

#[tokio::test]
async fn a_temporary_name_is_given_up_at_the_close() {
    for never_replaces in [false, true] {
        let odd = Oddities { never_replaces, ..Default::default() };
        let server = Server::start(&[("/new", b"old")], odd).await;
        let policy = PartialUploads::TemporaryName;
        let session =
            login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, b"new bytes").await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"old");
        file.set_attributes(&Changes::permissions(0o600)).await.unwrap();
        assert_eq!(server.count("SITE"), 0);
        file.close().await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"new bytes");
        assert_eq!(server.seen().files.len(), 1);
        assert!(server.lines().contains(&"SITE CHMOD 600 /new".to_owned()));
    }
}
#[tokio::test]
async fn modes_are_kept_as_far_as_ftp_can() {
    let server = Server::start(&[("/a", b"bytes")], Oddities::default()).await;
    let session = server.session().await;
    let kind = async |name: &str, mode: OpenMode| {
        open(&*session, name, mode).await.err().map(|failure| failure.kind)
    };
    let write = OpenMode { write: true, ..OpenMode::default() };
    let exclusive = OpenMode { exclusive: true, ..replacing() };
    let append = OpenMode { append: true, create: true, ..write };
    assert_eq!(kind("/absent", write).await, Some(FailureKind::NotFound));
    assert_eq!(
        kind("/absent", OpenMode { append: true, ..write }).await,
        Some(FailureKind::NotFound)
    );
    assert_eq!(kind("/a", exclusive).await, Some(FailureKind::AlreadyExists));
    assert_eq!(server.file("/a").unwrap(), b"bytes");
    assert_eq!(kind("/", reading()).await, Some(FailureKind::IsADirectory));

    let file = open(&*session, "/b", exclusive).await.unwrap();
    put(&*file, b"new").await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/b").unwrap(), b"new");

    let file = open(&*session, "/a", append).await.unwrap();
    file.write_at(0, Bytes::from_static(b" more")).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"bytes more");

    // sshfs: emptied through the handle, then written.
    let file = open(&*session, "/a", write).await.unwrap();
    file.set_attributes(&Changes { size: Some(0), ..Changes::default() }).await.unwrap();
    put(&*file, b"anew").await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"anew");

    // A file that is only made.
    let file = open(&*session, "/empty", continuing()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/empty").unwrap(), b"");
    let file = open(&*session, "/a", continuing()).await.unwrap();
    file.close().await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"anew");
}

#[tokio::test]
async fn a_path_is_truncated_to_nothing_only() {
    let server = Server::start(&[("/a", b"bytes")], Oddities::default()).await;
    let session = server.session().await;
    let truncate = async |size| {
        let changes = Changes { size: Some(size), ..Changes::default() };
        perform(&*session, Operation::SetAttributes { path: path("/a"), changes, follow: true })
            .await
    };
    assert_eq!(truncate(3).await.unwrap_err().kind, FailureKind::Unsupported);
    truncate(5).await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"bytes");
    truncate(0).await.unwrap();
    assert_eq!(server.file("/a").unwrap(), b"");
}

#[tokio::test]
async fn renames_replace_or_refuse_as_asked() {
    for never_replaces in [false, true] {
        let odd = Oddities { never_replaces, ..Default::default() };
        let server = Server::start(&[("/a", b"a"), ("/b", b"b")], odd).await;
        let session = server.session().await;
        let rename = async |from: &str, to: &str, onto| {
            let operation = Operation::Rename { from: path(from), to: path(to), onto };
            perform(&*session, operation).await.map_err(|failure| failure.kind)
        };
        assert_eq!(
            rename("/a", "/b", Onto::Refused).await.unwrap_err(),
            FailureKind::AlreadyExists
        );
        assert_eq!(server.file("/b").unwrap(), b"b");
        assert_eq!(rename("/x", "/b", Onto::Replaced).await.unwrap_err(), FailureKind::NotFound);
        assert_eq!(server.file("/b").unwrap(), b"b");
        rename("/a", "/b", Onto::Replaced).await.unwrap();
        assert_eq!(server.seen().files.len(), 1);
        assert_eq!(server.file("/b").unwrap(), b"a");
        rename("/b", "/c", Onto::Refused).await.unwrap();
        assert_eq!(server.file("/c").unwrap(), b"a");
    }
}

#[tokio::test]
async fn a_file_put_aside_is_put_back_over_a_new_login() {
    let odd = Oddities { never_replaces: true, dies_renaming_to: Some("/b"), ..Default::default() };
    let server = Server::start(&[("/a", b"a"), ("/b", b"b")], odd).await;
    let session = server.session().await;
    let rename = Operation::Rename { from: path("/a"), to: path("/b"), onto: Onto::Replaced };
    perform(&*session, rename).await.unwrap_err();
    assert_eq!(server.file("/a").unwrap(), b"a");
    assert_eq!(server.file("/b").unwrap(), b"b");
    assert_eq!(server.seen().connections, 2);
}

#[tokio::test]
async fn what_ftp_has_not_is_refused() {
    let server = Server::start(&[("/a", b"a")], Oddities::default()).await;
    let session = server.session().await;
    for operation in [
        Operation::ReadLink(path("/a")),
        Operation::Symlink { target: b"a".to_vec(), link: path("/l") },
        Operation::HardLink { from: path("/a"), to: path("/l") },
        Operation::FileSystem(path("/")),
        Operation::AccountNames { users: vec![0], groups: vec![0] },
    ] {
        let refused = perform(&*session, operation).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Unsupported);
        assert!(refused.message.contains("FTP"), "{refused}");
    }
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(file.file_system().await.unwrap_err().kind, FailureKind::Unsupported);
}
#[tokio::test]
async fn a_cut_behind_an_fsync_is_a_cut() {
    for (policy, left) in [
        (PartialUploads::Keep, vec!["/new"]),
        (PartialUploads::Delete, vec![]),
        (PartialUploads::TemporaryName, vec![".part", "/new"]),
    ] {
        for more in [false, true] {
            let files: &[(&str, &[u8])] = match policy {
                PartialUploads::TemporaryName => &[("/new", b"the old one")],
                _ => &[],
            };
            let server = Server::start(files, Oddities::default()).await;
            let session =
                login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
            let file = open(&*session, "/new", replacing()).await.unwrap();
            put(&*file, &bytes(100_000)).await.unwrap();
            file.sync().await.unwrap();
            assert_eq!(file.stat().await.unwrap().attributes.size, Some(100_000));
            if more {
                file.write_at(100_000, Bytes::from_static(b"more")).await.unwrap();
            }
            file.abort().await;
            let files: Vec<String> = server.seen().files.keys().cloned().collect();
            assert_eq!(files.len(), left.len(), "{policy:?} {more} {files:?}");
            assert!(files.iter().zip(&left).all(|(file, end)| file.ends_with(end)), "{files:?}");
            if policy == PartialUploads::TemporaryName {
                assert_eq!(server.file("/new").unwrap(), b"the old one");
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_was_synced_gets_its_name_at_the_close() {
    for more in [false, true] {
        let server = Server::start(&[("/new", b"old")], Oddities::default()).await;
        let policy = PartialUploads::TemporaryName;
        let session =
            login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, b"synced").await.unwrap();
        file.sync().await.unwrap();
        file.set_attributes(&Changes::permissions(0o600)).await.unwrap();
        if more {
            file.write_at(6, Bytes::from_static(b" more")).await.unwrap();
        }
        file.close().await.unwrap();
        let expected: &[u8] = if more { b"synced more" } else { b"synced" };
        assert_eq!(server.file("/new").unwrap(), expected);
        assert_eq!(server.seen().files.len(), 1);
        assert!(server.lines().contains(&"SITE CHMOD 600 /new".to_owned()));
    }
}

#[tokio::test]
async fn only_an_own_part_is_deleted() {
    // The old file is there until the end, or somebody has stored the file whole meanwhile.
    for comes_back in [false, true] {
        let odd = Oddities { switches_at_the_end: true, ..Default::default() };
        let server = Server::start(&[("/new", b"the old one")], odd).await;
        let policy = PartialUploads::Delete;
        let session =
            login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
        let file = open(&*session, "/new", replacing()).await.unwrap();
        put(&*file, &bytes(1000)).await.unwrap();
        if comes_back {
            server.seen().files.insert("/new".into(), bytes(5000));
        }
        file.abort().await;
        let expected = if comes_back { bytes(5000) } else { b"the old one".to_vec() };
        assert_eq!(server.file("/new"), Some(expected));
    }
    // The same for FTP clients, who are counted elsewhere.
    let odd = Oddities { switches_at_the_end: true, ..Default::default() };
    let server = Server::start(&[], odd).await;
    let policy = PartialUploads::Delete;
    let session = login(&server.backend_with(|settings| settings.partial_uploads = policy)).await;
    let write = WriteFile {
        path: path("/new"),
        mode: crate::op::WriteMode::From { offset: 0 },
        representation: Representation::Image,
    };
    let mut transfer = session.open_write(&target(write)).await.unwrap();
    server.seen().files.insert("/new".into(), bytes(5000));
    transfer.sent(1000);
    transfer.abort().await;
    assert_eq!(server.file("/new"), Some(bytes(5000)));
}

#[tokio::test]
async fn an_open_file_tells_what_others_have_changed() {
    let server = Server::start(&[("/a", b"four")], Oddities::default()).await;
    let session = server.session().await;
    assert_eq!(stat(&*session, "/a").await.unwrap().attributes.size, Some(4));
    let file = open(&*session, "/a", reading()).await.unwrap();
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(4));
    server.seen().files.insert("/a".into(), bytes(10));
    perform(&*session, Operation::Remove(path("/b"))).await.unwrap_err();
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(10));
    // A reader at the end who waits for more.
    get(&*file).await.unwrap();
    server.seen().files.insert("/a".into(), bytes(20));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let entry = file.stat().await.unwrap();
    assert_eq!(entry.attributes.size, Some(20));
    assert!(entry.attributes.modified.is_some());
}

#[tokio::test]
async fn a_question_aside_does_not_log_in_again_and_again() {
    let odd = Oddities { most: Some(1), ..Default::default() };
    let server = Server::start(&[("/a", &bytes(5_000_000))], odd).await;
    let session = server.session().await;
    let file = open(&*session, "/a", reading()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(file.stat().await.unwrap().attributes.size, None);
    }
    assert_eq!(server.count("USER"), 2);
    let write = open(&*session, "/new", replacing()).await;
    assert!(write.is_err());
    let users = server.count("USER");
    file.set_attributes(&Changes::permissions(0o600)).await.ok();
    assert!(server.count("USER") <= users + 1);
}

#[tokio::test]
async fn files_that_nobody_reads_are_no_hindrance() {
    let content = bytes(5_000_000);
    let server = Server::start(&[("/a", &content)], Oddities::default()).await;
    let session = login(&server.backend_with(|settings| settings.connections = 2)).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap(), content[..1000]);
        files.push(file);
    }
    let asked = std::time::Instant::now();
    perform(&*session, Operation::Size(path("/a"), Representation::Image)).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    for file in files {
        assert_eq!(file.read_at(1000, 1000).await.unwrap().unwrap(), content[1000..2000]);
        file.close().await.unwrap();
    }
}

/// Both ends of a TLS connection.
async fn tls_pair() -> (crate::net::Stream, crate::net::Stream) {
    use crate::net::tls::{ClientTls, Direction, ServerCertificate, ServerTls, SessionReuse};
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = ServerTls::new(ServerCertificate::load(&certificate, &key).unwrap()).unwrap();
    let client = ClientTls::new("localhost", None, false, SessionReuse::None).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let control = server.control_session();
    let (near, far) = tokio::join!(
        client.connect_data(near),
        control.accept_data((far, Vec::new()), std::time::Instant::now(), Direction::Upload)
    );
    (near.unwrap(), far.unwrap().0)
}

#[tokio::test]
async fn an_end_that_the_server_never_took_is_a_cut_whatever_it_says() {
    use crate::data::Sink;
    use tokio::io::AsyncWriteExt;
    let server = Server::start(&[], Oddities::default()).await;
    let backend =
        server.backend_with(|settings| settings.reply_timeout = Duration::from_millis(500));
    let (settings, shared) = (backend.settings.clone(), backend.shared.clone());
    let account = (&Arc::default(), testing::credentials());
    let pool = Pool::login(settings, shared, None, account, Origin::ANY).await.unwrap();
    let write_guard = Arc::<Cache>::default().write_guard();
    let mode = crate::op::WriteMode::From { offset: 0 };
    let guard = pool.acquire(OPEN_TIMEOUT).await.unwrap();
    let begun =
        upload::begin(guard, write_guard, &path("/new"), mode, Representation::Image, None).await;
    let mut write = Box::new(begun.unwrap());
    // Over TLS to somebody who stops reading; the server itself sees an end.
    let (mut near, _far) = tls_pair().await;
    near.reset_on_drop();
    while tokio::time::timeout(Duration::from_millis(200), near.write_all(&[7; 16 * 1024]))
        .await
        .is_ok()
    {}
    let Sink::Socket(plain) = std::mem::replace(write.sink(), Sink::Socket(near)) else {
        panic!("no socket")
    };
    plain.complete(Duration::from_secs(1)).await.unwrap();
    let failure = write.end(true).await.expect_err("the end was never sent");
    assert_eq!(failure.kind, FailureKind::TransferCut, "{failure}");
}

#[tokio::test]
async fn every_connection_says_for_whom_it_is_where_that_is_asked_for() {
    use crate::backend::SendProxyProtocol;
    use crate::wire::proxy::Header;
    let Origin { client: source, local: destination, .. } = Origin::ANY;
    let header = Header::Proxied { source, destination };
    for all in [true, false] {
        let odd = Oddities { proxied: all, proxied_control: !all, ..Oddities::default() };
        let files: &[(&str, &[u8])] = &[("/a", b"first"), ("/b", b"second")];
        let server = Server::start(files, odd).await;
        let backend = server.backend_with(|settings| {
            settings.send_proxy_protocol =
                if all { SendProxyProtocol::All } else { SendProxyProtocol::Control };
        });
        let session = login(&backend).await;
        // Two at once: the second has a control connection of its own.
        let first = open(&*session, "/a", reading()).await.unwrap();
        let second = open(&*session, "/b", reading()).await.unwrap();
        assert_eq!(second.read_at(0, 100).await.unwrap().unwrap(), &b"second"[..]);
        assert_eq!(first.read_at(0, 100).await.unwrap().unwrap(), &b"first"[..]);
        first.close().await.unwrap();
        second.close().await.unwrap();
        let upload = open(&*session, "/new", replacing()).await.unwrap();
        upload.write_at(0, Bytes::from_static(b"all of it")).await.unwrap();
        upload.close().await.unwrap();
        assert_eq!(server.file("/new").unwrap(), b"all of it");
        session.close().await;
        let seen = server.seen();
        let data = if all { 3 } else { 0 };
        assert!(seen.connections >= 2, "{}", seen.connections);
        assert_eq!(seen.headers, vec![header; seen.connections + data]);
    }
}

#[tokio::test]
async fn a_login_waits_until_the_server_has_greeted_the_one_before() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(&[], Oddities::default()).await;
    let address = listener.local_addr().unwrap().to_string();
    let backend = server.backend_with(|settings| {
        (settings.addresses, settings.connects_at_once) = (vec![address], 1);
    });
    let backend = Arc::new(backend);
    for _ in 0..2 {
        let backend = backend.clone();
        tokio::spawn(async move { login(&backend).await });
    }
    let (mut first, _) = listener.accept().await.unwrap();
    let queue_budget = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(queue_budget.is_err(), "both came at once");
    first.write_all(b"220 ready\r\n").await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await;
    second.expect("the second, too").unwrap();
}

async fn login_with(server: &Server, policy: PartialUploads) -> Box<dyn BackendSession> {
    login(&server.backend_with(|settings| settings.partial_uploads = policy)).await
}

/// All names of a folder.
async fn names(session: &dyn BackendSession, folder: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut listing = session.list(&target(ListDirectory { path: path(folder) })).await?;
    let mut names = Vec::new();
    while let Some(entries) = listing.next().await? {
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
    Ok(names)
}

#[tokio::test]
async fn a_folder_is_never_put_aside_for_a_file() {
    for no_mlst in [true, false] {
        let odd = Oddities { no_mlst, ..Default::default() };
        let server = Server::start(&[("/a", b"a")], odd).await;
        server.seen().folders.insert("/d".into(), "/d#0".into());
        let session = server.session().await;
        let (from, to) = (path("/a"), path("/d"));
        let rename = Operation::Rename { from, to, onto: Onto::Replaced };
        let refused = perform(&*session, rename).await.unwrap_err();
        assert!(refused.message.contains("Rename failed"), "{refused}");
        assert_eq!((server.count("RNFR"), server.count("RNTO")), (1, 1));
        assert_eq!(server.file("/a").unwrap(), b"a");
        assert_eq!(server.seen().folders["/d"], "/d#0");
    }
}

#[tokio::test]
async fn a_plain_rename_replaces_nothing_at_a_server_that_tells_little() {
    let odd = Oddities { no_mlst: true, no_size: true, ..Default::default() };
    let server = Server::start(&[("/a", b"a"), ("/b", b"b")], odd).await;
    let session = server.session().await;
    let rename = |to| Operation::Rename { from: path("/a"), to: path(to), onto: Onto::Refused };
    let refused = perform(&*session, rename("/b")).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::AlreadyExists, "{refused}");
    assert_eq!(
        (server.file("/a").unwrap(), server.file("/b").unwrap()),
        (b"a".into(), b"b".into())
    );
    perform(&*session, rename("/c")).await.unwrap();
    assert_eq!(server.file("/c").unwrap(), b"a");
}

#[tokio::test]
async fn a_cut_upload_does_not_delete_what_another_session_has_begun_since() {
    let server = Server::start(&[], Oddities::default()).await;
    let policy = PartialUploads::Delete;
    let backend = server.backend_with(|settings| settings.partial_uploads = policy);
    let (first, second) = (login(&backend).await, login(&backend).await);
    let cut = open(&*first, "/new", replacing()).await.unwrap();
    put(&*cut, &bytes(1000)).await.unwrap();
    let again = open(&*second, "/new", replacing()).await.unwrap();
    put(&*again, &bytes(10)).await.unwrap();
    cut.abort().await;
    perform(&*first, Operation::Enter(path("/"))).await.unwrap();
    assert_eq!(server.count("DELE"), 0);
    again.close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), bytes(10));
}

#[tokio::test]
async fn a_part_is_deleted_although_its_connection_died_with_it() {
    let odd = Oddities { dies_storing: Some(1000), ..Default::default() };
    let server = Server::start(&[], odd).await;
    let session = login_with(&server, PartialUploads::Delete).await;
    let file = open(&*session, "/new", replacing()).await.unwrap();
    server.until(|seen| seen.files.contains_key("/new")).await;
    let _ = put(&*file, &bytes(1000)).await;
    assert!(file.close().await.is_err());
    file.abort().await;
    server.until(|seen| !seen.files.contains_key("/new")).await;
    assert_eq!((server.count("USER"), server.count("DELE")), (2, 1));
}
#[tokio::test]
async fn of_two_who_create_a_file_exclusively_the_first_to_close_has_it() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = login_with(&server, PartialUploads::TemporaryName).await;
    let mode = OpenMode { exclusive: true, ..replacing() };
    let first = open(&*session, "/new", mode).await.unwrap();
    let second = open(&*session, "/new", mode).await.unwrap();
    put(&*second, b"second").await.unwrap();
    put(&*first, b"first").await.unwrap();
    first.close().await.unwrap();
    let refused = second.close().await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::AlreadyExists, "{refused}");
    assert_eq!(server.file("/new").unwrap(), b"first");
}

#[tokio::test]
async fn a_seek_stays_in_the_file_that_was_begun() {
    const LENGTH: usize = 12_000_000;
    for (later, modified, goes_on) in [
        (bytes(LENGTH - 1), None, false),
        (bytes(LENGTH), Some("20260102030406"), false),
        (bytes(LENGTH + 1000), Some("20260102030406"), true),
        (bytes(LENGTH), None, true),
    ] {
        let server = Server::start(&[("/a", &bytes(LENGTH))], Oddities::default()).await;
        let session = server.session().await;
        stat(&*session, "/a").await.unwrap();
        let file = open(&*session, "/a", reading()).await.unwrap();
        assert_eq!(file.read_at(0, 1000).await.unwrap().unwrap(), bytes(1000));
        let length = later.len();
        server.seen().files.insert("/a".into(), later);
        server.seen().modified = modified;
        let read = file.read_at(10_000_000, 1000).await;
        if goes_on {
            assert!(read.unwrap().unwrap() == bytes(LENGTH)[10_000_000..10_001_000])
        } else {
            let failure = read.unwrap_err();
            assert!(failure.message.contains("changed while it was read"), "{failure}");
        }
        assert_eq!(server.count("RETR"), if goes_on { 2 } else { 1 }, "{length} {modified:?}");
    }
}
#[tokio::test]
async fn an_open_file_tells_all_writes_that_came_before_the_question() {
    let server = Server::start(&[], Oddities::default()).await;
    let session = server.session().await;
    let file = open(&*session, "/new", replacing()).await.unwrap();
    let content = bytes(320_000);
    let blocks = content.chunks(32_000).enumerate();
    let writes: Vec<_> = blocks
        .map(|(i, block)| file.write_at(i as u64 * 32_000, Bytes::copy_from_slice(block)))
        .collect();
    assert_eq!(file.stat().await.unwrap().attributes.size, Some(320_000));
    for written in join_all(writes).await {
        written.unwrap();
    }
    file.close().await.unwrap();
    assert_eq!(server.file("/new").unwrap(), content);
}

/// As vsftpd answers.
#[tokio::test]
async fn a_refusal_without_a_reason_is_looked_into() {
    use FailureKind as K;
    for no_mlst in [true, false] {
        let odd = Oddities { no_mlst, vague: true, ..Default::default() };
        let server = Server::start(&[("/full/a", b"a"), ("/file", b"f")], odd).await;
        for folder in ["/full", "/empty"] {
            server.seen().folders.insert(folder.into(), folder.into());
        }
        let session = server.session().await;
        let make = |name| Operation::MakeDirectory { path: path(name), permissions: None };
        let remove = |name| Operation::RemoveDirectory(path(name));
        for (operation, kind) in [
            (make("/full"), K::AlreadyExists),
            (make("/file"), K::AlreadyExists),
            (remove("/full"), K::Internal),
            (remove("/file"), K::NotADirectory),
            (remove("/absent"), K::NotFound),
        ] {
            let refused = perform(&*session, operation.clone()).await.unwrap_err();
            assert_eq!(refused.kind, kind, "{operation} {refused}");
            // FTP clients get the server's own words.
            assert!(refused.peer.is_some());
        }
        perform(&*session, remove("/empty")).await.unwrap();
        perform(&*session, make("/empty")).await.unwrap();
        assert_eq!(server.seen().connections, 1);
    }
}
