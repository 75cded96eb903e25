//! STOU with each kind of backend.

use std::path::{Path, PathBuf};

use super::cuts::{COUNT, CutFixture, payload, servers};
use super::ports;
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::gateway::Gateway;
use crate::support::raw::{Raw, Reply};
use crate::support::{PASSWORD, USER, argon2_hash};

const SENT: usize = 300_000;

/// The names in a folder on disk.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("listing a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The name in `150 FILE: name`, if present.
fn name_in(reply: &Reply) -> Option<&str> {
    let name = reply.text.trim_end().split_once("FILE: ")?.1;
    name.rsplit('/').next()
}

/// Two files are stored; each is complete, under the name in the reply.
fn scenario(client: &mut Raw, folder: &str, disk: &Path, names_file: bool) -> Vec<Failure> {
    let mut failures = Vec::new();
    client.expect(&format!("MKD {folder}"), 257);
    client.expect(&format!("CWD {folder}"), 250);
    for count in 1..=2 {
        let sent = &payload()[count..SENT];
        let before = files(disk);
        let tcp = client.passive();
        let started = client.expect("STOU", 150);
        let mut data = client.data(tcp);
        std::io::Write::write_all(&mut data, sent).expect("sending");
        data.finish().expect("ending");
        let _ = std::io::copy(&mut data, &mut std::io::sink());
        let ended = client.read();
        let new: Vec<_> = files(disk).into_iter().filter(|path| !before.contains(path)).collect();
        let [file] = &new[..] else {
            failures.push(Failure::new("stou", format!("{}: {new:?} are new", ended.text)));
            continue;
        };
        if ended.code != 226 || std::fs::read(file).unwrap_or_default() != sent {
            failures.push(Failure::new("stou", format!("{}: {file:?} differs", ended.text)));
        }
        let name = file.file_name().and_then(|name| name.to_str());
        if names_file && name_in(&started) != name {
            failures.push(Failure::new("name", format!("{}, and it is {name:?}", started.text)));
        }
    }
    failures
}

/// A partial file never has the name of a complete one, where the gateway chooses the name.
fn cut(client: &mut Raw, folder: &str, disk: &Path) -> Vec<Failure> {
    client.expect(&format!("CWD {folder}"), 250);
    let before = files(disk).len();
    let tcp = client.passive();
    client.expect("STOU", 150);
    let mut data = client.data(tcp);
    std::io::Write::write_all(&mut data, &payload()[..SENT]).expect("sending");
    client.expect("ABOR", 426);
    assert_eq!(client.read().code, 226);
    let left: Vec<_> = files(disk).into_iter().filter(|path| !is_temporary(path)).collect();
    if left.len() == before {
        return vec![];
    }
    vec![Failure::new("cut", format!("{left:?} are left"))]
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(".lockgate-") && name.ends_with(".part")
}

const POLICIES: [&str; 2] = ["keep", "temporary-name"];

#[test]
fn stou_stores_files_under_the_names_in_the_replies_at_each_server() {
    let fixtures: [std::sync::OnceLock<CutFixture>; COUNT] =
        [const { std::sync::OnceLock::new() }; COUNT];
    let mut cells = Vec::new();
    for (name, fixture) in servers().zip(&fixtures) {
        for policy in POLICIES {
            let run = move || {
                let fixture = fixture.get_or_init(|| CutFixture::start(name));
                let is_sftp = fixture.endpoint.is_sftp();
                let folder =
                    fixture.folder(&format!("stou-{policy}-{}", fixture.endpoint.tls.name()));
                let disk = fixture.endpoint.home.join(&folder);
                fixture.failures_of(|| {
                    let mut client = fixture.client(policy);
                    let folder = format!("/{folder}");
                    let mut failures = scenario(&mut client, &folder, &disk, is_sftp);
                    if is_sftp && policy == "temporary-name" {
                        failures.extend(cut(&mut client, &folder, &disk));
                    }
                    failures
                })
            };
            cells.push(Cell { name: format!("{name}/{policy}"), run: Box::new(run) });
        }
    }
    run_all("STOU", cells);
}

#[test]
fn stou_stores_files_under_the_names_in_the_replies_in_a_folder() {
    let home = tempfile::tempdir().expect("a folder");
    let mut yaml = ports(&POLICIES, 8);
    yaml.push_str("backends:\n");
    let mut routes = String::from("routes:\n");
    for policy in POLICIES {
        let folder = home.path().display();
        yaml.push_str(&format!(
            "  {policy}: {{ protocol: local, folder: {folder}, partial_uploads: {policy} }}\n"
        ));
        routes.push_str(&format!(
            "  - {{ match: {{ listeners: [{policy}, {policy}-tls] }}, authenticate: gateway, \
             backend: {policy} }}\n"
        ));
    }
    let users = format!("users:\n  {USER}: {{ password_hash: \"{}\" }}\n", argon2_hash());
    let gateway = Gateway::start(&format!("{yaml}{routes}{users}"));
    let mut failures = Vec::new();
    for policy in POLICIES {
        for tls in ["", "-tls"] {
            let mut client = super::greeted(&gateway, &format!("{policy}{tls}"));
            client.login(USER, PASSWORD);
            client.expect("TYPE I", 200);
            let folder = format!("/stou-{policy}{tls}");
            let disk = home.path().join(&folder[1..]);
            failures.extend(scenario(&mut client, &folder, &disk, true));
            if policy == "temporary-name" {
                failures.extend(cut(&mut client, &folder, &disk));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
