//! A gateway within a test, for the tests of take-overs: the other process is scripted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Running;
use super::start::Starting;
use crate::admin::AdminSocket;
use crate::config::{Compiled, Source};

/// The configuration of a gateway with one listener, and the folder that it needs.
pub(super) struct Files {
    pub(super) folder: TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Self { folder };
        let (admin, here) = (files.admin(), files.folder.path());
        let text = format!(
            "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
             backends:\n  files: {{ protocol: local, folder: {here:?} }}\n\
             users:\n  user: {{ password_hash: \"{HASH}\" }}\n\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             login_guard: {{ max_failures: 30 }}\n\
             admin: {{ socket: {admin:?} }}\n"
        );
        std::fs::write(files.file(), text).unwrap();
        files
    }

    pub(super) fn admin(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("lockgate.yaml")
    }

    /// Adds a comment to the configuration file.
    pub(super) fn touch(&self) {
        let text = std::fs::read_to_string(self.file()).unwrap();
        std::fs::write(self.file(), text + "# changed\n").unwrap();
    }

    pub(super) fn source(&self) -> Source {
        Source::read(&self.file()).unwrap()
    }

    pub(super) fn config(&self) -> Compiled {
        self.source().load().unwrap()
    }

    /// The admin socket, without a change of the mode of files that other tests make meanwhile.
    pub(super) fn listen(&self) -> std::os::unix::net::UnixListener {
        std::os::unix::net::UnixListener::bind(self.admin()).unwrap()
    }

    /// Starts a gateway.
    pub(super) fn serve(&self) -> Running {
        let starting = Starting::prepare(self.config(), |_| Ok(())).unwrap();
        let admin = AdminSocket::inherit(&self.admin(), self.listen()).unwrap();
        let running = starting.serve(Some(admin)).unwrap();
        running.reloader().set_source(self.source());
        running
    }
}

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY$\
                    aVzgv0C4t3lnL2cvvQ7gvAdbKI2WvX7FBVCMFsCr2lM";

/// Waits for the greeting of the listener.
pub(super) async fn expect_serving(running: &Running) {
    let front: SocketAddr = running.addresses.iter().find(|(name, _)| name == "front").unwrap().1;
    let mut greeting = [0; 4];
    let greeted =
        async { TcpStream::connect(front).await?.read_exact(&mut greeting).await.map(|_| ()) };
    timeout(Duration::from_secs(20), greeted).await.expect("nobody accepts").unwrap();
    assert_eq!(&greeting, b"220 ");
}

/// A process that does nothing, and is killed with this.
pub(super) struct Process(pub(super) Child);

impl Process {
    pub(super) fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub(super) fn end(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
