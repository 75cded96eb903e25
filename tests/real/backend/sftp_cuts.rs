//! Interrupted transfers through the SFTP front and to SFTP backends: nothing hangs, nothing leaks, and
//! the partial file is handled as `partial_uploads` says.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::cuts::POLICIES;
use crate::support::backend_fixture::host_keys;
use crate::support::cells::{Cell, Failure, caught, run_all};
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::{sftp, sftp_command};
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::process::{CleanupGuard, kill_group, spawn, wait};
use crate::support::servers::{
    SFTP_NAMES, Server, Software, endpoint, private_sftp, sftp_endpoint,
};
use crate::support::sftp_fixture::{await_end_of_sessions, scenario};
use crate::support::ssh::keys;
use crate::support::wait::becomes_true;
use crate::support::{Tls, USER, argon2_hash, pattern};

const SENT: usize = 2 << 20;
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);
const SHOWN_LINES: usize = 12;
/// One of each kind.
const BACKENDS: [&str; 7] =
    ["local", "vsftpd-tls", "proftpd-plain", "pureftpd-plain", "sshd", "proftpd-sftp", "asyncssh"];

/// A gateway with an SFTP listener for each policy and one backend.
struct SftpCutFixture {
    gateway: Gateway,
    /// The SFTP client's `/` on disk.
    root: PathBuf,
    /// The user's folder.
    home: PathBuf,
    port: Option<u16>,
    software: Option<Software>,
    _folder: Option<tempfile::TempDir>,
}

impl SftpCutFixture {
    fn start(name: &'static str) -> Self {
        let (mut folder, mut port, mut software) = (None, None, None);
        let (keys_of_backend, home, jailed) = if name == "local" {
            let new = tempfile::tempdir().expect("a folder");
            let path = new.path().to_owned();
            folder = Some(new);
            (format!("protocol: local, folder: {path:?}"), path, true)
        } else if SFTP_NAMES.contains(&name) {
            let server = sftp_endpoint(name);
            (port, software) = (Some(server.port), Some(server.software));
            (sftp_backend(server.port), server.home.to_owned(), server.jailed)
        } else {
            let server = endpoint(name);
            (port, software) = (Some(server.port), Some(server.software));
            let tls = match server.tls {
                Tls::None => String::new(),
                _ => format!(
                    ", tls: {{ mode: required, ca: {}, server_name: localhost }}",
                    pki().ca.display()
                ),
            };
            let keys = format!("protocol: ftp, address: \"127.0.0.1:{}\"{tls}", server.port);
            (keys, server.home.to_owned(), true)
        };
        let root = if jailed { home.clone() } else { PathBuf::from("/") };
        let mut gateway = gateway(&keys_of_backend, name == "local");
        gateway.shown_lines = 0;
        Self { gateway, root, home, port, software, _folder: folder }
    }

    fn site(&self, policy: &str) -> SftpSite {
        SftpSite::new(self.gateway.address(policy).port())
    }

    /// A new folder: as the client names it, and on disk.
    fn folder(&self, name: &str) -> (String, PathBuf) {
        let disk = self.home.join(name);
        let seen = disk.strip_prefix(&self.root).expect("below the root").display().to_string();
        sftp(&self.site("keep"), Path::new("/"), &format!("mkdir /{seen}\n"), &[])
            .expect_ok("making a folder");
        (seen, disk)
    }

    fn await_no_session(&self) -> Vec<Failure> {
        let mut failures = caught(|| {
            for policy in POLICIES {
                await_end_of_sessions(&self.gateway, policy);
            }
            vec![]
        });
        if let Some(port) = self.port {
            let left = || self.gateway.connections_to(port);
            // Cells of this fixture run one after the other, so no session may be left.
            if !becomes_true(|| left() == 0) {
                let detail = format!("{} connections to the backend", left());
                failures.push(Failure::new("leaked", detail));
            }
        }
        failures
    }

