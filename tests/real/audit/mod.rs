//! The audit with real clients and servers: what the records say (`records`), and what happens when they
//! cannot be written (`outputs`, `syslog`).

mod outputs;
mod records;
mod syslog;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::curl::CurlOptions;
use crate::support::clients::{SftpSite, Site, TlsVersion};
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::pki::pki;
use crate::support::servers::{endpoint, sftp_endpoint};
use crate::support::ssh::{keys, public};
use crate::support::{DataMode, Tls, USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(20);
const EPSV: CurlOptions = CurlOptions { data: DataMode::Epsv, tls: TlsVersion::Newest };

/// A gateway with a folder (listeners `ftp`, `ftps`, `sftp`), a ProFTPD with TLS (`to-ftps`) and an sshd
/// (`to-sftp`).
struct Fixture {
    gateway: Gateway,
    /// Of the local backend.
    files: TempDir,
    /// Of the audit.
    logs: TempDir,
}

/// `audit`: the value of the key; `LOGS` in it is the folder of the audit.
fn start(audit: &str) -> Fixture {
    let (files, logs) = (tempfile::tempdir(), tempfile::tempdir());
    let (files, logs) = (files.expect("a folder"), logs.expect("a folder"));
    let (yaml, logs_path) = (yaml(&files, audit), logs.path().display().to_string());
    let gateway = Gateway::start_by(
        std::process::Command::new(PROGRAM),
        &yaml.replace("LOGS", &logs_path),
        &[],
    );
    Fixture { gateway, files, logs }
}

fn yaml(files: &TempDir, audit: &str) -> String {
    let (ftps, sftp) = (endpoint("proftpd-tls"), sftp_endpoint("sshd"));
    let pool = ports::block(12);
    let tls = format!(
        "tls: {{ mode: required, certificate: {}, key: {} }}",
        pki().certificate.display(),
        pki().key.display()
    );
    let ftp = "protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool";
    let ssh = format!("protocol: sftp, address: \"127.0.0.1:0\", host_keys: {}", host_keys());
    format!(
        "listeners:\n  ftp: {{ {ftp} }}\n  ftps: {{ {ftp}, {tls} }}\n  sftp: {{ {ssh} }}\n  \
         to-ftps: {{ {ftp} }}\n  to-sftp: {{ {ssh} }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n  \
         proftpd: {{ protocol: ftp, address: \"127.0.0.1:{}\", tls: {{ mode: required, ca: {}, \
         server_name: localhost }} }}\n  \
         sshd: {{ protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{}\" }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\", authorized_keys: {}, groups: [partners] }}\n\
         routes:\n  - {{ match: {{ listeners: [ftp, ftps, sftp] }}, authenticate: gateway, backend: files }}\n  \
         - {{ match: {{ listeners: [to-ftps] }}, authenticate: gateway, backend: proftpd }}\n  \
         - {{ match: {{ listeners: [to-sftp] }}, authenticate: gateway, backend: sshd }}\n\
         limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\naudit: {audit}\n",
        pool.start(),
        pool.end(),
        files.path(),
        ftps.port,
        pki().ca.display(),
        sftp.port,
        keys().fingerprints[0],
        argon2_hash(),
        public(&keys().user).display(),
    )
}

impl Fixture {
    fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    fn ftp(&self, listener: &str) -> Site {
        let tls = if listener == "ftps" { Tls::Explicit } else { Tls::None };
        Site::new(self.gateway.address(listener).port(), tls)
    }

    fn sftp(&self, listener: &str) -> SftpSite {
        SftpSite::new(self.gateway.address(listener).port())
    }
}

/// Whether a record has this event and path.
fn is(event: &str, path: &str) -> impl Fn(&Value) -> bool {
    move |record| record["event"] == event && record["path"] == path
}
