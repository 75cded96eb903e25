//! Real clients, each run with a deadline and a home of its own.

pub mod curl;
pub mod lftp;
pub mod ncftp;
pub mod openssh;
pub mod paramiko;
pub mod psftp;
pub mod session;
pub mod staged;
pub mod tnftp;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::servers::tools;
use super::ssh::keys;
use super::{PASSWORD, Tls, USER, full};

/// The timeout for one run of a client.
pub fn deadline() -> Duration {
    // The full tier has larger files.
    Duration::from_secs(if full() { 300 } else { 60 })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V12,
    /// 1.3 with today's clients.
    Newest,
}

/// An FTP server or the gateway: address and account for a client.
#[derive(Debug, Clone)]
pub struct Site {
    pub port: u16,
    pub tls: Tls,
    pub user: String,
    pub password: String,
}

impl Site {
    pub fn new(port: u16, tls: Tls) -> Self {
        Self { port, tls, user: USER.to_owned(), password: PASSWORD.to_owned() }
    }
}

/// An SFTP server or the gateway: address and account for a client.
#[derive(Debug, Clone)]
pub struct SftpSite {
    pub port: u16,
    pub user: String,
    pub password: String,
    /// A private key instead of the password.
    pub key: Option<PathBuf>,
    pub fingerprints: Vec<String>,
}

impl SftpSite {
    /// With the test user and the test host keys.
    pub fn new(port: u16) -> Self {
        let fingerprints = keys().fingerprints.to_vec();
        let (user, password) = (USER.to_owned(), PASSWORD.to_owned());
        Self { port, user, password, key: None, fingerprints }
    }
}

/// The Python that has paramiko and asyncssh.
pub fn python() -> PathBuf {
    let path = tools().join("venv/bin/python");
    assert!(path.exists(), "{} is missing: run tests/install", path.display());
    path
}

/// A client without the developer's own settings.
pub fn client(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.current_dir(home);
    command
}
