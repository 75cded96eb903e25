//! `expect` on both fronts: what arrives at a folder and at an FTP server, late files, a reload and a restart.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::servers::endpoint;
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(15);

/// "HH:MM" in UTC, so many hours from now.
pub(crate) fn time_of_day(hours: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let minutes = (i64::try_from(now / 60).expect("a time") + hours * 60).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A gateway with the listeners `ftp` and `sftp` before one backend, that expects these `entries`.
struct Fixture {
    gateway: Gateway,
    yaml: String,
    /// Of the work at the backend, and where it is on this machine.
    folder: String,
    home: PathBuf,
    user: &'static str,
}

impl Fixture {
    /// `expect`: its list.
    fn local(home: &Path, state_dir: &Path, expect: &str) -> Self {
        let more = format!(
            "users: {{ alice: {{ password_hash: \"{}\" }} }}\nstate_dir: {state_dir:?}\n",
            argon2_hash()
        );
        let backend = format!("protocol: local, folder: {home:?}, partial_uploads: delete");
        let (yaml, home) = (yaml(&backend, "gateway", &more), home.to_owned());
        Self::start(yaml, expect, ("/in".into(), home.join("in"), "alice"))
    }

    fn before_vsftpd(expect: &str) -> Self {
        let vsftpd = endpoint("vsftpd-plain");
        let backend = format!("protocol: ftp, address: \"127.0.0.1:{}\"", vsftpd.port);
        let folder = format!("expected-{}", std::process::id());
        let home = vsftpd.home.join(&folder);
        Self::start(yaml(&backend, "backend", ""), expect, (folder, home, USER))
    }

    fn start(yaml: String, expect: &str, work: (String, PathBuf, &'static str)) -> Self {
        let (folder, home, user) = work;
        let gateway = Gateway::start(&format!("{yaml}expect:\n{expect}"));
        Self { gateway, yaml, folder, home, user }
    }

    fn ftp(&self) -> Raw {
        let (mut raw, _) = Raw::connect(self.gateway.address("ftp"));
        raw.login(self.user, PASSWORD);
        raw.expect("TYPE I", 200);
        raw.expect(&format!("CWD {}", self.folder), 250);
        raw
    }

    /// OpenSSH's sftp in the work folder, with the file `up`.
    #[track_caller]
    fn sftp(&self, batch: &str) {
        let client = tempfile::tempdir().expect("a client's folder");
        fs::write(client.path().join("up"), "content").expect("writing a file");
        let port = self.gateway.address("sftp").port();
        let site = SftpSite { user: self.user.to_owned(), ..SftpSite::new(port) };
        let batch = format!("cd {}\n{batch}", self.folder);
        sftp(&site, client.path(), &batch, &[]).expect_ok(&batch);
    }

    /// `lockgate expected --json`: the entry of this name.
    #[track_caller]
    fn entry(&self, name: &str) -> Value {
        let shown = self.gateway.admin_json(&["expected"]);
        let entries = shown["expected"].as_array().expect("a list");
        entries.iter().find(|entry| entry["name"] == name).expect("the entry").clone()
    }

    #[track_caller]
    fn is(&self, name: &str, arrived: u64, state: &str) {
        let entry = self.entry(name);
        assert_eq!(
            (&entry["arrived"], &entry["state"]),
            (&arrived.into(), &state.into()),
            "{entry}"
        );
        assert_eq!(self.metric("arrived", name), Some(arrived));
        assert_eq!(self.metric("overdue", name), Some(u64::from(state == "overdue")));
    }

    fn metric(&self, metric: &str, name: &str) -> Option<u64> {
        self.gateway.metric(&format!("lockgate_expected_{metric}{{name=\"{name}\"}}"))
    }

    fn reload(&self, expect: &str) {
        let folder = self.gateway.folder();
        fs::write(folder.join("new"), format!("{}expect:\n{expect}", self.yaml)).expect("writing");
        fs::rename(folder.join("new"), folder.join("lockgate.yaml")).expect("renaming");
        self.gateway.admin(&["reload"]).expect_ok("reload");
    }
}

fn yaml(backend: &str, authenticate: &str, more: &str) -> String {
    let ports = ports::block(4);
    let (first, last) = (ports.start(), ports.end());
    format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n  \
         sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         data_ports:\n  pool: {{ range: {first}-{last} }}\n\
         backends:\n  back: {{ {backend} }}\n\
         routes:\n  - {{ authenticate: {authenticate}, backend: back }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\nadmin: {{ socket: admin.sock }}\n{more}",
        host_keys(),
    )
}

/// An entry that is due in some hours, or was due some hours ago. Its window has begun fifteen hours ago.
fn entry(name: &str, path: &str, at_least: u32, due_in: i64) -> String {
    let (from, by) = (time_of_day(-15), time_of_day(due_in));
    format!(
        "  - {{ name: {name}, path: \"{path}\", at_least: {at_least}, from: \"{from}\", by: \"{by}\" }}\n"
    )
}

fn folders() -> (TempDir, TempDir) {
    let (home, state) = (tempfile::tempdir(), tempfile::tempdir());
    let home = home.expect("a folder");
    fs::create_dir(home.path().join("in")).expect("a folder");
    (home, state.expect("a folder"))
}

/// Uploads, renames into place and uploads that are cut, by FTP and SFTP clients.
fn deliveries(fixture: &Fixture) {
    fixture.is("tables", 0, "waiting");
    assert_eq!(fixture.metric("files", "tables"), Some(5));
    assert_eq!(fixture.metric("last_arrival_timestamp_seconds", "tables"), None);
    let mut ftp = fixture.ftp();
    assert_eq!(ftp.upload("STOR a.csv", b"content").code, 226);
    assert_eq!(ftp.upload("STOR a.csv", b"again").code, 226);
    assert_eq!(ftp.upload("APPE a.csv", b"more").code, 226);
    assert_eq!(ftp.upload("STOR a.txt", b"other").code, 226);
    fixture.is("tables", 1, "waiting");
    // Under another name first.
    assert_eq!(ftp.upload("STOR b.csv.tmp", b"content").code, 226);
    fixture.is("tables", 1, "waiting");
    ftp.expect("RNFR b.csv.tmp", 350);
    ftp.expect("RNTO b.csv", 250);
    fixture.is("tables", 2, "waiting");
    fixture.sftp("put up c.csv\nput up d.csv.tmp\nrename d.csv.tmp d.csv\n");
    fixture.is("tables", 4, "waiting");
    let last = &fixture.entry("tables")["last_file"];
    assert!(last["path"].as_str().is_some_and(|path| path.ends_with("/d.csv")), "{last}");
    // An upload that is aborted, one whose client is gone, and one that is refused.
    let mut data = ftp.begin("STOR e.csv");
    data.write_all(b"cont").expect("sending");
    ftp.send_bytes(b"ABOR\r\n");
    assert_eq!((ftp.read().code, ftp.read().code), (426, 226));
    drop(data);
    let mut other = fixture.ftp();
    let mut data = other.begin("STOR f.csv");
    data.write_all(b"cont").expect("sending");
    other.reset();
    let cut = |event: &Value| {
        event["event"] == "transfer"
            && event["path"].as_str().is_some_and(|path| path.ends_with("/f.csv"))
    };
    assert_ne!(fixture.gateway.await_log(cut, TIMEOUT)["outcome"], "ok");
    drop(data);
    ftp.passive();
    assert!(ftp.command("STOR missing/g.csv").code >= 500);
    fixture.is("tables", 4, "waiting");
    // Taken away: they have arrived all the same.
    for name in ["a.csv", "c.csv"] {
        ftp.expect(&format!("DELE {name}"), 250);
    }
    ftp.expect("RNFR b.csv", 350);
    ftp.expect("RNTO b.done", 250);
    fixture.is("tables", 4, "waiting");
    assert_eq!(ftp.upload("STOR h.csv", b"").code, 226);
    fixture.is("tables", 5, "complete");
    assert!(fixture.metric("last_arrival_timestamp_seconds", "tables").is_some());
    assert!(
        fixture.metric("due_timestamp_seconds", "tables")
            > fixture.metric("window_start_timestamp_seconds", "tables")
    );
}

#[test]
fn files_that_arrive_in_a_folder_count_on_both_fronts() {
    let (home, state) = folders();
    let entries = entry("tables", "/in/*.csv", 5, 4) + &entry("other", "/out/**", 1, 4);
    let fixture = Fixture::local(home.path(), state.path(), &entries);
    deliveries(&fixture);
    fixture.is("other", 0, "waiting");
    // A name that would move the cursor, as SFTP clients may send it.
    fixture.sftp("put up \"\u{1b}[2J<b>.csv\"\n");
    let table = fixture.gateway.admin(&["expected"]).expect_ok("lockgate expected");
    let table = String::from_utf8(table.stdout).expect("UTF-8");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("NAME    DUE  "), "{table}");
    assert!(lines[1].contains(" UTC  6 of 5   complete  "), "{table}");
    assert!(
        lines[1].ends_with("/in/\\u{1b}[2J<b>.csv") && lines[2].ends_with("waiting   -"),
        "{table}"
    );
}

#[test]
fn files_that_arrive_at_an_ftp_server_count_on_both_fronts() {
    let folder = format!("expected-{}", std::process::id());
    let fixture = Fixture::before_vsftpd(&entry("tables", &format!("/**/{folder}/*.csv"), 5, 4));
    fs::create_dir(&fixture.home).expect("a folder");
    std::os::unix::fs::chown(&fixture.home, owner(&fixture.home), None).expect("an owner");
    deliveries(&fixture);
    fs::remove_dir_all(&fixture.home).expect("removing the folder");
}

/// Of the folder that `folder` is in.
fn owner(folder: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata(folder.parent()?).ok()?.uid())
}

