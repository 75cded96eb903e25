//! A running server: its process or tasks, its ports and its folder.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::process::{CleanupGuard, POLL, kill_group, pid, spawn};

/// The owner of every server's files: a user of every system with a home that exists, as vsftpd
/// changes to it first.
pub(super) const OWNER: &str = "daemon";
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// The ports of a server.
#[derive(Clone, Copy, Default)]
pub(super) struct ServerPorts {
    /// FTP in clear, or with AUTH TLS.
    pub(super) clear: Option<u16>,
    /// Implicit TLS.
    pub(super) implicit: Option<u16>,
    /// SSH.
    pub(super) ssh: Option<u16>,
}

/// A running server.
pub struct Server {
    pub(super) ports: ServerPorts,
    pub home: PathBuf,
    /// `None`: the server runs in this process.
    child: Option<Child>,
    log: PathBuf,
    _runtime: Option<Runtime>,
    _cleanup: CleanupGuard,
    _folder: TempDir,
}

impl Server {
    /// The SSH port.
    pub fn port(&self) -> u16 {
        self.ports.ssh.expect("a server that speaks SSH")
    }

    /// The port of FTP, with or without AUTH TLS.
    pub fn ftp_port(&self) -> u16 {
        self.ports.clear.expect("a server that speaks FTP")
    }

    /// The id of the listening process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("a server with a process of its own").id()
    }

    /// Sends a signal to the listening process.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a server with a process of its own");
        kill_process(pid(child), signal).expect("sending a signal");
    }

    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            kill_group(child);
        }
    }
}

/// The folder of a server that has not started yet.
pub(super) struct ServerFolder {
    pub(super) folder: TempDir,
    pub(super) home: PathBuf,
    pub(super) log: PathBuf,
    pub(super) owner: Owner,
}

#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl ServerFolder {
    pub(super) fn new(name: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "{name} changes its user and so must be started by root: run the tests as root"
        );
        let folder = tempfile::Builder::new().prefix(&format!("lockgate-{name}-")).tempdir();
        let folder = folder.expect("making a server's folder");
        let owner = owner();
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("making a home");
        chown(&home, Some(owner.uid), Some(owner.gid)).expect("giving the home to its user");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
            .expect("opening a folder");
        let log = folder.path().join("out.log");
        Self { folder, home, log, owner }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("writing {name}: {error}"));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("closing a file");
        path
    }

    /// Starts it and waits for its greeting.
    pub(super) fn start(self, command: &mut Command, ports: ServerPorts) -> Server {
        use std::os::unix::process::CommandExt;
        let log = File::create(&self.log).expect("making a server's log");
        let errors = log.try_clone().expect("sharing a server's log");
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = spawn(command);
        let cleanup = CleanupGuard::new(Some(&child), Some(self.folder.path()));
        let mut server = Server {
            ports,
            home: self.home,
            child: Some(child),
            log: self.log,
            _runtime: None,
            _cleanup: cleanup,
            _folder: self.folder,
        };
        server.await_ready(command);
        server
    }

    /// A server whose tasks listen already.
    pub(super) fn with_tasks(self, runtime: Runtime, ports: ServerPorts) -> Server {
        let cleanup = CleanupGuard::new(None, Some(self.folder.path()));
        Server {
            ports,
            home: self.home,
            child: None,
            log: self.log,
            _runtime: Some(runtime),
            _cleanup: cleanup,
            _folder: self.folder,
        }
    }
}

impl Server {
    fn await_ready(&mut self, command: &Command) {
        let end = Instant::now() + READY_TIMEOUT;
        while !self.ports.greet() {
            let child = self.child.as_mut();
            let ended = child.and_then(|child| child.try_wait().expect("looking at a server"));
            assert!(
                ended.is_none() && Instant::now() < end,
                "{command:?} gives no greeting ({}); its log:\n{}",
                ended.map_or("it runs".to_owned(), |status| status.to_string()),
                self.log_tail(40)
            );
            thread::sleep(POLL);
        }
    }
}

impl ServerPorts {
    fn greet(self) -> bool {
        self.clear.is_none_or(|port| greets(port, Some("220")))
            && self.implicit.is_none_or(|port| greets(port, None))
            && self.ssh.is_none_or(|port| greets(port, Some("SSH-2.0-")))
    }
}

/// Whether the port answers. A port with implicit TLS sends no greeting before the handshake.
fn greets(port: u16, greeting: Option<&str>) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let Some(greeting) = greeting else { return true };
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout above zero");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with(greeting)
}

fn owner() -> Owner {
    let passwd = fs::read_to_string("/etc/passwd").expect("reading /etc/passwd");
    let line = passwd.lines().find(|line| line.split(':').next() == Some(OWNER));
    let mut fields = line.unwrap_or_else(|| panic!("no user {OWNER}")).split(':').skip(2);
    let mut number = || fields.next().and_then(|text| text.parse().ok());
    let (Some(uid), Some(gid)) = (number(), number()) else { panic!("{OWNER} has no ids") };
    Owner { uid, gid }
}

fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
