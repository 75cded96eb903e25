//! `partial_uploads` with existing files and with complete uploads.

use std::sync::OnceLock;

use super::cuts::{COUNT, Cut, CutFixture, cut_upload, payload, servers};
use crate::support::cells::{Cell, Failure, run_all};

const OLD: usize = 300_000;

type Scenario = fn(&CutFixture, &str) -> Vec<Failure>;

/// A file that existed before is not part of an interrupted upload: `delete` does not delete it.
fn delete_spares(fixture: &CutFixture, folder: &str, command: &str, offset: usize) -> Vec<Failure> {
    let mut client = fixture.client("delete");
    client.expect(&format!("MKD /{folder}"), 257);
    let path = format!("/{folder}/old.bin");
    let old = &payload()[..OLD];
    let stored = client.upload(&format!("STOR {path}"), old);
    assert_eq!(stored.code, 226, "{}", stored.text);
    if offset > 0 {
        client.expect(&format!("REST {offset}"), 350);
    }
    let session = cut_upload(fixture, client, &format!("{command} {path}"), Cut::Reset);
    session.expect("the session goes on").expect("NOOP", 200);
    let now = std::fs::read(fixture.endpoint.home.join(&path[1..])).unwrap_or_default();
    let spared = if offset > 0 { offset } else { OLD };
    if now.get(..spared) == Some(&old[..spared]) {
        return vec![];
    }
    vec![Failure::new(command, format!("{} bytes are there, not the old ones", now.len()))]
}

fn append(fixture: &CutFixture, folder: &str) -> Vec<Failure> {
    delete_spares(fixture, folder, "APPE", 0)
}

fn restart(fixture: &CutFixture, folder: &str) -> Vec<Failure> {
    delete_spares(fixture, folder, "STOR", 100_000)
}

/// The old file stays unchanged until the new one is complete.
fn overwrite(fixture: &CutFixture, folder: &str) -> Vec<Failure> {
    let mut failures = Vec::new();
    for cut in [Cut::Reset, Cut::Abor, Cut::AborAndEnd, Cut::Gone] {
        let mut client = fixture.client("temporary-name");
        let folder = format!("{folder}-{cut:?}");
        client.expect(&format!("MKD /{folder}"), 257);
        let path = format!("/{folder}/file.bin");
        let file = fixture.endpoint.home.join(&path[1..]);
        let now = || std::fs::read(&file).unwrap_or_default();
        let stored = client.upload(&format!("STOR {path}"), &payload()[..OLD]);
        if stored.code != 226 || now() != payload()[..OLD] {
            failures.push(Failure::new("new", format!("{} {}", now().len(), stored.text)));
            continue;
        }
        let session = cut_upload(fixture, client, &format!("STOR {path}"), cut);
        if now() != payload()[..OLD] {
            failures.push(Failure::new("overwrite", format!("{cut:?}: {} bytes", now().len())));
        }
        let Some(mut client) = session else { continue };
        let new = &payload()[5000..];
        let stored = client.upload(&format!("STOR {path}"), new);
        if stored.code != 226 || now() != new {
            failures.push(Failure::new("again", format!("{} {}", now().len(), stored.text)));
        }
        let (listed, _) = client.download(&format!("NLST /{folder}"));
        if !String::from_utf8_lossy(&listed).contains("file.bin") {
            failures.push(Failure::new("list", String::from_utf8_lossy(&listed)));
        }
    }
    failures
}

#[test]
fn partial_uploads_are_handled_as_configured() {
    let fixtures: [OnceLock<CutFixture>; COUNT] = [const { OnceLock::new() }; COUNT];
    let mut cells = Vec::new();
    let scenarios: [(&str, Scenario); 3] =
        [("append", append), ("restart", restart), ("overwrite", overwrite)];
    for (name, fixture) in servers().zip(&fixtures) {
        for (scenario, run_scenario) in scenarios {
            let run = move || {
                let fixture = fixture.get_or_init(|| CutFixture::start(name));
                let name = format!("policy-{}-{scenario}", fixture.endpoint.tls.name());
                let folder = fixture.folder(&name);
                fixture.failures_of(|| run_scenario(fixture, &folder))
            };
            cells.push(Cell { name: format!("{name}/{scenario}"), run: Box::new(run) });
        }
    }
    run_all("cut policies", cells);
}
