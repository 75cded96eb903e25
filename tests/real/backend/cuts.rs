//! Interrupted uploads: no server may be left with a file that looks complete.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;

use super::{SERVERS, client, configuration, server, sftp_server};
use crate::support::cells::{Cell, Failure, caught, run_all};
use crate::support::gateway::Gateway;
use crate::support::process::POLL;
use crate::support::raw::Raw;
use crate::support::servers::{
    Endpoint, SFTP_NAMES, SftpEndpoint, Software, endpoint, sftp_endpoint,
};
use crate::support::wait::becomes_true;
use crate::support::{Tls, pattern};

pub const POLICIES: [&str; 3] = ["keep", "delete", "temporary-name"];
const SENT: usize = 2 << 20;
/// The gateway's timeout, for a server that accepts everything.
const LARGEST_WRITE: usize = 255 * 1024;
const TIMEOUT: Duration = Duration::from_secs(15);
const SHOWN_LINES: usize = 12;

/// How the upload is interrupted, by the client unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The data connection is reset.
    Reset,
    /// The control connection is closed, then the data connection ends normally.
    Gone,
    Abor,
    /// ABOR, then the data connection ends normally.
    AborAndEnd,
    /// With TLS: FIN without close_notify.
    BareEnd,
    /// By an operator.
    Kick,
}

pub fn payload() -> &'static [u8] {
    static PAYLOAD: OnceLock<Vec<u8>> = OnceLock::new();
    PAYLOAD.get_or_init(|| pattern((4 << 20) + 77))
}

/// A gateway with one server, and a backend for each policy.
pub struct CutFixture {
    pub gateway: Gateway,
    /// An SFTP server counts as one without TLS.
    pub endpoint: Endpoint,
    /// The user's folder relative to `endpoint.home`, with a slash at the end.
    base: String,
}

/// All servers that the FTP front can upload to.
pub fn servers() -> impl Iterator<Item = &'static str> {
    SERVERS.into_iter().chain(SFTP_NAMES)
}

pub const COUNT: usize = SERVERS.len() + SFTP_NAMES.len();

impl CutFixture {
    pub fn start(name: &'static str) -> Self {
        let (endpoint, keys, base) = if SFTP_NAMES.contains(&name) {
            sftp(sftp_endpoint(name))
        } else {
            (endpoint(name), server(&endpoint(name)), String::new())
        };
        let keys = |policy| format!("{keys}, partial_uploads: {policy}");
        let yaml = configuration(&POLICIES.map(|policy| (policy, keys(policy))));
        let mut gateway = Gateway::start(&format!("{yaml}admin: {{ socket: admin.sock }}\n"));
        // The table of failures shows the log.
        gateway.shown_lines = 0;
        Self { gateway, endpoint, base }
    }

    /// A logged-in client of the backend with this policy, with TLS where the server has it.
    pub fn client(&self, policy: &str) -> Raw {
        client(&self.gateway, &self.listener(policy))
    }

