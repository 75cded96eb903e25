//! Files and standard output: rotated, full, gone, and at the end of the process.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, kill_process};

use super::*;
use crate::support::PASSWORD;
use crate::support::audit::{await_record, records};
use crate::support::clients::openssh;
use crate::support::clients::staged::Staged;
use crate::support::process::{CleanupGuard, pid, spawn, wait};
use crate::support::raw::Raw;
use crate::support::small_disk::SmallDisk;
use crate::support::wait::becomes_true;

fn logged_in(site: &Fixture) -> Raw {
    let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    client
}

fn names(file: &std::path::Path) -> Vec<String> {
    let all = records(file);
    all.iter().filter_map(|record| Some(record["path"].as_str()?.to_owned())).collect()
}

#[test]
fn a_file_is_rotated_by_sighup() {
    let site = start("{ file: LOGS/audit }");
    let mode = std::fs::metadata(site.log("audit")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
    let mut client = logged_in(&site);
    assert_eq!(client.upload("STOR 1", b"x").code, 226);
    await_record(&site.log("audit"), is("transfer", "/1"));
    std::fs::rename(site.log("audit"), site.log("audit.1")).expect("renaming");
    assert_eq!(client.upload("STOR 2", b"x").code, 226);
    await_record(&site.log("audit.1"), is("transfer", "/2"));
    site.gateway.hang_up();
    site.gateway.await_log(|event| event.to_string().contains("are opened again"), TIMEOUT);
    assert!(becomes_true(|| site.log("audit").exists()));
    assert_eq!(client.upload("STOR 3", b"x").code, 226);
    await_record(&site.log("audit"), is("transfer", "/3"));
    assert_eq!(names(&site.log("audit.1")), ["/1", "/2"]);
    assert_eq!(names(&site.log("audit")), ["/3"]);
}

/// A reload waits for its configuration file: the audit does not wait for the reload.
#[test]
fn a_file_is_rotated_while_a_reload_hangs() {
    let site = start("{ file: LOGS/audit }");
    let config = site.gateway.folder().join("lockgate.yaml");
    let mut lease = Staged::start("lease.py", &serde_json::json!({ "file": config }), "held");
    let reloaded = "read again and is in force";
    for old in ["audit.1", "audit.2"] {
        std::fs::rename(site.log("audit"), site.log(old)).expect("renaming");
        site.gateway.hang_up();
        assert!(becomes_true(|| site.log("audit").exists()), "{old}: not opened again");
    }
    let log = site.gateway.log_tail(1000);
    assert!(!log.contains(reloaded), "the reload does not hang");
    lease.resume();
    lease.expect_success(TIMEOUT);
    site.gateway.await_log(|event| event.to_string().contains(reloaded), TIMEOUT);
}

/// What the tests of a full disk share: the disk, the gateway, and a file that fills the disk.
struct FullDisk {
    site: Fixture,
    audit: PathBuf,
    filler: PathBuf,
    /// Unmounted at the end.
    disk: SmallDisk,
    _folder: TempDir,
}

impl FullDisk {
    /// Starts with room on the disk.
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = SmallDisk::mount(folder.path(), 256 << 10);
        let (audit, filler) = (disk.0.join("audit"), disk.0.join("filler"));
        let site = start(&format!("{{ file: {}{more} }}", audit.display()));
        Self { site, audit, filler, disk, _folder: folder }
    }

    /// Leaves room for less than a page.
    fn fill(&self) {
        let mut filler =
            OpenOptions::new().create(true).append(true).open(&self.filler).expect("a file");
        while filler.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
        assert!(self.disk.0.join("filler").metadata().expect("the filler").len() > 0);
    }

    fn metric(&self, name: &str) -> u64 {
        self.site.gateway.metric(&format!("{name}{{output=\"file\"}}")).unwrap_or(0)
    }
}

/// With `refuse`, what cannot be recorded is not done. Nothing is lost, and no line is torn.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let full = FullDisk::start(", when_unavailable: refuse");
    let mut client = logged_in(&full.site);
    assert_eq!(client.upload("STOR before", b"x").code, 226);
    await_record(&full.audit, is("transfer", "/before"));
    full.fill();
    // The last page may have room for some records.
    let mut done = 0;
    let refused = becomes_true(|| {
        let reply = client.command(&format!("MKD d{done}"));
        done += usize::from(reply.code == 257);
        if reply.code == 450 {
            assert!(reply.text.contains("cannot write its audit records"), "{}", reply.text);
        }
        reply.code == 450
    });
    assert!(refused);
    drop(client.passive());
    client.expect("RETR before", 450);
    client.expect("DELE before", 450);
    assert!(full.site.files.path().join("before").exists());
    let (mut other, _) = Raw::connect(full.site.gateway.address("ftp"));
    other.expect(&format!("USER {USER}"), 331);
    other.expect(&format!("PASS {PASSWORD}"), 421);
    let home = tempfile::tempdir().expect("a client's home");
    assert!(!openssh::sftp(&full.site.sftp("sftp"), home.path(), "ls\n", &[]).ok());
    let line = full.site.gateway.await_log(|event| event["event"] == "audit", TIMEOUT);
    assert!(
        line["message"].as_str().is_some_and(|it| it.contains("audit.when_unavailable")),
        "{line}"
    );
    assert!(line["reason"].as_str().is_some_and(|it| it.contains("No space left")), "{line}");
    assert_eq!(full.metric("lockgate_audit_unavailable"), 1);

    std::fs::remove_file(&full.filler).expect("making room");
    assert!(becomes_true(
        || client.command("NOOP").code == 200 && client.command("MKD after").code == 257
    ));
    await_record(&full.audit, is("operation", "/after"));
    let all = names(&full.audit);
    for index in 0..done {
        let name = format!("/d{index}");
        let is_done =
            |record: &&Value| record["path"] == name.as_str() && record["outcome"] == "ok";
        assert_eq!(records(&full.audit).iter().filter(is_done).count(), 1, "{name} {all:?}");
    }
    // Refusals have records, too.
    await_record(&full.audit, |record| {
        record["path"] == "/before" && record["outcome"] == "busy" && record["fault"] == "gateway"
    });
    await_record(&full.audit, |record| record["event"] == "login" && record["outcome"] == "failed");
    assert_eq!(full.metric("lockgate_audit_lost_total"), 0);
    assert_eq!(full.metric("lockgate_audit_unavailable"), 0);
}

