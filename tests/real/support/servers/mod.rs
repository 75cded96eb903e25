//! Real servers: foreground children on free loopback ports, each with a folder of its own
//! that is the user's home. Started when first asked for, shared by all tests of the process. One is a
//! library and runs in this process.

mod asyncssh;
mod proftpd;
mod pureftpd;
mod russh_sftp;
mod sshd;
mod vsftpd;

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Tls;
use super::process::{Leash, POLL, kill_group, spawn};

/// Every server keeps its files as this user, who is on every system and whose home exists: vsftpd
/// goes there first.
const OWNER: &str = "daemon";
const READY: Duration = Duration::from_secs(20);

/// One door of a server, as a backend of the gateway sees it.
#[derive(Clone, Copy)]
pub struct Endpoint {
    pub software: Software,
    pub port: u16,
    pub tls: Tls,
    /// What the user sees as `/`.
    pub home: &'static Path,
    pub server: &'static Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    Vsftpd,
    ProFtpd,
    PureFtpd,
    Sshd,
    ProFtpdSftp,
    Asyncssh,
    RusshSftp,
}

/// An SFTP server, as a backend of the gateway sees it. All have the first of the tests' host keys.
#[derive(Clone, Copy)]
pub struct SftpEndpoint {
    pub software: Software,
    pub port: u16,
    /// The folder of the user.
    pub home: &'static Path,
    /// Whether the user sees the home as `/`; else it is seen under its own path.
    pub jailed: bool,
    pub server: &'static Server,
}

pub const SFTP_NAMES: [&str; 4] = ["sshd", "proftpd-sftp", "asyncssh", "russh-sftp"];

/// The SFTP server of this name; it is started if it is not yet.
pub fn sftp_endpoint(name: &'static str) -> SftpEndpoint {
    static SERVERS: [OnceLock<Server>; SFTP_NAMES.len()] =
        [const { OnceLock::new() }; SFTP_NAMES.len()];
    let index = SFTP_NAMES.iter().position(|other| *other == name);
    let index = index.unwrap_or_else(|| panic!("no SFTP server is named {name:?}"));
    let server = SERVERS[index].get_or_init(|| private_sftp(name));
    let software =
        [Software::Sshd, Software::ProFtpdSftp, Software::Asyncssh, Software::RusshSftp][index];
    let port = server.port();
    let jailed = software != Software::Sshd;
    SftpEndpoint { software, port, home: &server.home, jailed, server }
}

pub const NAMES: [&str; 9] = [
    "vsftpd-plain",
    "vsftpd-tls",
    "vsftpd-implicit",
    "vsftpd-reuse",
    "proftpd-plain",
    "proftpd-tls",
    "proftpd-implicit",
    "pureftpd-plain",
    "pureftpd-tls",
];

/// Those that a client without TLS can speak to.
pub const PLAIN: [&str; 3] = ["vsftpd-plain", "proftpd-plain", "pureftpd-plain"];

/// The endpoint of this name; its server is started if it is not yet.
pub fn endpoint(name: &'static str) -> Endpoint {
    static VSFTPD: [OnceLock<Server>; 4] = [const { OnceLock::new() }; 4];
    static PROFTPD: OnceLock<Server> = OnceLock::new();
    static PUREFTPD: OnceLock<Server> = OnceLock::new();
    let vsftpd = |index: usize, mode| VSFTPD[index].get_or_init(|| vsftpd::start(mode));
    let (server, software, tls) = match name {
        "vsftpd-plain" => (vsftpd(0, vsftpd::Mode::Plain), Software::Vsftpd, Tls::None),
        "vsftpd-tls" => (vsftpd(1, vsftpd::Mode::Tls), Software::Vsftpd, Tls::Explicit),
        "vsftpd-implicit" => (vsftpd(2, vsftpd::Mode::Implicit), Software::Vsftpd, Tls::Implicit),
        "vsftpd-reuse" => (vsftpd(3, vsftpd::Mode::Reuse), Software::Vsftpd, Tls::Explicit),
        "proftpd-plain" => (PROFTPD.get_or_init(proftpd::start), Software::ProFtpd, Tls::None),
        "proftpd-tls" => (PROFTPD.get_or_init(proftpd::start), Software::ProFtpd, Tls::Explicit),
        "proftpd-implicit" => {
            (PROFTPD.get_or_init(proftpd::start), Software::ProFtpd, Tls::Implicit)
        }
        "pureftpd-plain" => (PUREFTPD.get_or_init(pureftpd::start), Software::PureFtpd, Tls::None),
        "pureftpd-tls" => {
            (PUREFTPD.get_or_init(pureftpd::start), Software::PureFtpd, Tls::Explicit)
        }
        other => panic!("no server is named {other:?}"),
    };
    let door = if tls == Tls::Implicit { server.doors.implicit } else { server.doors.clear };
    let port = door.unwrap_or_else(|| panic!("{name} has no such door"));
    Endpoint { software, port, tls, home: &server.home, server }
}

