//! The `transfer` record for each way in which a transfer can end, on each front, with each kind of
//! backend, in both directions.

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::backend_fixture::host_keys;
use crate::support::clients::staged::Staged;
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::ssh::keys;
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const FRONTS: [&str; 3] = ["ftp", "ftps", "sftp"];
const BACKENDS: [&str; 3] = ["local", "ftp", "sftp"];
const DIRECTIONS: [&str; 2] = ["upload", "download"];
/// More than all buffers on the path hold.
const LARGE: u64 = 64 << 20;

/// A gateway before a folder, and before an FTP and an SFTP server of that folder.
pub(super) struct Site {
    pub(super) gateway: Gateway,
    server: Gateway,
    pub(super) folder: TempDir,
}

impl Site {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = std::fs::File::create(folder.path().join("large")).expect("making a file");
        file.set_len(LARGE).expect("giving a file its length");
        let mut password = tempfile::NamedTempFile::new().expect("a file");
        password.write_all(PASSWORD.as_bytes()).expect("writing the password");
        let users = format!("users:\n  {USER}: {{ password_hash: \"{}\" }}\n", argon2_hash());
        let files = format!(
            "files: {{ protocol: local, folder: {:?}, partial_uploads: delete }}",
            folder.path()
        );
        let data_ports = || {
            let block = ports::block(32);
            format!("{}-{}", block.start(), block.end())
        };
        let server = Gateway::start(&format!(
            "listeners:\n  \
               ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, tls: {{ mode: none }} }}\n  \
               sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             data_ports:\n  pool: {{ range: {}, listen: [\"127.0.0.1\"] }}\n\
             backends:\n  {files}\n{users}\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             limits: {{ sessions_per_address: 1000 }}\n",
            host_keys(),
            data_ports(),
        ));
        let (certificate, key) = (pki().certificate.display(), pki().key.display());
        let mut listeners = String::new();
        let mut routes = String::new();
        for backend in BACKENDS {
            listeners += &format!(
                "  ftp-{backend}: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, tls: {{ mode: none }} }}\n  \
                   ftps-{backend}: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, \
                   tls: {{ mode: required, certificate: {certificate}, key: {key} }} }}\n  \
                   sftp-{backend}: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n",
                host_keys(),
            );
            routes += &format!(
                "  - {{ match: {{ listeners: [ftp-{backend}, ftps-{backend}, sftp-{backend}] }}, \
                 authenticate: gateway, backend: {} }}\n",
                if backend == "local" { "files" } else { backend },
            );
        }
        let gateway = Gateway::start_by(
            Command::new(crate::support::gateway::PROGRAM),
            &format!(
                "listeners:\n{listeners}\
                 data_ports:\n  pool: {{ range: {}, listen: [\"127.0.0.1\"] }}\n\
                 backends:\n  {files}\n  \
                   ftp: {{ protocol: ftp, address: \"{}\", login: {{ user: {USER}, password_file: password }}, partial_uploads: delete }}\n  \
                   sftp: {{ protocol: sftp, address: \"{}\", host_key: \"{}\", login: {{ user: {USER}, password_file: password }}, partial_uploads: delete }}\n\
                 {users}routes:\n{routes}\
                 limits: {{ sessions_per_address: 1000 }}\n\
                 drain: {{ accept_for: 0s, timeout: 50ms }}\n\
                 admin: {{ socket: admin.sock }}\n",
                data_ports(),
                server.address("ftp"),
                server.address("sftp"),
                keys().fingerprints[0],
            ),
            &[("password", password.path())],
        );
        Self { gateway, server, folder }
    }

    /// Sessions for all fronts, backends and directions, in the middle of their transfers.
    pub(super) fn half(&self, backends: &[&str], end: &str) -> Transfers {
        let cells = FRONTS.iter().flat_map(|front| {
            backends
                .iter()
                .flat_map(move |backend| DIRECTIONS.map(|direction| (*front, *backend, direction)))
        });
        let cells: Vec<_> = cells
            .map(|(front, backend, direction)| {
                let path = match direction {
                    "upload" => format!("/{front}-{backend}-{end}"),
                    _ => "/large".to_owned(),
                };
                Cell { listener: format!("{front}-{backend}"), front, direction, path }
            })
            .collect();
        let sessions: Vec<_> = cells
            .iter()
            .map(|cell| {
                json!({
                    "front": cell.front,
                    "port": self.gateway.address(&cell.listener).port(),
                    "direction": cell.direction,
                    "path": cell.path,
                })
            })
            .collect();
        let job = json!({
            "sessions": sessions, "end": end, "ca": pki().ca, "user": USER, "password": PASSWORD,
        });
        Transfers { clients: Staged::start("transfer_ends.py", &job, "half"), cells }
    }
}