    /// A folder of this name, as both the client and `endpoint.home` have it.
    pub fn folder(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    fn listener(&self, policy: &str) -> String {
        let suffix = if self.endpoint.tls == Tls::None { "" } else { "-tls" };
        format!("{policy}{suffix}")
    }

    /// How much of the part must be at the server before the interruption. SFTP servers acknowledge
    /// each WRITE, and less than one WRITE is still buffered. FTP servers acknowledge nothing: at least
    /// one byte.
    fn least(&self) -> usize {
        if self.endpoint.is_sftp() { SENT - LARGEST_WRITE } else { 1 }
    }

    /// The bytes of an upload that are at the server, under any name.
    fn arrived(&self, path: &str) -> usize {
        let path = self.endpoint.home.join(path.trim_start_matches('/'));
        let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
        let sizes = entries.into_iter().flatten().flatten().filter_map(|entry| {
            let is_it = entry.path() == path || entry.file_name().as_encoded_bytes()[0] == b'.';
            let size = entry.metadata().ok()?.len();
            is_it.then_some(usize::try_from(size).unwrap_or(usize::MAX))
        });
        sizes.max().unwrap_or(0)
    }

    /// Runs a scenario; adds the gateway's log if it fails.
    pub fn failures_of(&self, scenario: impl FnOnce() -> Vec<Failure>) -> Vec<Failure> {
        let mut failures = caught(scenario);
        if !failures.is_empty() {
            failures.push(Failure::new("gateway-log", self.gateway.log_tail(SHOWN_LINES)));
            failures.push(Failure::new("server-log", self.endpoint.server.log_tail(SHOWN_LINES)));
        }
        failures
    }
}

fn sftp(server: SftpEndpoint) -> (Endpoint, String, String) {
    let SftpEndpoint { software, port, home, jailed, server: process } = server;
    let (home, base) = if jailed {
        (home, String::new())
    } else {
        (Path::new("/"), format!("{}/", home.display()).split_off(1))
    };
    let endpoint = Endpoint { software, port, tls: Tls::None, home, server: process };
    (endpoint, sftp_server(&server), base)
}

/// Sends a part, waits until the gateway has read it, and interrupts. Returns the session, if it goes on.
pub fn cut_upload(fixture: &CutFixture, mut client: Raw, command: &str, cut: Cut) -> Option<Raw> {
    let tcp = client.passive();
    client.expect(command, 150);
    let mut data = client.data(tcp);
    data.write_all(&payload()[..SENT]).expect("sending a part");
    data.flush().expect("sending a part");
    while !client.expect("STAT", 213).text.contains(&format!(" {SENT} bytes")) {
        std::thread::sleep(POLL);
    }
    let path = command.split_once(' ').expect("a name").1;
    assert!(
        becomes_true(|| fixture.arrived(path) >= fixture.least()),
        "{} bytes",
        fixture.arrived(path)
    );
    match cut {
        Cut::Reset => {
            SockRef::from(data.socket()).set_linger(Some(Duration::ZERO)).expect("zero linger");
            drop(data);
            assert_eq!(client.read().code, 426);
        }
        Cut::BareEnd => {
            data.socket().shutdown(Shutdown::Write).expect("ending the data connection");
            assert_eq!(client.read().code, 426);
        }
        Cut::Abor => {
            client.expect("ABOR", 426);
            assert_eq!(client.read().code, 226);
        }
        Cut::AborAndEnd => {
            client.send_bytes(b"ABOR\r\n");
            let _ = data.finish();
            assert_eq!((client.read().code, client.read().code), (426, 226));
        }
        Cut::Kick => {
            kick(&fixture.gateway, path);
            assert_eq!((client.read().code, client.read().code), (426, 421));
            assert!(client.at_end());
            return None;
        }
        Cut::Gone => {
            client.vanish();
            // It may be closed already.
            let _ = data.finish();
            // The reply comes when the gateway is done with the backend.
            let is_cut = |event: &Value| event["path"] == path && event["bytes"] == SENT;
            let event = fixture.gateway.await_log(is_cut, TIMEOUT);
            assert_ne!(event["outcome"], "ok", "{event}");
            return None;
        }
    }
    Some(client)
}

/// Other uploads run beside this one.
fn kick(gateway: &Gateway, path: &str) {
    let answer = gateway.admin_json(&["sessions"]);
    let mut sessions = answer["sessions"].as_array().expect("sessions").iter();
    let session = sessions.find(|session| session["transfers"][0]["path"] == path);
    let session = session.unwrap_or_else(|| panic!("no upload of {path}: {answer:#}"));
    assert_eq!(session["transfers"][0]["bytes"], SENT, "{session:#}");
    gateway.admin(&["kick", &session["session"].to_string()]).expect_ok("kick");
}

/// Checks that the session still works, with replies that match commands.
fn works_on(client: &mut Raw, folder: &str, home: &Path) -> Vec<Failure> {
    let bytes = &payload()[1000..(1 << 20)];
    let path = format!("/{folder}/next.bin");
    client.expect("NOOP", 200);
    let stored = client.upload(&format!("STOR {path}"), bytes);
    let (read, last) = client.download(&format!("RETR {path}"));
    let on_disk = std::fs::read(home.join(&path[1..])).unwrap_or_default();
    client.expect("PWD", 257);
    let mut failures = Vec::new();
    if (stored.code, last.code) != (226, 226) {
        failures.push(Failure::new("works-on", format!("{} {}", stored.text, last.text)));
    }
    if read != bytes || on_disk != bytes {
        failures.push(Failure::new("works-on", "the bytes of the next file differ"));
    }
    failures
}

/// Checks what the server has of an interrupted upload.
fn left(fixture: &CutFixture, policy: &str, folder: &Path) -> Vec<Failure> {
    let endpoint = &fixture.endpoint;
    let mut failures = Vec::new();
    let is_part =
        |part: &[u8]| (fixture.least()..=SENT).contains(&part.len()) && payload().starts_with(part);
    match (std::fs::read(folder.join("cut.bin")), policy) {
        (Ok(part), "keep") => {
            if !is_part(&part) {
                failures.push(Failure::new("left", format!("{} bytes, no part", part.len())));
            }
        }
        (Ok(part), _) => {
            let detail = format!("{} bytes under the final name", part.len());
            failures.push(Failure::new("left", detail));
        }
        // pure-ftpd itself writes to a temporary name.
        (Err(error), "keep") if endpoint.software != Software::PureFtpd => {
            failures.push(Failure::new("left", format!("no part is kept: {error}")));
        }
        (Err(error), _) if error.kind() == ErrorKind::NotFound => {}
        (Err(error), _) => failures.push(Failure::new("left", error.to_string())),
    }
    let others = others(folder, "cut.bin");
    let expected = match (&others[..], policy) {
        ([part], "temporary-name") => is_part(&std::fs::read(part).unwrap_or_default()),
        // As above.
        ([], "temporary-name") => endpoint.software == Software::PureFtpd,
        (others, _) => others.is_empty(),
    };
    if !expected {
        failures.push(Failure::new("left", format!("{policy}: other files: {others:?}")));
    }
    failures
}

fn others(folder: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("listing a folder");
    entries.map(|entry| entry.expect("an entry").path()).filter(|p| !p.ends_with(name)).collect()
}

fn scenario(fixture: &CutFixture, policy: &str, cut: Cut) -> Vec<Failure> {
    let folder = fixture.folder(&format!("cut-{policy}-{}-{cut:?}", fixture.endpoint.tls.name()));
    let mut client = fixture.client(policy);
    client.expect(&format!("MKD /{folder}"), 257);
    let session = cut_upload(fixture, client, &format!("STOR /{folder}/cut.bin"), cut);
    let on_disk = fixture.endpoint.home.join(&folder);
    let mut failures = left(fixture, policy, &on_disk);
    if let Some(mut client) = session {
        failures.extend(works_on(&mut client, &folder, fixture.endpoint.home));
        client.expect("QUIT", 221);
    }
    let _ = std::fs::remove_dir_all(on_disk);
    failures
}

#[test]
fn aborted_transfers_are_never_complete() {
    let fixtures: [OnceLock<CutFixture>; COUNT] = [const { OnceLock::new() }; COUNT];
    let mut cells = Vec::new();
    for (name, fixture) in servers().zip(&fixtures) {
        for policy in POLICIES {
            for cut in [Cut::Reset, Cut::Gone, Cut::Abor, Cut::AborAndEnd, Cut::BareEnd, Cut::Kick]
            {
                if cut == Cut::BareEnd && !name.ends_with("-tls") {
                    continue;
                }
                let run = move || {
                    let fixture = fixture.get_or_init(|| CutFixture::start(name));
                    fixture.failures_of(|| scenario(fixture, policy, cut))
                };
                cells.push(Cell { name: format!("{name}/{policy}/{cut:?}"), run: Box::new(run) });
            }
        }
    }
    run_all("cuts", cells);
}
