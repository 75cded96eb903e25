//! Real servers: foreground processes on free loopback ports, each with its own folder, which is
//! the user's home. Each starts on first use and is shared by all tests of the process. One is a
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
use self::running::{OWNER, READY_TIMEOUT, ServerFolder, ServerPorts};
use super::Tls;

/// One port of a server, for a backend of the gateway.
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

impl Software {
    /// The name in the documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vsftpd => "vsftpd",
            Self::ProFtpd => "ProFTPD",
            Self::PureFtpd => "pure-ftpd",
            Self::Sshd => "OpenSSH sshd",
            Self::ProFtpdSftp => "ProFTPD mod_sftp",
            Self::Asyncssh => "asyncssh",
            Self::RusshSftp => "russh-sftp",
        }
    }
}

/// An SFTP server, for a backend of the gateway. All have the first of the tests' host keys.
#[derive(Clone, Copy)]
pub struct SftpEndpoint {
    pub software: Software,
    pub port: u16,
    /// The folder of the user.
    pub home: &'static Path,
    /// Whether the user sees the home as `/`, not under its path on disk.
    pub jailed: bool,
    pub server: &'static Server,
}

pub const SFTP_NAMES: [&str; 4] = ["sshd", "proftpd-sftp", "asyncssh", "russh-sftp"];

/// The SFTP server of this name, started if necessary.
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

/// The servers that accept clients without TLS.
pub const PLAIN: [&str; 3] = ["vsftpd-plain", "proftpd-plain", "pureftpd-plain"];

/// The endpoint of this name; starts its server if necessary.
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
    let door = if tls == Tls::Implicit { server.ports.implicit } else { server.ports.clear };
    let port = door.unwrap_or_else(|| panic!("{name} has no such port"));
    Endpoint { software, port, tls, home: &server.home, server }
}

/// A vsftpd without TLS on this port, which the test may break.
pub fn private_vsftpd(port: u16) -> Server {
    vsftpd::start_on(vsftpd::Mode::Plain, port)
}

/// An sshd with these lines in its sshd_config.
pub fn sshd_with(more: &str) -> Server {
    sshd::start(more)
}

/// As [`sshd_with`], on this port.
pub fn sshd_on(more: &str, port: u16) -> Server {
    sshd::start_on(more, port)
}

/// A vsftpd with AUTH TLS, this certificate and its key.
pub fn vsftpd_with_certificate(certificate: &Path, key: &Path) -> Server {
    vsftpd::start_with_certificate(certificate, key)
}

/// A server that wants a client certificate of the tests' CA from all, and AUTH TLS.
pub fn with_client_certificates(software: Software) -> Server {
    match software {
        Software::Vsftpd => vsftpd::start(vsftpd::Mode::ClientCertificate),
        Software::ProFtpd => proftpd::start_with_client_certificates(),
        other => panic!("not with {}", other.name()),
    }
}

/// A server that no other test uses and that the test may break.
pub fn private_sftp(name: &str) -> Server {
    match name {
        "sshd" => sshd::start(""),
        "proftpd-sftp" => proftpd::start_sftp(),
        "asyncssh" => asyncssh::start(),
        "russh-sftp" => russh_sftp::start(),
        other => panic!("no SFTP server is named {other:?}"),
    }
}

/// The folder in which tests/install puts programs that are not the system's.
pub fn tools() -> PathBuf {
    std::env::var_os("LOCKGATE_TEST_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools"),
        PathBuf::from,
    )
}

/// An installed program, or one that tests/install unpacked.
pub fn program(name: &str) -> PathBuf {
    let tools = tools();
    let places = [tools.join("root/usr/sbin"), tools.join("root/usr/bin"), "/usr/sbin".into()];
    let found = places.iter().map(|work_folder| work_folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is in none of {places:?}: run tests/install"))
}