/// One that no other test uses, and that may be mistreated.
pub fn private_sftp(name: &str) -> Server {
    match name {
        "sshd" => sshd::start(),
        "proftpd-sftp" => proftpd::start_sftp(),
        "asyncssh" => asyncssh::start(),
        "russh-sftp" => russh_sftp::start(),
        other => panic!("no SFTP server is named {other:?}"),
    }
}

/// The ports of a server.
#[derive(Clone, Copy, Default)]
struct Doors {
    /// Greets in clear.
    clear: Option<u16>,
    /// Speaks TLS at once.
    implicit: Option<u16>,
    /// SSH.
    ssh: Option<u16>,
}

/// A running server.
pub struct Server {
    doors: Doors,
    pub home: PathBuf,
    /// None: it runs in this process.
    child: Option<Child>,
    log: PathBuf,
    _runtime: Option<Runtime>,
    _leash: Leash,
    _folder: TempDir,
}

impl Server {
    /// Where it speaks SSH.
    pub fn port(&self) -> u16 {
        self.doors.ssh.expect("a server that speaks SSH")
    }

    /// Of the process that listens.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("a server with a process of its own").id()
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

/// A server's folder before it runs.
struct Nest {
    folder: TempDir,
    home: PathBuf,
    log: PathBuf,
    owner: Owner,
}

#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Nest {
    fn new(name: &str) -> Self {
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
        Self { home, log, owner, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("writing {name}: {error}"));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("closing a file");
        path
    }

    /// Starts it and waits for its greeting.
    fn start(self, command: &mut Command, doors: Doors) -> Server {
        use std::os::unix::process::CommandExt;
        let log = File::create(&self.log).expect("making a server's log");
        let errors = log.try_clone().expect("sharing a server's log");
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = spawn(command);
        let leash = Leash::new(Some(&child), Some(self.folder.path()));
        let mut server = Server {
            doors,
            home: self.home,
            child: Some(child),
            log: self.log,
            _runtime: None,
            _leash: leash,
            _folder: self.folder,
        };
        server.await_ready(command);
        server
    }

    /// One whose tasks listen already.
    fn with_tasks(self, runtime: Runtime, doors: Doors) -> Server {
        let leash = Leash::new(None, Some(self.folder.path()));
        Server {
            doors,
            home: self.home,
            child: None,
            log: self.log,
            _runtime: Some(runtime),
            _leash: leash,
            _folder: self.folder,
        }
    }
}

impl Server {
    fn await_ready(&mut self, command: &Command) {
        let end = Instant::now() + READY;
        while !self.doors.greet() {
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

impl Doors {
    fn greet(self) -> bool {
        self.clear.is_none_or(|port| greets(port, Some("220")))
            && self.implicit.is_none_or(|port| greets(port, None))
            && self.ssh.is_none_or(|port| greets(port, Some("SSH-2.0-")))
    }
}

/// Whether the port answers; one of implicit TLS says nothing before the handshake.
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

/// Where tests/install puts what is not the system's.
pub fn tools() -> PathBuf {
    std::env::var_os("LOCKGATE_TEST_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools"),
        PathBuf::from,
    )
}

/// An installed program, or one that tests/install unpacked.
fn program(name: &str) -> PathBuf {
    let tools = tools();
    let places = [tools.join("root/usr/sbin"), tools.join("root/usr/bin"), "/usr/sbin".into()];
    let found = places.iter().map(|place| place.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is in none of {places:?}: run tests/install"))
}

fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
