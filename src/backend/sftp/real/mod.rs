//! Tests with a real sshd of OpenSSH, as the user who runs the tests:
//! `cargo test --lib backend::sftp::real -- --ignored`.

mod logins;
mod names;
mod transfers;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HostKey, KnownHosts, Settings, SftpBackend};
use crate::auth::Credentials;
use crate::backend::{
    Backend, BackendSession, IgnoredAttributes, Login, Origin, PartialUploads,
    UnsupportedAttributes, WriteTransfer,
};
use crate::data::{Sink, Source};
use crate::net::ssh::{Algorithms, Base, Side};
use crate::net::{Connector, Connectors};
use crate::op::{
    Answer, Changes, EntryKind, Failure, FailureKind, ListDirectory, Onto, OpenHandle, OpenMode,
    Operation, ReadFile, RemotePath, Representation, WriteFile, WriteMode,
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
            algorithms: Algorithms::new(Side::Backend, Base::Modern),
            login_folder: None,
            names: crate::policy::Names::Exact,
            partial_uploads: PartialUploads::Keep,
            unsupported_attributes: UnsupportedAttributes::Refuse,
            send_proxy_protocol: false,
            connects_at_once: Connector::DEFAULT_CONNECTS_AT_ONCE_MAX,
            source_address: None,
            connect_timeout: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(20),
            realpath_timeout: Settings::DEFAULT_REALPATH_TIMEOUT,
            keepalive: Duration::from_secs(15),
        }
    }

    fn login(&self, key: &str) -> Login {
        let key = PrivateKey::read_openssh_file(self.folder.path().join(key)).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        Login::Authenticated(Some(Credentials {
            user: user.trim_ascii().to_vec(),
            password: zeroize::Zeroizing::default(),
            account: None,
            sent: Default::default(),
            key: Some(key.into()),
        }))
    }

    async fn session(&self) -> Box<dyn BackendSession> {
        self.session_with(PartialUploads::Keep).await
    }

    async fn session_with(&self, partial_uploads: PartialUploads) -> Box<dyn BackendSession> {
        let backend = SftpBackend::new(
            Settings { partial_uploads, ..self.settings() },
            &Connectors::for_test(),
            &IgnoredAttributes::for_test(),
        );
        backend.login(&self.login("user"), Origin::ANY).await.unwrap()
    }

    async fn refusal(&self, settings: Settings, key: &str) -> Failure {
        SftpBackend::new(settings, &Connectors::for_test(), &IgnoredAttributes::for_test())
            .login(&self.login(key), Origin::ANY)
            .await
            .err()
            .unwrap()
    }

    async fn wait_until(&self, condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < until, "{:?}", self.names());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether any file, in subdirectories too, has this content.
    fn any_is(&self, content: &[u8]) -> bool {
        let mut folders = vec![self.file("")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if std::fs::read(entry.path()).is_ok_and(|c| c == content) {
                    return true;
                }
            }
        }
        false
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

fn read(path: &RemotePath, offset: u64, representation: Representation) -> Target<ReadFile> {
    Target::for_test(ReadFile { path: path.clone(), offset, representation })
}

fn write(path: &RemotePath, mode: WriteMode) -> Target<WriteFile> {
    let representation = Representation::Image;
    Target::for_test(WriteFile { path: path.clone(), mode, representation })
}

async fn get(session: &dyn BackendSession, target: &Target<ReadFile>) -> Result<Vec<u8>, Failure> {
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
    transfer.begin().await.unwrap();
    let Sink::Writer(writer) = transfer.sink() else { unreachable!() };
    for part in content.chunks(65_536) {
        writer.write_all(part).await.unwrap();
    }
    writer.flush().await.unwrap();
}

async fn put(session: &dyn BackendSession, target: &Target<WriteFile>, content: &[u8]) {
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
