//! Real servers: foreground children on free loopback ports, each with a folder of its own
//! that is the user's home. Started when first asked for, shared by all tests of the process. One is a
//! library and runs in this process.

pub mod asyncssh;
mod proftpd;
mod pureftpd;
mod running;
mod russh_sftp;
mod sshd;
mod vsftpd;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use self::running::Server;
use self::running::{Doors, Nest, OWNER, READY};
use super::Tls;

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

impl Endpoint {
    pub fn is_sftp(&self) -> bool {
        use Software as S;
        matches!(self.software, S::Sshd | S::ProFtpdSftp | S::Asyncssh | S::RusshSftp)
    }
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

/// An sshd with these lines in its sshd_config.
pub fn sshd_with(more: &str) -> Server {
    sshd::start(more)
}

/// One that no other test uses, and that may be mistreated.
pub fn private_sftp(name: &str) -> Server {
    match name {
        "sshd" => sshd::start(""),
        "proftpd-sftp" => proftpd::start_sftp(),
        "asyncssh" => asyncssh::start(),
        "russh-sftp" => russh_sftp::start(),
        other => panic!("no SFTP server is named {other:?}"),
    }
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
