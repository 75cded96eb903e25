//! `slice`: each replica listens on its own part of the range.

use std::net::TcpListener;
use std::process::Command;

use super::TIMEOUT;
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::raw::Raw;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const VARIABLE: &str = "LOCKGATE_TEST_REPLICA";

fn configuration(range: &std::ops::RangeInclusive<u16>, folder: &std::path::Path) -> String {
    format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: 127.0.0.1, \
         slice: {{ of: 3, index_env: {VARIABLE} }} }}\n\
         backends:\n  files: {{ protocol: local, folder: {folder:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        range.start(),
        range.end(),
        argon2_hash(),
    )
}

#[test]
fn replicas_divide_the_range_without_overlap() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "bytes").expect("writing a file");
    let range = ports::block(5);
    let config = configuration(&range, folder.path());
    let replicas: Vec<Gateway> = (0..3)
        .map(|index| {
            let mut command = Command::new(PROGRAM);
            command.env(VARIABLE, format!("lockgate-{index}"));
            Gateway::start_by(command, &config, &[])
        })
        .collect();
    // All run on one machine: with the same port for two, one would not start.
    assert!(range.clone().all(|port| TcpListener::bind(("127.0.0.1", port)).is_err()));
    for (replica, length) in replicas.iter().zip([2, 2, 1]) {
        let (mut raw, _) = Raw::connect(replica.address("front"));
        raw.login(USER, PASSWORD);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..12 {
            let reply = raw.expect("EPSV", 229).text;
            let port = reply.rsplit('|').nth(1).and_then(|port| port.parse::<u16>().ok());
            seen.insert(port.expect("a port"));
        }
        assert!(seen.len() <= length && seen.iter().all(|port| range.contains(port)), "{seen:?}");
        assert_eq!(raw.download("RETR file").0, b"bytes");
    }
}

#[test]
fn the_index_is_required_to_run_but_not_to_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = configuration(&ports::block(5), folder.path());
    let file = folder.path().join("lockgate.yaml");
    std::fs::write(&file, &text).expect("writing the configuration");
    let path = file.to_str().expect("a UTF-8 path");

    let checked = lockgate(&["check", "--config", path], "").expect_ok("checking elsewhere");
    let warning = String::from_utf8_lossy(&checked.stderr);
    assert!(warning.contains(&format!("{VARIABLE} is not set here; `run` needs it")), "{warning}");

    let run = lockgate(&["run", "--config", path], "");
    assert_eq!(run.status.and_then(|status| status.code()), Some(64), "{}", run.describe());
    assert!(run.describe().contains(&format!("{VARIABLE} is not set")), "{}", run.describe());

    let mut command = Command::new(PROGRAM);
    command.env(VARIABLE, "lockgate-3");
    let mut beyond = Gateway::launch_by(command, &text, &[]);
    let status = beyond.wait(TIMEOUT).expect("it does not start");
    assert_eq!(status.code(), Some(64));
    let log = beyond.log_tail(20);
    assert!(log.contains("is \"lockgate-3\", which is slice 3"), "{log}");
}
