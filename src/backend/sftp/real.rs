//! Against a real sshd of OpenSSH, as the user who runs the tests:
//! `cargo test --lib backend::sftp::real -- --ignored`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HostKey, KnownHosts, Settings, SftpBackend};
use crate::backend::{
    Answer, Backend, BackendSession, Credentials, Login, PartialUploads, WriteTransfer,
};
use crate::data::{Sink, Source};
use crate::op::{
    Changes, EntryKind, Failure, FailureKind, Onto, OpenMode, Operation, RemotePath,
    Representation, WriteMode,
};
use crate::route::Target;

struct Sshd {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{command:?}");
}

impl Sshd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        for (name, kind) in
            [("host", "ed25519"), ("host_ecdsa", "ecdsa"), ("user", "ed25519"), ("user_rsa", "rsa")]
        {
            run(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f", &file(name)]));
        }
        let keys = [file("user.pub"), file("user_rsa.pub")].map(|f| std::fs::read(f).unwrap());
        std::fs::write(file("authorized_keys"), keys.concat()).unwrap();
        std::fs::create_dir(file("files")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nHostKey {}\nPidFile none\n\
             AuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n\
             Subsystem sftp internal-sftp\n",
            file("host"),
            file("host_ecdsa"),
            file("authorized_keys"),
        );
        std::fs::write(file("config"), config).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &file("config")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { folder, port, child }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    fn path(&self, name: &str) -> RemotePath {
        let path = self.file(name);
        RemotePath::resolve(&RemotePath::root(), path.as_os_str().as_encoded_bytes()).unwrap()
    }

    fn fingerprint(&self) -> String {
        fingerprint(&self.folder.path().join("host.pub"))
    }

    fn settings(&self) -> Settings {
        Settings {
            name: "real".to_owned(),
            addresses: vec![format!("127.0.0.1:{}", self.port)],
            host_key: HostKey::Fingerprints(vec![self.fingerprint()]),
            legacy_algorithms: false,
            partial_uploads: PartialUploads::Keep,
            connect_timeout: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(20),
            keepalive: Duration::from_secs(15),
        }
    }

    fn login(&self, key: &str) -> Login {
        let key = PrivateKey::read_openssh_file(self.folder.path().join(key)).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        Login::Vouched(Some(Credentials {
            user: user.trim_ascii().to_vec(),
            password: zeroize::Zeroizing::default(),
            account: None,
            key: Some(Arc::new(key)),
        }))
    }

    async fn session(&self) -> Box<dyn BackendSession> {
        self.session_with(PartialUploads::Keep).await
    }

    async fn session_with(&self, partial_uploads: PartialUploads) -> Box<dyn BackendSession> {
        let backend = SftpBackend::new(Settings { partial_uploads, ..self.settings() });
        backend.login(&self.login("user")).await.unwrap()
    }

    async fn refusal(&self, settings: Settings, key: &str) -> Failure {
        SftpBackend::new(settings).login(&self.login(key)).await.err().unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.file("")).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251 + n / 65_537) as u8).collect()
}

fn read(path: &RemotePath, offset: u64, representation: Representation) -> Target {
    Target::for_test(Operation::Read { path: path.clone(), offset, representation })
}

fn write(path: &RemotePath, mode: WriteMode) -> Target {
    let representation = Representation::Image;
    Target::for_test(Operation::Write { path: path.clone(), mode, representation })
}

async fn get(session: &dyn BackendSession, target: &Target) -> Result<Vec<u8>, Failure> {
    let mut transfer = session.open_read(target).await?;
    let mut content = Vec::new();
    match transfer.source() {
        Source::Reader(reader) => reader.read_to_end(&mut content).await.unwrap(),
        Source::Socket(_) => unreachable!(),
    };
    transfer.finish().await?;
    Ok(content)
}

async fn feed(transfer: &mut dyn WriteTransfer, content: &[u8]) {
    let Sink::Writer(writer) = transfer.sink() else { unreachable!() };
    for part in content.chunks(65_536) {
        writer.write_all(part).await.unwrap();
    }
    writer.flush().await.unwrap();
}

async fn put(session: &dyn BackendSession, target: &Target, content: &[u8]) {
    let mut transfer = session.open_write(target).await.unwrap();
    feed(&mut *transfer, content).await;
    transfer.finish().await.unwrap();
}

