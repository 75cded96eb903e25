//! SSH certificates, keys and authentication methods, with OpenSSH, asyncssh and paramiko.

mod clients;
mod hosts;
mod methods;
mod minted;
mod samples;
mod users;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::USER;
use crate::support::backend_fixture::host_keys;
use crate::support::clients::{client, deadline};
use crate::support::gateway::Gateway;
use crate::support::process::{Output, run};
use crate::support::ssh::askpass;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The lines of a configuration around its listeners.
struct Site {
    gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Site {
    /// An SFTP listener `front` with these further keys, before a folder; `users` are those of the
    /// configuration, and `routes` the routes.
    fn start(listener: &str, users: &str, routes: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let audit = folder.path().join("audit.jsonl");
        let yaml = format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {}{listener} }}\n\
             backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
             users:\n{users}\nroutes:\n{routes}\n\
             limits: {{ sessions_per_address: 1000 }}\nmetrics: {{ address: \"127.0.0.1:0\" }}\n\
             audit: {{ file: {audit:?} }}\n",
            host_keys(),
            folder.path(),
        );
        Self { gateway: Gateway::start(&yaml), folder }
    }

    fn port(&self) -> u16 {
        self.gateway.address("front").port()
    }

    fn audit(&self) -> std::path::PathBuf {
        self.folder.path().join("audit.jsonl")
    }
}

/// OpenSSH's sftp with nothing but these options, as `user`: `pwd`.
fn sftp_as(user: &str, port: u16, options: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    run(&mut sftp_command(user, port, home.path(), options), b"pwd\n", deadline())
}

fn sftp_command(user: &str, port: u16, home: &Path, options: &[&str]) -> Command {
    let mut command = client("sftp", home);
    command.env("SSH_ASKPASS", askpass()).env("SSH_ASKPASS_REQUIRE", "force");
    command.env("LOCKGATE_TEST_PASSWORD", crate::support::PASSWORD);
    command.args(["-F", "/dev/null"]);
    let usual = [
        "BatchMode=no",
        "NumberOfPasswordPrompts=1",
        "ConnectTimeout=15",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
    ];
    // The first value of an option wins.
    for option in options.iter().chain(&usual) {
        command.args(["-o", option]);
    }
    // As an option, a name may have a colon.
    command.args(["-o", &format!("User={user}"), "-b", "-", "-P", &port.to_string(), "127.0.0.1"]);
    command
}

/// With this key and its certificate only.
fn with_certificate(port: u16, key: &Path, certificate: &Path) -> Output {
    let options = [
        format!("IdentityFile={}", key.display()),
        format!("CertificateFile={}", certificate.display()),
        "IdentitiesOnly=yes".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
    ];
    sftp_as(USER, port, &options.each_ref().map(String::as_str))
}
