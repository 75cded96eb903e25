//! The configuration is read again while the gateway runs.

mod changes;
mod judged;
mod load;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::backend_fixture::host_keys;
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::pki::pki;
use crate::support::process::Output;
use crate::support::raw::Raw;
use crate::support::{USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(20);

/// What a test changes in the configuration.
#[derive(Clone)]
struct Config {
    folder: PathBuf,
    range: (u16, u16),
    users: Vec<&'static str>,
    /// Further top-level keys.
    more: String,
    /// Further listeners.
    listeners: String,
}

/// A running gateway whose configuration and certificate can be replaced. Its backend is a folder.
struct Fixture {
    gateway: Gateway,
    config: Config,
    files: tempfile::TempDir,
}

impl Config {
    fn text(&self) -> String {
        let hash = argon2_hash();
        let user = |name: &&str| format!("  {name}: {{ password_hash: '{hash}' }}\n");
        let users: String = self.users.iter().map(user).collect();
        let (first, last) = self.range;
        format!(
            "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, \
             tls: {{ mode: optional, certificate: certs/tls.crt, key: certs/tls.key, \
             data_sessions: resumed }} }}\n  \
             ssh: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n{}\
             data_ports:\n  pool: {{ range: {first}-{last}, listen: [\"127.0.0.1\"] }}\n\
             backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
             users:\n{users}\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             metrics: {{ address: \"127.0.0.1:0\" }}\nadmin: {{ socket: admin.sock }}\n{}",
            host_keys(),
            self.listeners,
            self.folder,
            self.more,
        )
    }
}

impl Fixture {
    fn start(ports: u16) -> Self {
        Self::start_with(ports, &[])
    }

    /// `arguments` of `lockgate run`.
    fn start_with(ports: u16, arguments: &[&str]) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let block = ports::block(ports);
        let config = Config {
            folder: files.path().to_owned(),
            range: (*block.start(), *block.end()),
            users: vec![USER],
            more: String::new(),
            listeners: String::new(),
        };
        let prepare = |folder: &Path| publish_certificate(folder, "first");
        let gateway =
            Gateway::start_with(Command::new(PROGRAM), &config.text(), prepare, arguments);
        Self { gateway, config, files }
    }

    /// Replaces the configuration file, as editors do.
    fn write(&self, config: &Config) {
        self.write_text(&config.text());
    }

    fn write_text(&self, text: &str) {
        let folder = self.gateway.folder();
        std::fs::write(folder.join("new"), text).expect("writing the configuration");
        std::fs::rename(folder.join("new"), folder.join("lockgate.yaml")).expect("renaming it");
    }

    /// `lockgate reload`.
    fn reload(&self) -> Output {
        let socket = self.gateway.folder().join("admin.sock");
        lockgate(&["reload", "--socket", socket.to_str().expect("a name")], "")
    }

    /// Puts another configuration in force.
    #[track_caller]
    fn apply(&self, config: &Config) {
        self.write(config);
        self.reload().expect_ok("reloading");
    }

    /// A session over TLS.
    fn tls_session(&self) -> Raw {
        let (mut raw, _) = Raw::connect(self.gateway.address("front"));
        raw.auth_tls();
        raw.login(USER, crate::support::PASSWORD);
        raw.expect("TYPE I", 200);
        raw
    }

    fn session(&self) -> Raw {
        let (mut raw, _) = Raw::connect(self.gateway.address("front"));
        raw.login(USER, crate::support::PASSWORD);
        raw.expect("TYPE I", 200);
        raw
    }

    fn reloads(&self, outcome: &str) -> u64 {
        let series = format!("lockgate_config_reloads_total{{outcome=\"{outcome}\"}}");
        self.gateway.metric(&series).expect("the counter of reloads")
    }
}

/// A certificate of its own in `folder`.
fn put_certificate(folder: &Path) {
    let (certificate, key) = pki().renewed();
    std::fs::write(folder.join("tls.crt"), certificate).expect("writing the certificate");
    let file = folder.join("tls.key");
    std::fs::write(&file, key).expect("writing the key");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file, private).expect("making the key private");
}

/// Publishes another certificate as `certs`, as Kubernetes does: a symlink changes at once.
fn publish_certificate(folder: &Path, version: &str) {
    let data = folder.join(format!("..{version}"));
    std::fs::create_dir(&data).expect("a folder");
    put_certificate(&data);
    let link = folder.join("..link");
    std::os::unix::fs::symlink(&data, &link).expect("a symlink");
    std::fs::rename(&link, folder.join("certs")).expect("replacing the symlink");
}