async fn perform(session: &dyn BackendSession, operation: Operation) -> Result<Answer, Failure> {
    session.perform(&Target::for_test(operation)).await
}

fn fingerprint(file: &std::path::Path) -> String {
    let key = std::fs::read_to_string(file).unwrap();
    PublicKey::from_openssh(&key).unwrap().fingerprint(HashAlg::Sha256).to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn keys_and_host_keys() {
    let sshd = Sshd::start();
    for key in ["user", "user_rsa"] {
        let session = SftpBackend::new(sshd.settings()).login(&sshd.login(key)).await.unwrap();
        assert!(!session.home().is_root());
        let abilities = session.abilities();
        assert!(abilities.file_system && abilities.sync && abilities.hard_link);
        session.close().await;
    }
    let refused = sshd.refusal(sshd.settings(), "host").await;
    assert_eq!(refused.kind, FailureKind::LoginRefused, "{refused:?}");

    let wrong = HostKey::Fingerprints(vec!["SHA256:AAAA".to_owned()]);
    let refused = sshd.refusal(Settings { host_key: wrong, ..sshd.settings() }, "user").await;
    assert_eq!(refused.kind, FailureKind::Unavailable);
    assert!(refused.message.contains("host key"), "{refused:?}");
    assert!(refused.detail.unwrap().contains(&sshd.fingerprint()));

    // The pinned key is not the one that is shown first.
    let ecdsa =
        HostKey::Fingerprints(vec![fingerprint(&sshd.folder.path().join("host_ecdsa.pub"))]);
    let backend = SftpBackend::new(Settings { host_key: ecdsa, ..sshd.settings() });
    for _ in 0..2 {
        backend.login(&sshd.login("user")).await.unwrap().close().await;
    }

    // Only the second key is known: it must be the one that is asked for. Hashed, by ssh-keygen.
    let key = std::fs::read_to_string(sshd.folder.path().join("host_ecdsa.pub")).unwrap();
    let file = sshd.folder.path().join("known_hosts");
    std::fs::write(&file, format!("[127.0.0.1]:{} {key}", sshd.port)).unwrap();
    run(Command::new("ssh-keygen").args(["-H", "-f"]).arg(&file).stderr(Stdio::null()));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("|1|"), "{text}");
    let host_key = HostKey::KnownHosts(KnownHosts::parse(&text).unwrap());
    let settings = Settings { host_key, ..sshd.settings() };
    SftpBackend::new(settings).login(&sshd.login("user")).await.unwrap();

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let settings = Settings { addresses: vec![nobody.clone()], ..sshd.settings() };
    assert_eq!(sshd.refusal(settings, "user").await.kind, FailureKind::Unavailable);
    let addresses = vec![nobody, format!("localhost:{}", sshd.port)];
    let settings = Settings { addresses, ..sshd.settings() };
    SftpBackend::new(settings).login(&sshd.login("user")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn whole_files_both_ways() {
    let sshd = Sshd::start();
    let session = sshd.session().await;
    for length in [0, 1, 261_119, 261_120, 261_121, 522_240, 5_000_001] {
        let content = pattern(length);
        let path = sshd.path("file");
        put(&*session, &write(&path, WriteMode::From { offset: 0 }), &content).await;
        assert!(std::fs::read(sshd.file("file")).unwrap() == content, "{length}");
        let all = get(&*session, &read(&path, 0, Representation::Image)).await.unwrap();
        assert!(all == content, "{length}");
        let half = length / 2;
        let rest = get(&*session, &read(&path, half as u64, Representation::Image)).await.unwrap();
        assert!(rest == content[half..]);
        let behind = read(&path, length as u64 + 1, Representation::Image);
        assert_eq!(get(&*session, &behind).await.unwrap_err().kind, FailureKind::InvalidArgument);
        put(&*session, &write(&path, WriteMode::From { offset: half as u64 }), b"tail").await;
        put(&*session, &write(&path, WriteMode::Append), b"+more").await;
        let expected = [&content[..half], b"tail+more"].concat();
        assert!(std::fs::read(sshd.file("file")).unwrap() == expected, "{length}");
    }
    let far = write(&sshd.path("file"), WriteMode::From { offset: u64::MAX / 4 });
    assert_eq!(session.open_write(&far).await.err().unwrap().kind, FailureKind::InvalidArgument);
    let unique = session.open_write(&write(&sshd.path(""), WriteMode::Unique)).await.unwrap();
    assert!(unique.path().name().unwrap().starts_with(b"upload-"));
    unique.finish().await.unwrap();

    std::fs::write(sshd.file("text"), "a\nb\r\nc").unwrap();
    let text = read(&sshd.path("text"), 2, Representation::Ascii);
    assert_eq!(get(&*session, &text).await.unwrap(), b"\nb\r\nc");
    let size = Operation::Size(sshd.path("text"), Representation::Ascii);
    assert!(matches!(perform(&*session, size).await, Ok(Answer::Size(7))));

    for (name, kind) in [("", FailureKind::IsADirectory), ("none/x", FailureKind::NotFound)] {
        let target = read(&sshd.path(name), 0, Representation::Image);
        // OpenSSH opens a folder for reading and refuses the first READ.
        let refused = get_or_refusal(&*session, &target).await;
        assert!(refused == kind || name.is_empty(), "{refused:?}");
        let target = write(&sshd.path(name), WriteMode::From { offset: 0 });
        assert_eq!(session.open_write(&target).await.err().unwrap().kind, kind);
    }
}

async fn get_or_refusal(session: &dyn BackendSession, target: &Target) -> FailureKind {
    match session.open_read(target).await {
        Err(failure) => failure.kind,
        Ok(mut transfer) => {
            let Source::Reader(reader) = transfer.source() else { unreachable!() };
            assert!(reader.read_to_end(&mut Vec::new()).await.is_err());
            transfer.abort().await.unwrap().kind
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn cuts_as_configured() {
    let sshd = Sshd::start();
    let path = sshd.path("file");
    for (policy, left) in
        [(PartialUploads::Keep, 1), (PartialUploads::Delete, 0), (PartialUploads::TemporaryName, 2)]
    {
        let session = sshd.session_with(policy).await;
        std::fs::write(sshd.file("file"), "old").unwrap();
        let target = write(&path, WriteMode::From { offset: 0 });
        let mut transfer = session.open_write(&target).await.unwrap();
        feed(&mut *transfer, b"half").await;
        assert!(transfer.abort().await.is_none());
        assert_eq!(sshd.names().len(), left, "{policy:?} {:?}", sshd.names());
        if policy == PartialUploads::TemporaryName {
            assert_eq!(std::fs::read(sshd.file("file")).unwrap(), b"old");
            let part = sshd.names().into_iter().find(|name| name.ends_with(".part")).unwrap();
            assert_eq!(std::fs::read(sshd.file(&part)).unwrap(), b"half");
            std::fs::remove_file(sshd.file(&part)).unwrap();
        }
        // As an open file, dropped, aborted and closed.
        let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
        for end in ["drop", "abort"] {
            let _ = std::fs::remove_file(sshd.file("file"));
            let target = Target::for_test(Operation::Open { path: path.clone(), mode });
            let file = session.open(&target).await.unwrap();
            file.write_at(0, Bytes::from_static(b"half")).await.unwrap();
            match end {
                "abort" => file.abort().await,
                _ => drop(file),
            }
            let expected = if policy == PartialUploads::Delete { 0 } else { 1 };
            let until = Instant::now() + Duration::from_secs(5);
            while sshd.names().len() != expected {
                assert!(Instant::now() < until, "{policy:?} {:?}", sshd.names());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            for name in sshd.names() {
                std::fs::remove_file(sshd.file(&name)).unwrap();
            }
        }
        let target = write(&path, WriteMode::From { offset: 0 });
        for content in [&b"whole"[..], b"again"] {
            put(&*session, &target, content).await;
            assert_eq!(sshd.names(), ["file"], "{policy:?}");
            assert_eq!(std::fs::read(sshd.file("file")).unwrap(), content);
        }
        let target = Target::for_test(Operation::Open {
            path: path.clone(),
            mode: OpenMode { exclusive: true, truncate: false, ..mode },
        });
        let refused = session.open(&target).await.err().unwrap();
        assert_eq!(refused.kind, FailureKind::AlreadyExists, "{policy:?}");
        std::fs::remove_file(sshd.file("file")).unwrap();
        let file = session.open(&target).await.unwrap();
        file.write_at(0, Bytes::from_static(b"mine")).await.unwrap();
        file.close().await.unwrap();
        assert_eq!(sshd.names(), ["file"], "{policy:?}");
        std::fs::remove_file(sshd.file("file")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn names_and_attributes() {
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
        let mut listing = session.list(&Target::for_test(O::List(path))).await?;
        let mut entries = Vec::new();
        while let Some(batch) = listing.next().await? {
            assert!(!batch.is_empty() && batch.len() <= 256);
            entries.extend(batch);
        }
        Ok::<_, Failure>(entries)
    };
    let entries = list(sshd.path("")).await.unwrap();
    assert_eq!(entries.len(), 1002);
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
        let said = operation.to_string();
        assert_eq!(perform(session, operation).await.unwrap_err().kind, kind, "{said}");
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn open_files_at_any_offset() {
    let sshd = Sshd::start();
    let session = sshd.session().await;
    let content = pattern(9_000_001);
    std::fs::write(sshd.file("file"), &content).unwrap();
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    let open = Target::for_test(Operation::Open { path: sshd.path("file"), mode });
    for length in [4096, 32_768, 100_000, 261_120, 300_000] {
        let file = session.open(&open).await.unwrap();
        // As sftp has it: many in flight, in order, until the end is told.
        let mut under_way = FuturesOrdered::new();
        let (mut asked, mut read) = (0u64, Vec::new());
        while read.len() < content.len() {
            while under_way.len() < 64 && asked < content.len() as u64 {
                under_way.push_back(file.read_at(asked, length));
                asked += u64::from(length);
            }
            read.extend_from_slice(&under_way.next().await.unwrap().unwrap().unwrap());
        }
        assert!(read == content, "{length}");
        assert!(file.read_at(content.len() as u64, length).await.unwrap().is_none());
        // Here and there, and a write amid what was read ahead.
        for offset in [5, 8_999_990, 1_000_000, 1_000_100, 0] {
            let bytes = file.read_at(offset, 100).await.unwrap().unwrap();
            let end = content.len().min(offset as usize + 100);
            assert!(bytes[..] == content[offset as usize..end], "{offset}");
        }
        for n in 0..20 {
            file.read_at(n * 1000, 1000).await.unwrap();
        }
        let write = file.write_at(20_500, Bytes::from_static(b"new"));
        let read = file.read_at(20_000, 1000);
        write.await.unwrap();
        assert_eq!(read.await.unwrap().unwrap()[500..503], *b"new");
        file.write_at(20_500, Bytes::copy_from_slice(&content[20_500..20_503])).await.unwrap();
        file.sync().await.unwrap();
        assert_eq!(file.stat().await.unwrap().attributes.size, Some(9_000_001));
        file.close().await.unwrap();
        assert!(file.close().await.is_err());
    }
    let other = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
    let other = Target::for_test(Operation::Open { path: sshd.path("copy"), mode: other });
    let (from, to) = (session.open(&open).await.unwrap(), session.open(&other).await.unwrap());
    let large = Bytes::from(content[..1_000_000].to_vec());
    to.write_at(0, large).await.unwrap();
    from.copy_data(1_000_000, 0, &to, 1_000_000).await.unwrap();
    to.close().await.unwrap();
    assert!(std::fs::read(sshd.file("copy")).unwrap() == content);
    from.set_attributes(&Changes { size: Some(10), ..Changes::default() }).await.unwrap();
    assert!(from.read_at(10, 10).await.unwrap().is_none());
    assert!(from.file_system().await.unwrap().blocks > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn a_server_that_dies_ends_everything() {
    let mut sshd = Sshd::start();
    let session = sshd.session().await;
    let content = pattern(50_000_000);
    std::fs::write(sshd.file("file"), &content).unwrap();
    let mut transfer =
        session.open_read(&read(&sshd.path("file"), 0, Representation::Image)).await.unwrap();
    let Source::Reader(reader) = transfer.source() else { unreachable!() };
    reader.read_exact(&mut [0; 1000]).await.unwrap();
    // The listener and the sessions below it.
    let children = format!("pgrep -P {}", sshd.child.id());
    let children = Command::new("sh").args(["-c", &children]).output().unwrap().stdout;
    let children = String::from_utf8(children).unwrap();
    for child in children.split_whitespace() {
        run(Command::new("kill").args(["-9", child]));
    }
    sshd.child.kill().unwrap();
    let mut rest = Vec::new();
    let all = tokio::time::timeout(Duration::from_secs(10), reader.read_to_end(&mut rest));
    assert!(all.await.unwrap().is_err());
    assert_eq!(transfer.abort().await.unwrap().kind, FailureKind::Unavailable);
    let stat = perform(&*session, Operation::Stat(sshd.path("file"))).await.unwrap_err();
    assert_eq!(stat.kind, FailureKind::Unavailable);
}

/// Prints what one GiB takes; the CPU seconds are this process's.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd, and 2 GiB of disk"]
async fn a_gibibyte_each_way() {
    const LENGTH: u64 = 1 << 30;
    let sshd = Sshd::start();
    let session = sshd.session().await;
    let block = Bytes::from(pattern(1 << 20));
    {
        use std::io::Write;
        let mut file = std::fs::File::create(sshd.file("file")).unwrap();
        (0..1024).for_each(|_| file.write_all(&block).unwrap());
    }
    let report = |what: &str, started: (Instant, f64)| {
        let (seconds, cpu) = (started.0.elapsed().as_secs_f64(), cpu() - started.1);
        println!("{what}: {:.0} MiB/s, {cpu:.2} CPU s", 1024.0 / seconds);
    };
    let start = || (Instant::now(), cpu());

    let started = start();
    let target = read(&sshd.path("file"), 0, Representation::Image);
    let mut transfer = session.open_read(&target).await.unwrap();
    let Source::Reader(reader) = transfer.source() else { unreachable!() };
    let mut buffer = vec![0; 64 * 1024];
    let mut done = 0;
    loop {
        let n = reader.read(&mut buffer).await.unwrap();
        if n == 0 {
            break;
        }
        let at = done % block.len();
        let n1 = n.min(block.len() - at);
        assert!(buffer[..n1] == block[at..at + n1] && buffer[n1..n] == block[..n - n1]);
        done += n;
    }
    assert_eq!(done as u64, LENGTH);
    transfer.finish().await.unwrap();
    report("open_read", started);

    let started = start();
    let target = write(&sshd.path("copy"), WriteMode::From { offset: 0 });
    let mut transfer = session.open_write(&target).await.unwrap();
    for _ in 0..1024 {
        feed(&mut *transfer, &block).await;
    }
    transfer.finish().await.unwrap();
    report("open_write", started);
    assert!(same(&sshd.file("file"), &sshd.file("copy")));

    for length in [32_768u32, 261_120] {
        let started = start();
        let mode = OpenMode { read: true, ..OpenMode::default() };
        let target = Target::for_test(Operation::Open { path: sshd.path("file"), mode });
        let file = session.open(&target).await.unwrap();
        let mut under_way = FuturesOrdered::new();
        let (mut asked, mut done) = (0u64, 0usize);
        while (done as u64) < LENGTH {
            while under_way.len() < 64.min((4 << 20) / length as usize) && asked < LENGTH {
                under_way.push_back(file.read_at(asked, length));
                asked += u64::from(length);
            }
            let bytes = under_way.next().await.unwrap().unwrap().unwrap();
            let at = done % block.len();
            let n = bytes.len().min(block.len() - at);
            assert!(bytes[..n] == block[at..at + n] && bytes[n..] == block[..bytes.len() - n]);
            done += bytes.len();
        }
        file.close().await.unwrap();
        report(&format!("read_at {length}"), started);

        let started = start();
        let mode = OpenMode { write: true, create: true, truncate: true, ..OpenMode::default() };
        let target = Target::for_test(Operation::Open { path: sshd.path("copy"), mode });
        let file = session.open(&target).await.unwrap();
        let mut under_way = FuturesOrdered::new();
        let mut at = 0;
        while at < LENGTH {
            while under_way.len() >= 64.min((4 << 20) / length as usize) {
                let done: Result<(), Failure> = under_way.next().await.unwrap();
                done.unwrap();
            }
            let within = at as usize % block.len();
            let n = (length as usize).min(block.len() - within);
            under_way.push_back(file.write_at(at, block.slice(within..within + n)));
            at += n as u64;
        }
        while let Some(done) = under_way.next().await {
            done.unwrap();
        }
        file.close().await.unwrap();
        report(&format!("write_at {length}"), started);
        assert!(same(&sshd.file("file"), &sshd.file("copy")));
    }
}

fn same(one: &Path, other: &Path) -> bool {
    Command::new("cmp").arg(one).arg(other).status().unwrap().success()
}

/// User and system seconds of this process (proc(5), /proc/pid/stat), in ticks of 10 ms.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Delays each direction by 25 ms without limiting the rate.
async fn far(port: u16) -> u16 {
    use tokio::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relayed = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((a, b), (c, d)) = (near.into_split(), far.into_split());
            for (mut from, mut to) in [(a, d), (c, b)] {
                let (late, mut due) = tokio::sync::mpsc::unbounded_channel();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 256 * 1024];
                    while let Ok(n @ 1..) = from.read(&mut buffer).await {
                        let at = tokio::time::Instant::now() + Duration::from_millis(25);
                        let _ = late.send((at, buffer[..n].to_vec()));
                    }
                });
                tokio::spawn(async move {
                    while let Some((at, bytes)) = due.recv().await {
                        tokio::time::sleep_until(at).await;
                        if to.write_all(&bytes).await.is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    relayed
}

/// Prints what a file takes over 50 ms of round trip. 2 MiB under way, as sftp has it, are 40 MiB/s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs OpenSSH's sshd"]
async fn far_away() {
    let sshd = Sshd::start();
    let port = far(sshd.port).await;
    let settings = Settings { addresses: vec![format!("127.0.0.1:{port}")], ..sshd.settings() };
    let session = SftpBackend::new(settings).login(&sshd.login("user")).await.unwrap();
    let content = pattern(128 << 20);
    std::fs::write(sshd.file("file"), &content).unwrap();
    let rate = |what: &str, started: Instant| {
        println!("{what}: {:.0} MiB/s", 128.0 / started.elapsed().as_secs_f64());
    };
    let started = Instant::now();
    let target = read(&sshd.path("file"), 0, Representation::Image);
    let all = get(&*session, &target).await.unwrap();
    rate("open_read", started);
    assert!(all == content);

    let started = Instant::now();
    let target = write(&sshd.path("copy"), WriteMode::From { offset: 0 });
    put(&*session, &target, &content).await;
    rate("open_write", started);

    let started = Instant::now();
    let mode = OpenMode { read: true, ..OpenMode::default() };
    let target = Target::for_test(Operation::Open { path: sshd.path("file"), mode });
    let file = session.open(&target).await.unwrap();
    let mut under_way = FuturesOrdered::new();
    let (mut asked, mut done) = (0u64, 0usize);
    while done < content.len() {
        while under_way.len() < 64 && asked < content.len() as u64 {
            under_way.push_back(file.read_at(asked, 32_768));
            asked += 32_768;
        }
        let bytes = under_way.next().await.unwrap().unwrap().unwrap();
        assert!(bytes[..] == content[done..done + bytes.len()]);
        done += bytes.len();
    }
    rate("read_at, 64 of 32 KiB", started);

    std::fs::write(sshd.file("small"), &content[..4096]).unwrap();
    let (mut gets, mut puts) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let started = Instant::now();
        let target = read(&sshd.path("small"), 0, Representation::Image);
        assert_eq!(get(&*session, &target).await.unwrap().len(), 4096);
        gets.push(started.elapsed());
        let started = Instant::now();
        let target = write(&sshd.path("small"), WriteMode::From { offset: 0 });
        put(&*session, &target, &content[..4096]).await;
        puts.push(started.elapsed());
    }
    println!("small gets {gets:?}, small puts {puts:?}");
    // Two round trips; the best of five, since machines have other work too.
    let best = |times: Vec<Duration>| times.into_iter().min().unwrap();
    assert!(best(gets) < Duration::from_millis(145) && best(puts) < Duration::from_millis(145));
}