    /// Checks what an interrupted upload left: with `keep`, at least `least` bytes.
    fn left(&self, policy: &str, folder: &Path, least: usize) -> Vec<Failure> {
        let sent = upload();
        let is_part = |part: &[u8]| part.len() >= least && sent.starts_with(part);
        let part = || std::fs::read(folder.join("cut.bin"));
        // The file is deleted a moment after the session has ended.
        let settled = || match (part(), policy) {
            (Ok(part), "keep") => is_part(&part),
            // pure-ftpd itself writes to a temporary name.
            (Err(_), "keep") => self.software == Some(Software::PureFtpd),
            (Err(error), _) => error.kind() == ErrorKind::NotFound,
            (Ok(_), _) => false,
        };
        let mut failures = Vec::new();
        if !becomes_true(settled) {
            let found = part().map(|part| part.len());
            failures.push(Failure::new("left", format!("{policy}: {found:?} bytes are left")));
        }
        let others = || -> Vec<_> {
            let names = std::fs::read_dir(folder).expect("listing a folder");
            let names = names.map(|entry| entry.expect("an entry").path());
            names.filter(|path| !path.ends_with("cut.bin")).collect()
        };
        let settled = || match (&others()[..], policy) {
            ([], "temporary-name") => self.software == Some(Software::PureFtpd),
            ([part], "temporary-name") => is_part(&std::fs::read(part).unwrap_or_default()),
            (others, _) => others.is_empty(),
        };
        if !becomes_true(settled) {
            let found: Vec<_> = others().iter().map(|path| (path.clone(), size(path))).collect();
            failures.push(Failure::new("left", format!("{policy}: others: {found:?}")));
        }
        failures
    }

    /// The least size kept of an upload whose WRITEs all have replies. FTP servers acknowledge
    /// nothing before the end, and get the data in order.
    fn kept(&self) -> usize {
        use Software as S;
        match self.software {
            None | Some(S::Sshd | S::ProFtpdSftp | S::Asyncssh | S::RusshSftp) => SENT,
            Some(S::Vsftpd | S::ProFtpd | S::PureFtpd) => 1,
        }
    }

    fn failures_of(&self, scenario: impl FnOnce() -> Vec<Failure>) -> Vec<Failure> {
        let mut failures = caught(scenario);
        if !failures.is_empty() {
            failures.push(Failure::new("gateway-log", self.gateway.log_tail(SHOWN_LINES)));
        }
        failures
    }
}

pub fn sftp_backend(port: u16) -> String {
    let fingerprint = &keys().fingerprints[0];
    format!("protocol: sftp, address: \"127.0.0.1:{port}\", host_key: \"{fingerprint}\"")
}

fn gateway(keys_of_backend: &str, local: bool) -> Gateway {
    let mut yaml = String::from("listeners:\n");
    let mut backends = String::from("backends:\n");
    let mut routes = String::from("routes:\n");
    let authenticate = if local { "gateway" } else { "backend" };
    for policy in POLICIES {
        writeln!(
            yaml,
            "  {policy}: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}",
            host_keys()
        )
        .expect("writing to a string");
        writeln!(backends, "  {policy}: {{ {keys_of_backend}, partial_uploads: {policy} }}")
            .expect("writing to a string");
        writeln!(
            routes,
            "  - {{ match: {{ listeners: [{policy}] }}, authenticate: {authenticate}, \
             backend: {policy} }}"
        )
        .expect("writing to a string");
    }
    if local {
        writeln!(yaml, "users:\n  {USER}: {{ password_hash: \"{}\" }}", argon2_hash())
            .expect("writing to a string");
    }
    Gateway::start(&format!(
        "{yaml}{backends}{routes}limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n"
    ))
}

/// What `clients/sftp_breaks.py` sends.
fn upload() -> Vec<u8> {
    (0..SENT).map(|index| index as u8).collect()
}

#[test]
fn aborted_uploads_are_incomplete() {
    let fixtures: [OnceLock<SftpCutFixture>; BACKENDS.len()] =
        [const { OnceLock::new() }; BACKENDS.len()];
    let mut cells = Vec::new();
    for (name, fixture) in BACKENDS.into_iter().zip(&fixtures) {
        // One cell per backend: open sessions are counted for the whole gateway.
        let run = move || {
            let fixture = fixture.get_or_init(|| SftpCutFixture::start(name));
            let mut failures = Vec::new();
            for policy in POLICIES {
                for how in ["channel", "eof", "disconnect", "reset"] {
                    failures.extend(fixture.failures_of(|| cut_put(fixture, policy, how)));
                }
            }
            failures
        };
        cells.push(Cell { name: format!("{name}/uploads"), run: Box::new(run) });
    }
    run_all("sftp cuts", cells);
}

fn cut_put(fixture: &SftpCutFixture, policy: &str, how: &str) -> Vec<Failure> {
    let (folder, disk) = fixture.folder(&format!("cut-{policy}-{how}"));
    let job = json!({ "how": how, "path": format!("/{folder}/cut.bin"), "bytes": SENT });
    let mut failures = scenario(&fixture.site(policy), "cut-put", job);
    failures.extend(fixture.await_no_session());
    failures.extend(fixture.left(policy, &disk, fixture.kept()));
    for failure in &mut failures {
        failure.step = format!("{policy}/{how} {}", failure.step);
    }
    let _ = std::fs::remove_dir_all(disk);
    failures
}