/// With `serve`, nobody notices, and the records wait.
#[test]
fn a_full_disk_serves() {
    let full = FullDisk::start("");
    let mut client = logged_in(&full.site);
    full.fill();
    for index in 0..200 {
        client.expect(&format!("MKD d{index}"), 257);
    }
    full.site.gateway.await_log(|event| event["event"] == "audit", TIMEOUT);
    client.expect("MKD late", 257);
    std::fs::remove_file(&full.filler).expect("making room");
    await_record(&full.audit, is("operation", "/late"));
    let made = names(&full.audit);
    let expected: Vec<_> = (0..200).map(|index| format!("/d{index}")).collect();
    assert_eq!(made[..200], expected);
    let is_written = |event: &Value| event.to_string().contains("is written again");
    full.site.gateway.await_log(is_written, TIMEOUT);
    assert_eq!(full.metric("lockgate_audit_lost_total"), 0);
}

/// Also one that has become a directory without a name: records are not written into the void.
#[test]
fn a_folder_that_is_removed_is_waited_for() {
    let site = start("{ file: LOGS/audit, when_unavailable: refuse }");
    let mut client = logged_in(&site);
    std::fs::remove_dir_all(site.logs.path()).expect("removing the folder");
    assert!(becomes_true(|| client.command("MKD x").code == 450));
    std::fs::create_dir(site.logs.path()).expect("the folder");
    assert!(becomes_true(|| client.command("MKD y").code == 257));
    await_record(&site.log("audit"), is("operation", "/y"));
}

/// Starts a gateway whose audit goes to this standard output; also returns its port and its folder.
fn to_standard_output(stdout: Stdio) -> (Child, CleanupGuard, u16, TempDir) {
    let files = tempfile::tempdir().expect("a folder");
    let port = *ports::block(1).start();
    let text =
        yaml(&files, "{ stdout: true }").replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    let file = files.path().join("lockgate.yaml");
    std::fs::write(&file, text).expect("writing the configuration");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config"]).arg(&file).stdin(Stdio::null()).process_group(0);
    let child = spawn(command.stdout(stdout).stderr(Stdio::null()));
    let cleanup = CleanupGuard::new(Some(&child), None);
    (child, cleanup, port, files)
}

/// Logs in once the gateway listens.
fn first_client(port: u16) -> Raw {
    let address = ([127, 0, 0, 1], port).into();
    assert!(becomes_true(|| Raw::try_connect(address).is_ok()));
    let (mut client, _) = Raw::connect(address);
    client.login(USER, PASSWORD);
    client
}

/// Nothing mixes with the log, which goes to standard error.
#[test]
fn standard_output_has_the_records_only() {
    let (mut child, _cleanup, port, _files) = to_standard_output(Stdio::piped());
    let stdout = child.stdout.take().expect("a pipe");
    let lines = std::thread::spawn(move || -> Vec<String> {
        BufReader::new(stdout).lines().map(|line| line.expect("UTF-8")).collect()
    });
    let mut client = first_client(port);
    assert_eq!(client.upload("STOR a", b"x").code, 226);
    // Queued records are written at the end.
    kill_process(pid(&child), Signal::TERM).expect("SIGTERM");
    assert!(wait(&mut child, TIMEOUT).expect("it ends").success());
    let events: Vec<_> = lines
        .join()
        .expect("the reader")
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .map(|record| record["event"].as_str().expect("an event").to_owned())
        .collect();
    assert_eq!(events, ["login", "transfer", "session-end"]);
}

/// A reader that has stopped holds nobody up.
#[test]
fn a_stuck_standard_output_blocks_nothing() {
    let (_unread, held) = std::io::pipe().expect("a pipe");
    let (mut child, _cleanup, port, _files) = to_standard_output(held.into());
    let mut client = first_client(port);
    // A pipe holds 64 KiB.
    let name = "x".repeat(200);
    for _ in 0..500 {
        client.expect(&format!("DELE {name}"), 550);
    }
    client.expect("QUIT", 221);
    kill_process(pid(&child), Signal::TERM).expect("SIGTERM");
    assert!(wait(&mut child, TIMEOUT).expect("it ends").success());
}

#[test]
fn a_gateway_does_not_start_without_its_audit_file() {
    let (files, logs) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let audit = format!("{{ file: {}/none/audit }}", logs.path().display());
    let file = files.path().join("lockgate.yaml");
    std::fs::write(&file, yaml(&files, &audit)).expect("writing the configuration");
    let output =
        crate::support::gateway::lockgate(&["run", "-c", file.to_str().expect("UTF-8")], "");
    let code = output.status.and_then(|status| status.code());
    assert_eq!(code, Some(64), "{}", output.describe());
    assert!(output.describe().contains("audit.file: the folder"), "{}", output.describe());
}
