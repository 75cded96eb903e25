//! File and user names that could forge log lines, from real clients, in both log formats.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::clients::{SftpSite, openssh};
use crate::support::gateway::PROGRAM;
use crate::support::process::{CleanupGuard, POLL, pid, spawn, wait};
use crate::support::raw::Raw;
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(15);
const STRANGER: &str = "ev\u{202e}il\u{2028}\u{85}";

/// The gateway's standard error while clients use such names.
pub fn written(format: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let files = folder.path().join("files");
    std::fs::create_dir(&files).expect("a folder of files");
    let ports = ports::block(4);
    let (ftp, sftp) = (*ports.start(), *ports.start() + 1);
    let config = folder.path().join("lockgate.yaml");
    let text = format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:{ftp}\", data_ports: pool }}\n  \
         sftp: {{ protocol: sftp, address: \"127.0.0.1:{sftp}\", host_keys: [{}] }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {files:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        keys().host[0].display(),
        sftp + 1,
        ports.end(),
        argon2_hash(),
    );
    std::fs::write(&config, text).expect("writing the configuration");
    let log = folder.path().join("log");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--log-format", format, "--config"]).arg(&config).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut gateway = spawn(command.stderr(File::create(&log).expect("a file for the log")));
    let _cleanup = CleanupGuard::new(Some(&gateway), None);

    let end = Instant::now() + TIMEOUT;
    let mut client = loop {
        match Raw::try_connect(([127, 0, 0, 1], ftp).into()) {
            Ok((client, _)) => break client,
            Err(error) => assert!(Instant::now() < end, "it does not serve: {error}"),
        }
        std::thread::sleep(POLL);
    };
    client.expect(&format!("USER {STRANGER}"), 331);
    client.expect("PASS wrong", 530);
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    assert_eq!(client.upload("STOR c\" outcome=\"ok", b"bytes").code, 226);
    client.expect("DELE \u{202e}\u{9b}2J\u{2028}", 550);
    client.send_bytes(b"DELE caf\xe9\r\n");
    assert_eq!(client.read().code, 550);
    client.expect("QUIT", 221);

    let mut site = SftpSite::new(sftp);
    let batch = "put lockgate.yaml \"s\\\" outcome=\\\"ok\"\nrename \"s\\\" outcome=\\\"ok\" \"t\u{202e}\"\n";
    openssh::sftp(&site, folder.path(), batch, &[]).expect_ok("uploading");
    STRANGER.clone_into(&mut site.user);
    assert!(!openssh::sftp(&site, folder.path(), "ls\n", &[]).ok(), "an unknown user is let in");

    kill_process(pid(&gateway), Signal::TERM).expect("SIGTERM");
    let status = wait(&mut gateway, TIMEOUT).expect("it ends after SIGTERM");
    assert!(status.success(), "{status}");
    let log = std::fs::read_to_string(log).expect("a log of UTF-8");
    for line in log.lines() {
        let spoils = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
        assert!(!line.contains(spoils), "{line:?}");
    }
    log
}

#[test]
fn names_and_users_are_quoted_and_escaped_in_text() {
    let log = written("text");
    for (protocol, parts) in [
        ("ftp", [r#"path="/c\" outcome=\"ok" "#, r"bytes=5 "]),
        ("ftp", [r#"path="/\u{202e}\u{9b}2J\u{2028}" "#, r#"outcome="not-found""#]),
        ("ftp", [r#"path="/caf\xe9" "#, r#"outcome="not-found""#]),
        ("ftp", [r#"user="ev\u{202e}il\u{2028}\u{85}" "#, r#"outcome="refused""#]),
        ("sftp", [r#"path="/s\" outcome=\"ok" "#, r#"event="transfer""#]),
        ("sftp", [r#"path="/s\" outcome=\"ok" "#, r#"to="/t\u{202e}" "#]),
        ("sftp", [r#"user="ev\u{202e}il\u{2028}\u{85}" "#, r#"outcome="refused""#]),
    ] {
        let protocol = format!("protocol=\"{protocol}\"");
        let is_it =
            |line: &&str| line.contains(&protocol) && parts.iter().all(|part| line.contains(part));
        let line = log.lines().find(is_it);
        let line = line.unwrap_or_else(|| panic!("{protocol} {parts:?} is not in\n{log}"));
        assert_eq!(line.matches(" outcome=\"").count(), 1, "{line}");
    }
}

#[test]
fn names_and_users_are_unchanged_in_json() {
    let log = written("json");
    let lines: Vec<Value> = log
        .lines()
        // Warnings about the configuration come before the log.
        .skip_while(|line| !line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect();
    for (protocol, name, value, outcome) in [
        ("ftp", "path", "/c\" outcome=\"ok", "ok"),
        ("ftp", "path", "/\u{202e}\u{9b}2J\u{2028}", "not-found"),
        ("ftp", "path", "/caf\\xe9", "not-found"),
        ("ftp", "user", STRANGER, "refused"),
        ("sftp", "path", "/s\" outcome=\"ok", "ok"),
        ("sftp", "to", "/t\u{202e}", "ok"),
        ("sftp", "user", STRANGER, "refused"),
    ] {
        let is_it = |line: &&Value| {
            let fields = &line["fields"];
            (&fields["protocol"], &fields[name], &fields["outcome"])
                == (&protocol.into(), &value.into(), &outcome.into())
        };
        assert!(lines.iter().any(|line| is_it(&line)), "{protocol} {name} {value:?}\n{log}");
    }
}