/// OpenSSH's sftp with a slow transfer (`-l`: Kbit/s).
fn slow(site: &SftpSite, own: &Path, batch: &str) -> (Child, CleanupGuard) {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    let mut command = sftp_command(site, own, &["-l", "16000"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = spawn(&mut command);
    let cleanup = CleanupGuard::new(Some(&child), None);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(batch.as_bytes()).expect("giving the batch");
    (child, cleanup)
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The total size of a folder's files: some servers write to a temporary name.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

#[test]
fn transfers_of_killed_clients_are_incomplete() {
    let mut cells = Vec::new();
    for name in BACKENDS {
        let run = move || {
            let fixture = SftpCutFixture::start(name);
            fixture.failures_of(|| killed_client(&fixture))
        };
        cells.push(Cell { name: format!("{name}/killed"), run: Box::new(run) });
    }
    run_all("sftp cuts", cells);
}

fn killed_client(fixture: &SftpCutFixture) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    std::fs::write(own.path().join("big"), pattern(32 << 20)).expect("writing a file");
    let mut failures = Vec::new();
    let (folder, disk) = fixture.folder("killed-put");
    let batch = format!("put big /{folder}/cut.bin\n");
    let (mut child, _cleanup) = slow(&fixture.site("delete"), own.path(), &batch);
    if !becomes_true(|| bytes_in(&disk) > 100_000) {
        failures.push(Failure::new("put", "nothing arrives"));
    }
    kill_group(&mut child);
    failures.extend(fixture.await_no_session());
    failures.extend(fixture.left("delete", &disk, 0));

    std::fs::write(disk.join("whole"), pattern(32 << 20)).expect("writing a file");
    let batch = format!("get /{folder}/whole\n");
    let (mut child, _cleanup) = slow(&fixture.site("keep"), own.path(), &batch);
    if !becomes_true(|| size(&own.path().join("whole")) > 100_000) {
        failures.push(Failure::new("get", "nothing arrives"));
    }
    kill_group(&mut child);
    failures.extend(fixture.await_no_session());
    let _ = std::fs::remove_dir_all(disk);
    failures
}

/// The server's session processes are killed, the server itself stays: the client gets an error, the
/// gateway closes its connections, and a new session works.
#[test]
fn transfers_with_killed_backends_are_incomplete() {
    let mut cells = Vec::new();
    for name in ["sshd", "proftpd-sftp"] {
        for get in [false, true] {
            let run = move || {
                let server = private_sftp(name);
                let gateway = gateway(&sftp_backend(server.port()), false);
                killed_backend(&gateway, &server, name == "sshd", get)
            };
            let what = if get { "get" } else { "put" };
            cells.push(Cell { name: format!("{name}/backend-killed-{what}"), run: Box::new(run) });
        }
    }
    run_all("sftp cuts", cells);
}

fn killed_backend(gateway: &Gateway, server: &Server, rooted: bool, get: bool) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    std::fs::write(own.path().join("big"), pattern(32 << 20)).expect("writing a file");
    let seen = if rooted { server.home.display().to_string() } else { String::new() };
    std::fs::write(server.home.join("whole"), pattern(32 << 20)).expect("writing a file");
    let site = SftpSite::new(gateway.address("keep").port());
    let (batch, arrives) = if get {
        (format!("get {seen}/whole\n"), own.path().join("whole"))
    } else {
        (format!("put big {seen}/cut.bin\n"), server.home.join("cut.bin"))
    };
    let (mut child, _cleanup) = slow(&site, own.path(), &batch);
    let mut failures = Vec::new();
    if !becomes_true(|| size(&arrives) > 100_000) {
        failures.push(Failure::new("begin", "nothing arrives"));
    }
    for process in descendants(server.id()) {
        let _ = kill_process(process, Signal::KILL);
    }
    match wait(&mut child, TIMEOUT) {
        None => failures.push(Failure::new("client", "no error after the backend was killed")),
        Some(status) if status.success() => {
            failures.push(Failure::new("client", "success for an interrupted transfer"));
        }
        Some(_) => {}
    }
    kill_group(&mut child);
    failures.extend(caught(|| {
        await_end_of_sessions(gateway, "keep");
        let left = || gateway.connections_to(server.port());
        assert!(becomes_true(|| left() == 0), "{} connections to the backend are left", left());
        let batch = format!("ls {seen}/whole\n");
        sftp(&site, own.path(), &batch, &[]).expect_ok("a new session");
        vec![]
    }));
    if !failures.is_empty() {
        failures.push(Failure::new("gateway-log", gateway.log_tail(SHOWN_LINES)));
    }
    failures
}

/// All descendants of a process.
pub fn descendants(process: u32) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut waiting = vec![process];
    while let Some(parent) = waiting.pop() {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()) {
            waiting.push(child);
            found.extend(Pid::from_raw(child as i32));
        }
    }
    found
}