struct Cell {
    listener: String,
    front: &'static str,
    direction: &'static str,
    path: String,
}

pub(super) struct Transfers {
    pub(super) clients: Staged,
    cells: Vec<Cell>,
}

impl Transfers {
    /// Checks outcome and fault in the record of each transfer.
    fn check(
        &self,
        gateway: &Gateway,
        end: &str,
        expected: impl Fn(&Cell) -> (&'static [&'static str], Option<&'static str>),
    ) {
        let mut wrong = Vec::new();
        for cell in &self.cells {
            let (outcomes, fault) = expected(cell);
            let is_it = |event: &Value| {
                event["event"] == "transfer"
                    && event["listener"] == cell.listener
                    && event["path"] == cell.path
                    // The large file is downloaded once for each end.
                    && (cell.direction == "upload" || event["operation"] != "write")
            };
            let record = gateway.await_log(is_it, TIMEOUT);
            let outcome = record["outcome"].as_str().unwrap_or_default();
            if !outcomes.contains(&outcome) || record["fault"].as_str() != fault {
                wrong.push(format!("{end} {} {}: {record}", cell.listener, cell.direction));
            }
            if outcome == "partial" && record["size"].as_u64() != Some(LARGE) {
                wrong
                    .push(format!("{end} {} {}: no size: {record}", cell.listener, cell.direction));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

const CUT: &[&str] = &["aborted", "transfer-cut"];

#[test]
fn a_transfer_ended_by_the_client_is_recorded_with_its_outcome() {
    for end in ["complete", "leave_open", "give_up", "hang_up", "kill"] {
        let site = Site::start();
        let mut transfers = site.half(&BACKENDS, end);
        transfers.clients.resume();
        transfers.clients.expect_success(TIMEOUT * 4);
        transfers.check(&site.gateway, end, |cell| match (end, cell.front, cell.direction) {
            // A client that has read the whole file need not close it.
            ("complete" | "leave_open", ..) => (&["ok"], None),
            // The client closed its handle: it needed only a part.
            ("give_up", "sftp", "download") => (&["partial"], None),
            (_, "sftp", "download") => (&["partial"], Some("client")),
            _ => (CUT, Some("client")),
        });
        let left = std::fs::read_dir(site.folder.path()).expect("the folder").count();
        let whole = matches!(end, "complete" | "leave_open");
        assert_eq!(left, if whole { 10 } else { 1 }, "{end}");
    }
}

#[test]
fn a_transfer_ended_by_the_server_is_the_backends_fault() {
    let mut site = Site::start();
    let mut transfers = site.half(&["ftp", "sftp"], "go_on");
    site.server.kill();
    transfers.clients.resume();
    transfers.check(&site.gateway, "killed server", |_| {
        (&["transfer-cut", "unavailable"], Some("backend"))
    });
}

#[test]
fn a_transfer_ended_by_a_shutdown_is_the_gateways_fault() {
    let site = Site::start();
    let mut transfers = site.half(&BACKENDS, "wait");
    transfers.clients.resume();
    site.gateway.terminate();
    transfers.check(&site.gateway, "shutdown", |cell| match (cell.front, cell.direction) {
        ("sftp", "download") => (&["partial"], Some("gateway")),
        _ => (&["aborted"], Some("gateway")),
    });
}

#[test]
fn a_transfer_ended_by_an_operator_is_never_whole() {
    let site = Site::start();
    let mut transfers = site.half(&BACKENDS, "wait");
    transfers.clients.resume();
    let kicked = site.gateway.admin(&["kick", "--user", USER]).expect_ok("kick");
    let text = String::from_utf8(kicked.stdout).expect("text");
    assert_eq!(text, "18 sessions are ended\n");
    transfers.check(&site.gateway, "kick", |cell| match (cell.front, cell.direction) {
        ("sftp", "download") => (&["partial"], Some("gateway")),
        _ => (&["aborted"], Some("gateway")),
    });
    // Each client has seen the end.
    transfers.clients.expect_success(TIMEOUT * 2);
    let left = || std::fs::read_dir(site.folder.path()).expect("the folder").count();
    assert!(becomes_true(|| left() == 1), "{} files are left", left());
    for cell in &transfers.cells {
        let is_it = |event: &Value| {
            event["event"] == "session"
                && event["listener"] == cell.listener
                && event["reason"] == "an operator ended the session"
        };
        site.gateway.await_log(is_it, TIMEOUT);
    }
}