#[test]
fn late_files_are_told_once_and_a_restart_knows_what_has_arrived() {
    let (home, state) = folders();
    let waiting = entry("tables", "/in/*", 2, 4);
    let mut fixture = Fixture::local(home.path(), state.path(), &waiting);
    let mut ftp = fixture.ftp();
    assert_eq!(ftp.upload("STOR a", b"content").code, 226);
    fixture.is("tables", 1, "waiting");
    // The session goes on, and counts for what is in force now.
    let expect = entry("tables", "/in/*", 3, -3);
    fixture.reload(&expect);
    let overdue = |event: &Value| event["message"] == "expected files are overdue";
    let line = fixture.gateway.await_log(overdue, TIMEOUT);
    assert_eq!((&line["name"], &line["level"]), (&"tables".into(), &"WARN".into()), "{line}");
    assert_eq!((&line["arrived"], &line["at_least"]), (&1.into(), &3.into()), "{line}");
    fixture.is("tables", 1, "overdue");
    assert_eq!(ftp.upload("STOR b", b"content").code, 226);
    fixture.is("tables", 2, "overdue");
    drop(ftp);

    // It goes on after a restart, and does not tell it again.
    fixture.gateway.terminate();
    assert!(fixture.gateway.wait(TIMEOUT).is_some_and(|status| status.success()));
    assert!(state.path().join("expected.json").exists());
    fixture.gateway = Gateway::start(&format!("{}expect:\n{expect}", fixture.yaml));
    fixture.is("tables", 2, "overdue");
    fixture.sftp("put up b\n");
    fixture.is("tables", 2, "overdue");
    fixture.sftp("put up c\n");
    fixture.is("tables", 3, "late");
    let late = |event: &Value| event["message"] == "expected files have all arrived, late";
    assert_eq!(fixture.gateway.await_log(late, TIMEOUT)["arrived"], 3);
    assert!(!fixture.gateway.log_tail(1000).contains("are overdue"), "told again");

    // A crash loses little of it.
    fixture.sftp("put up d\n");
    let saved = || fs::read_to_string(state.path().join("expected.json")).unwrap_or_default();
    assert!(becomes_true(|| saved().contains("\"/in/d\"")), "{}", saved());
    fixture.gateway.kill();
    fixture.gateway = Gateway::start(&format!("{}expect:\n{expect}", fixture.yaml));
    fixture.is("tables", 4, "late");
    // An entry for other files begins anew, with the next window: these were due before.
    fixture.reload(&entry("tables", "/in/x*", 3, -3));
    fixture.is("tables", 0, "waiting");
    fixture.reload("  - { name: others, path: /a, by: \"12:00\" }\n");
    assert_eq!(fixture.metric("arrived", "tables"), None);
}
