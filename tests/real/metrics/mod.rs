//! The metrics of a running gateway: docs/metrics.md has just what is served (`table`), and the values are
//! right (`sessions`, `users`).

mod sessions;
mod table;
mod users;

use tempfile::TempDir;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::raw::Raw;
use crate::support::ssh::{keys, public};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

/// A gateway with FTP in clear and with TLS, SFTP, and a folder behind each.
struct Fixture {
    gateway: Gateway,
    files: TempDir,
    pool: std::ops::RangeInclusive<u16>,
}

/// `metrics`: more keys of `metrics`, each with a comma before it.
fn start(metrics: &str) -> Fixture {
    let (files, pool) = (tempfile::tempdir().expect("a folder"), ports::block(8));
    let text = text(&files, &pool, &["ftp", "ftps", "sftp"], metrics);
    Fixture { gateway: Gateway::start(&text), files, pool }
}

/// With some of the listeners.
fn text(
    files: &TempDir,
    pool: &std::ops::RangeInclusive<u16>,
    listeners: &[&str],
    metrics: &str,
) -> String {
    let ftp = "protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool";
    let listeners = listeners.iter().map(|name| match *name {
        "ftps" => format!(
            "  ftps: {{ {ftp}, tls: {{ mode: required, certificate: {}, key: {} }} }}\n",
            pki().certificate.display(),
            pki().key.display()
        ),
        "sftp" => format!(
            "  sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n",
            host_keys()
        ),
        name => format!("  {name}: {{ {ftp} }}\n"),
    });
    let hash = argon2_hash();
    format!(
        "listeners:\n{}\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{hash}\", authorized_keys: {} }}\n  \
         alice: {{ password_hash: \"{hash}\" }}\n  bob: {{ password_hash: \"{hash}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         limits: {{ sessions: 100, sessions_per_address: 50 }}\n\
         metrics: {{ address: \"127.0.0.1:0\"{metrics} }}\nadmin: {{ socket: admin.sock }}\n",
        listeners.collect::<String>(),
        pool.start(),
        pool.end(),
        files.path(),
        public(&keys().user).display(),
    )
}

impl Fixture {
    fn ftp(&self, user: &str) -> Raw {
        let (mut raw, _) = Raw::connect(self.gateway.address("ftp"));
        raw.login(user, PASSWORD);
        raw.expect("TYPE I", 200);
        raw
    }

    fn sftp(&self) -> SftpSite {
        SftpSite::new(self.gateway.address("sftp").port())
    }

    /// Puts another configuration in force.
    fn apply(&self, text: &str) {
        let folder = self.gateway.folder();
        std::fs::write(folder.join("lockgate.yaml"), text).expect("writing the configuration");
        self.gateway.admin(&["reload"]).expect_ok("reloading");
    }

    #[track_caller]
    fn expect(&self, series: &str, value: u64) {
        let page = self.gateway.metrics_page();
        let sum = crate::support::metrics::sum(&page, series);
        assert_eq!(sum.map(|value| value as u64), Some(value), "{series} in:\n{page}");
    }

    /// Waits until the sum has the value.
    #[track_caller]
    fn await_metric(&self, series: &str, value: Option<u64>) {
        let now = || self.gateway.metric(series);
        assert!(becomes_true(|| now() == value), "{series} is {:?}, not {value:?}", now());
    }
}
